"""One network saved in many ways: wrapped, prefixed, masked, normed, sharded, cast; every stage finds the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_strangers_files import assert_close
from torch import Tensor

from lcstool.models import ModelSpec, build_model
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.stage import bound
from lcstool.stages.convert.config import ConvertConfig
from lcstool.stages.convert.stage import convert
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.stage import embed
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.stage import energy
from lcstool.stages.info.config import InfoConfig
from lcstool.stages.info.stage import info
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.stage import interpolate
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.stage import prune_stats
from lcstool.stages.sharpness.config import SharpnessConfig
from lcstool.stages.sharpness.stage import sharpness

State = dict[str, Tensor]
SPEC = ModelSpec(arch="vanilla-cnn", image=(16, 16), channels=3, classes=10, alpha=2)
NETWORK: dict[str, Any] = {"model": "vanilla-cnn", "model_arg": ("alpha=2",), "input": "3x16x16"}


def plain_state() -> State:
    """A network with zeros, its batch norms as after training."""
    state = build_model(SPEC).state_dict()
    generator = torch.Generator().manual_seed(5)
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.ndim > 1:
            tensor.mul_(torch.rand(tensor.shape, generator=generator) < 0.6)
    return state


def is_weight(name: str, state: State) -> bool:
    return name.endswith(".weight") and state[name].ndim > 1


def masked(state: State) -> State:
    """As torch.nn.utils.prune keeps it; what is cut holds other numbers."""
    found: State = {}
    for name, tensor in state.items():
        if is_weight(name, state):
            found[f"{name}_orig"] = torch.where(tensor == 0, 7.0, tensor)
            found[f"{name}_mask"] = (tensor != 0).float()
        else:
            found[name] = tensor
    return found


def normed(state: State) -> State:
    """As weight norm keeps it, directions of lengths far from 1."""
    found: State = {}
    for name, tensor in state.items():
        if is_weight(name, state):
            layer = name.removesuffix("weight")
            length = tensor.flatten(1).norm(dim=1).view(-1, *[1] * (tensor.ndim - 1))
            found[f"{layer}parametrizations.weight.original0"] = length
            found[f"{layer}parametrizations.weight.original1"] = tensor * torch.linspace(
                0.5, 3, len(tensor)
            ).view_as(length)
        else:
            found[name] = tensor
    return found


def flax(state: State) -> State:
    """Kernels with the outputs last."""
    return {
        name.replace(".weight", ".kernel") if is_weight(name, state) else name:
        tensor.movedim((0, 1), (-1, -2)).contiguous() if is_weight(name, state) else tensor
        for name, tensor in state.items()
    }  # fmt: skip


def wide(state: State) -> State:
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


CONTENTS: dict[str, Callable[[State], State]] = {
    "plain": dict, "masked": masked, "normed": normed, "flax": flax, "float64": wide,
}  # fmt: skip
PREFIXES = ("", "module.", "_orig_mod.", "module._orig_mod.", "model.")


def save_whole(state: State, folder: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "net.safetensors")
    return folder / "net.safetensors"


def save_torch(state: State, folder: Path) -> Path:
    torch.save(state, folder / "net.th")
    return folder / "net.th"


def save_wrapped(state: State, folder: Path) -> Path:
    torch.save({"model_state": state, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(3, 3)}}}},
               folder / "net.ckpt")  # fmt: skip
    return folder / "net.ckpt"


def save_sharded(state: State, folder: Path) -> Path:
    places = {name: f"model-{number % 2 + 1:05}-of-00002.safetensors" for number, name in enumerate(state)}
    for file in set(places.values()):
        save_file(
            {name: state[name].contiguous() for name, place in places.items() if place == file}, folder / file
        )
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    return index


FORMS = {"whole": save_whole, "torch": save_torch, "wrapped": save_wrapped, "sharded": save_sharded}


def numbers(file: Path) -> dict[str, Any]:
    """What the stages that take any file find."""
    name = str(file)
    counted = prune_stats(PruneStatsConfig(files=(name,))).to_json()["files"][0]
    described = bound(BoundConfig(file=name, samples=50_000, train_error=0.1, code="comb")).to_json()
    profile = (
        energy(EnergyConfig(files=(name,), dataset="leaves", image_size="16", draws=20)).banks[0].profile
    )
    return {
        "prune-stats": {key: counted[key] for key in ("num_weights", "nonzeros", "layers", "other")},
        "bound": {key: described[key] for key in ("num_parameters", "num_nonzeros", "chance_error_frac")},
        "energy": profile.projections_MD.tolist(),
        "info": sorted({t["part_of"] for t in info(InfoConfig(file=name)).to_json()["tensors"]}),
    }


def numbers_of_the_network(stored: Path, folder: Path) -> dict[str, Any]:
    """What the stages that need the architecture find in the converted file."""
    file = str(folder / "net.converted")
    convert(ConvertConfig(file=str(stored), **NETWORK, mean="0.5", std="0.25"), file)
    data: dict[str, Any] = {"dataset": "leaves", "device": "cpu"}
    embedded = embed(EmbedConfig(file=file), str(folder / "net.embedded"))
    line = interpolate(
        InterpolateConfig(files=(file, str(folder / "net.embedded")), points=2, train_size=20, **data)
    )
    sharp = sharpness(SharpnessConfig(file=file, train_size=20, tolerance=0.1, **data)).to_json()
    accuracy = prune_stats(PruneStatsConfig(files=(file,), locality=False, **data)).to_json()["files"][0]
    return {
        "embed": embedded.largest_logit,
        "interpolate": line.to_json()["paths"][0]["train_loss_nats"],
        "sharpness": [sharp["train_loss_nats"], sharp["gradient_norm"], sharp["largest"]["value"]],
        "accuracy": accuracy["test_accuracy_frac"],
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("plain")
    file = save_whole(plain_state(), folder)
    return numbers(file), numbers_of_the_network(file, folder)


@examples(24, few=2)
@given(
    content=st.sampled_from(sorted(CONTENTS)),
    prefix=st.sampled_from(PREFIXES),
    form=st.sampled_from(sorted(FORMS)),
)
def test_every_way_gives_the_numbers_of_the_plain_file(
    plain: tuple[dict[str, Any], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    content: str,
    prefix: str,
    form: str,
) -> None:
    """A Flax file is no network of torch: after a flattening its dense layers take their inputs in another order."""
    folder = tmp_path_factory.mktemp("way")
    state = CONTENTS[content](plain_state())
    file = FORMS[form]({f"{prefix}{name}": tensor for name, tensor in state.items()}, folder)
    assert_close(numbers(file), plain[0])
    if content != "flax":
        assert_close(numbers_of_the_network(file, folder), plain[1])
