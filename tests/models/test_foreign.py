"""State dicts that lcstool did not write: the same network and digest from either kind of file, refusals by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lcstool.checkpoint import content_digest, open_checkpoint
from lcstool.errors import BadInputError, NonFiniteError, UsageError
from lcstool.models import ModelSpec, build_model
from lcstool.models.foreign import build_foreign
from lcstool.parsing import parse_keywords
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.stage import embed

ARCH, SHAPE = "vanilla-cnn", (2, 10, 9)
SPEC = ModelSpec(arch=ARCH, image=SHAPE[1:], channels=SHAPE[0], classes=4)


ALPHA = (("alpha", 1),)


def build(state: dict[str, Tensor]) -> tuple[ModelSpec, nn.Module]:
    return build_foreign(ARCH, SHAPE, state, "net.pt", ALPHA)


def state_dict() -> dict[str, Tensor]:
    return dict(build_model(SPEC).state_dict())


def both_files(state: dict[str, Tensor], folder: Path) -> tuple[str, str]:
    """The same tensors as .pt and as .safetensors."""
    torch.save(state, folder / "net.pt")
    save_file(state, folder / "net.safetensors")
    return str(folder / "net.pt"), str(folder / "net.safetensors")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_same_tensors_have_the_same_digest_in_either_kind_of_file(prefix: str, tmp_path: Path) -> None:
    state = {prefix + name: tensor for name, tensor in state_dict().items()}
    one, other = (open_checkpoint(file) for file in both_files(state, tmp_path))
    assert one.digest() == other.digest() == content_digest(state_dict())
    assert one.tensors.keys() == other.tensors.keys() == state_dict().keys()
    assert all(torch.equal(one[name], other[name]) for name in one.tensors)


def test_embed_records_the_same_input_for_either_kind_of_file(tmp_path: Path) -> None:
    name = "torchvision:squeezenet1_1"
    state = dict(build_model(ModelSpec(arch=name, image=(32, 32), channels=3, classes=4)).state_dict())
    entries, contents = [], []
    for file in both_files(state, tmp_path):
        config = EmbedConfig(file=file, model=name, input="3x32x32", to="local", layers=("features.0",))
        embed(config, f"{file}.out")
        header = open_checkpoint(f"{file}.out").header
        assert header is not None
        entries += header.history
        contents.append(Path(f"{file}.out").read_bytes())
    assert entries[0]["inputs"] == {"model": content_digest(state)}
    assert entries[0] == entries[1]
    assert contents[0] == contents[1]


def test_the_number_of_classes_is_read_off_the_last_layer() -> None:
    spec, model = build(state_dict())
    assert spec == SPEC
    assert all(torch.equal(tensor, state_dict()[name]) for name, tensor in model.state_dict().items())


def test_old_files_lack_the_number_of_batches() -> None:
    norms = ModelSpec(arch="s-conv", image=(10, 9), channels=2, classes=4)
    state = dict(build_model(norms).state_dict())
    del state["bn1.num_batches_tracked"]
    _, model = build_foreign("s-conv", SHAPE, state, "net.pt", ALPHA)
    assert model.state_dict()["bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer2.bias": None}, "net.pt has no tensor 'layer2.bias', which vanilla-cnn needs"),
        ({"more": torch.ones(1)}, "net.pt has a tensor 'more', which vanilla-cnn does not know"),
        ({"layer2.bias": torch.ones(3, 1)}, r"'layer2.bias' has shape \[3, 1\], expected \[1\]"),
        (
            {"layer2.bias": torch.ones(1).int()},
            "'layer2.bias' has dtype torch.int32, expected torch.float32",
        ),
        ({"layer2.bias": torch.ones(1, dtype=torch.complex64)}, "'layer2.bias' has dtype torch.complex64"),
    ],
    ids=["missing", "superfluous", "shape", "integers", "complex"],
)
def test_tensors_that_do_not_fit_are_named(change: dict[str, Any], said: str) -> None:
    state = {name: tensor for name, tensor in (state_dict() | change).items() if tensor is not None}
    with pytest.raises(BadInputError, match=said):
        build(state)


def test_values_that_are_not_finite() -> None:
    state = state_dict()
    state["layer1.weight"][0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"net.pt: tensor 'layer1.weight' holds NaN"):
        build(state)


def test_messages_count_what_else_does_not_fit() -> None:
    without = {name: tensor for name, tensor in state_dict().items() if not name.startswith("layer2")}
    with pytest.raises(
        BadInputError, match=r"no tensor 'layer2.weight', which vanilla-cnn needs \(and 1 more\)"
    ):
        build(without)
    with pytest.raises(BadInputError, match=r"a tensor 'a', which vanilla-cnn does not know \(and 2 more\)"):
        build(state_dict() | dict.fromkeys("abc", torch.ones(1)))
    with pytest.raises(BadInputError, match=r"'layer1.weight' has shape .* \(and \d more\)"):
        build_foreign(ARCH, SHAPE, state_dict(), "net.pt")  # of alpha 64


def test_numbers_of_8_bits_are_no_weights() -> None:
    narrow = state_dict()["layer1.bias"].to(torch.float8_e4m3fn)
    with pytest.raises(BadInputError, match=r"'layer1.bias' has dtype torch.float8_e4m3fn, expected"):
        build(state_dict() | {"layer1.bias": narrow})


def test_bookkeeping_is_neither_required_nor_refused() -> None:
    extra = {"n_averaged": torch.tensor(3), "layer1.num_batches_tracked": torch.tensor(7)}
    _, model = build(state_dict() | extra)
    assert model.state_dict().keys() == state_dict().keys()


def test_tensors_of_any_memory_layout_are_taken() -> None:
    state = {name: tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor.T.contiguous().T
             for name, tensor in state_dict().items() if tensor.ndim != 1}  # fmt: skip
    _, model = build(state_dict() | state)
    assert all(tensor.is_contiguous() for tensor in model.state_dict().values())


def test_an_own_architecture_takes_its_sizes_as_arguments() -> None:
    with pytest.raises(UsageError, match="vanilla-cnn takes no model argument colour='red'"):
        build_foreign(ARCH, SHAPE, {}, "net.pt", (("colour", "red"),))
    with pytest.raises(UsageError, match=r"alpha=2\.5"):
        build_foreign(ARCH, SHAPE, {}, "net.pt", (("alpha", 2.5),))


@pytest.mark.parametrize(
    ("text", "value"),
    [("false", False), ("True", True), ("none", None), ("3", 3), ("1,2", (1, 2)), ("bn", "bn"), ("0.5", 0.5)],
)
def test_values_of_model_arguments(text: str, value: object) -> None:
    assert parse_keywords((f"x={text}",), "model-arg") == {"x": value}
