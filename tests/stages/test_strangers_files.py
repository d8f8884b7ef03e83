"""Files of other programs through whole stages: what the layers apply is measured, counted and described."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

from lcstool.checkpoint import open_checkpoint
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.stage import bound
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.stage import energy
from lcstool.stages.info.config import InfoConfig
from lcstool.stages.info.stage import info
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.stage import prune_stats

EVIDENCE: dict[str, Any] = {"samples": 50_000, "train_error": 0.1}


def network() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip


def saved(path: Path, state: dict[str, Tensor] | nn.Module) -> str:
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    return str(path)


def look(file: str) -> dict[str, Any]:
    document = prune_stats(PruneStatsConfig(files=(file,))).to_json()["files"][0]
    return {name: document[name] for name in ("num_weights", "nonzeros", "layers")}


def assert_close(left: Any, right: Any, path: str = "") -> None:
    """Equal documents, numbers to rounding of float32; names of files aside."""
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left.keys() - {"file", "basis", "digest"}:
            assert_close(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list):
        assert len(left) == len(right), path
        for number, pair in enumerate(zip(left, right, strict=True)):
            assert_close(*pair, f"{path}[{number}]")
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=1e-5, abs=1e-6), path
    else:
        assert left == right, path


def test_weight_norm_gives_the_profile_and_the_counts_of_the_weights_in_use(tmp_path: Path) -> None:
    net = network()
    weight_norm(net[0])
    with torch.no_grad():
        net[0].parametrizations.weight.original1.mul_(torch.linspace(0.2, 6, 8).view(8, 1, 1, 1))
        net[0].parametrizations.weight.original0.mul_(torch.linspace(0.5, 2, 8).view(8, 1, 1, 1))
    plain = {name: tensor for name, tensor in net.state_dict().items() if "parametrizations" not in name}
    files = [saved(tmp_path / "normed.safetensors", net),
             saved(tmp_path / "plain.safetensors", plain | {"0.weight": net[0].weight})]  # fmt: skip
    assert_close(*map(look, files))
    assert look(files[0])["num_weights"] == 216 + 1152 + 160
    found = energy(EnergyConfig(files=tuple(files), dataset="leaves", image_size="16", draws=20))
    assert found.correlation_RR[0, 1] == pytest.approx(1, abs=1e-9)
    assert [bank.profile.projections_MD.shape[0] for bank in found.banks] == [8, 8]
    both = [bank.profile.projections_MD for bank in found.banks]
    assert torch.allclose(*both, rtol=1e-5, atol=1e-8)


def test_pruning_masks_are_no_parameters(tmp_path: Path) -> None:
    net = network()
    weights = [(net[index], "weight") for index in (0, 2, 6)]
    prune.global_unstructured(weights, prune.L1Unstructured, amount=0.85)
    masked = saved(tmp_path / "masked.safetensors", net)
    for index in (0, 2, 6):
        prune.remove(net[index], "weight")
    plain = saved(tmp_path / "removed.safetensors", net)
    assert_close(look(masked), look(plain))
    every = torch.cat([tensor.flatten() for tensor in net.state_dict().values()])
    kept, distinct = int((every != 0).sum()), len(every.unique())
    bits = distinct * 32 + kept * math.log2(distinct * every.numel()) + 2 * math.log2(every.numel())
    expected = 0.1 + math.sqrt((bits + math.log(2 * every.numel() / 0.05)) / 100_000)
    for file in (masked, plain):
        found = bound(BoundConfig(file=file, code="paper", **EVIDENCE)).to_json()
        assert (found["num_parameters"], found["num_nonzeros"]) == (1562, kept)
        assert found["codes"][0]["bound_frac"]["printed"] == pytest.approx(expected, rel=1e-6)


def test_chance_is_that_of_the_last_layer_not_of_the_last_name(tmp_path: Path) -> None:
    state = {"features.0.weight": torch.ones(11, 3, 3, 3), "features.2.weight": torch.ones(64, 11, 3, 3),
             "classifier.0.weight": torch.ones(10, 64)}  # fmt: skip
    file = saved(tmp_path / "vgg.safetensors", state)
    assert bound(BoundConfig(file=file, **EVIDENCE)).chance == 0.9
    assert bound(BoundConfig(file=file, num_classes=4, **EVIDENCE)).chance == 0.75


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_network_that_is_not_finite_has_no_bound(tmp_path: Path, value: float) -> None:
    state = network().state_dict()
    state["2.weight"][3, 1] = value
    with pytest.raises(NonFiniteError, match=r"'2.weight' holds NaN or infinite values"):
        bound(BoundConfig(file=saved(tmp_path / "net.safetensors", state), **EVIDENCE))


def test_integer_weights_have_no_bound_and_are_left_out_by_name(tmp_path: Path) -> None:
    state = network().state_dict() | {"q.weight": torch.ones(4, 4, dtype=torch.int8)}
    file = saved(tmp_path / "net.safetensors", state)
    with pytest.raises(BadInputError, match=r"'q.weight' is of int8"):
        bound(BoundConfig(file=file, **EVIDENCE))
    found = prune_stats(PruneStatsConfig(files=(file,))).to_json()["files"][0]
    assert found["other"] == [{"tensor": "q.weight", "kind": "integer weight"}]


def test_one_float8_tensor(tmp_path: Path) -> None:
    kept = torch.rand(16, 8, 3, 3) < 0.6
    state = {"conv1.weight": torch.ones(8, 3, 3, 3), "conv2.weight": kept.to(torch.float8_e4m3fn)}
    file = saved(tmp_path / "net.safetensors", state)
    assert [layer["nonzeros"] for layer in look(file)["layers"]] == [216, int(kept.sum())]
    summary = {
        t["name"]: (t["dtype"], t["nonzeros"]) for t in info(InfoConfig(file=file)).to_json()["tensors"]
    }
    assert summary["conv2.weight"] == ("float8_e4m3fn", int(kept.sum()))


def test_info_of_tensors_that_cannot_be_read(tmp_path: Path) -> None:
    torch.save(
        {"a.weight": torch.ones(2, 2), "b.weight": torch.empty(3, 3, device="meta")}, tmp_path / "net.ckpt"
    )
    found = info(InfoConfig(file=str(tmp_path / "net.ckpt"))).to_json()
    assert found["digest"] is None
    assert [(t["name"], t["role"], t["part_of"], t["nonzeros"]) for t in found["tensors"]] == [
        ("a.weight", "layer", "a", 4), ("b.weight", "layer", "b", None)]  # fmt: skip
    assert json.dumps(found)


@pytest.mark.parametrize("prune_it", [None, "magnitude:0.5"])
def test_statistics_that_are_not_finite_are_refused(tmp_path: Path, prune_it: str | None) -> None:
    state = {
        "a.weight": torch.ones(4, 4),
        "bn.weight": torch.ones(4),
        "bn.running_mean": torch.tensor([0, math.inf, 0, 0]),
    }
    config = PruneStatsConfig(files=(saved(tmp_path / "net.safetensors", state),), prune=prune_it)
    with pytest.raises(NonFiniteError, match=r"'bn.running_mean' holds NaN or infinite values"):
        prune_stats(config, None if prune_it is None else str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_info_of_a_quantised_tensor(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = {"a.weight": torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)}
        torch.save(state, tmp_path / "net.pth")
    assert info(InfoConfig(file=str(tmp_path / "net.pth"))).to_json()["digest"] is None


def test_the_last_layer_of_a_generator_is_no_first_one(tmp_path: Path) -> None:
    state = nn.Sequential(
        nn.ConvTranspose2d(9, 16, 4, bias=False), nn.ConvTranspose2d(16, 3, 4, bias=False)
    ).state_dict()
    for name, own in (
        ("plain", state),
        ("bias", {"t.weight": torch.ones(32, 3, 4, 4), "t.bias": torch.ones(3)}),
    ):
        config = EnergyConfig(
            files=(saved(tmp_path / name, own),), dataset="leaves", image_size="16", draws=20
        )
        with pytest.raises(BadInputError, match="makes images"):
            energy(config)


def test_tokens_are_neither_counted_nor_pruned(tmp_path: Path) -> None:
    tokens = {"cls_token": torch.full((1, 1, 8), 1e-3), "pos_embed": torch.full((1, 5, 8), 1e-3)}
    norm = {"norm.weight": torch.full((8,), 1e-3), "norm.bias": torch.zeros(8)}
    file = saved(tmp_path / "vit.safetensors", {"proj.weight": torch.randn(8, 3, 4, 4), **tokens, **norm})
    out = tmp_path / "pruned.safetensors"
    written = prune_stats(PruneStatsConfig(files=(file,), prune="magnitude:0.5"), str(out))
    assert written.written is not None
    assert written.written.num_pruned == 8 * 48 // 2
    pruned = open_checkpoint(out)
    assert all(torch.equal(pruned[name], tensor) for name, tensor in (tokens | norm).items())
    assert written.to_json()["files"][0]["norms"] == [
        {"norm": "norm", "tensors": ["norm.bias", "norm.weight"]}
    ]
