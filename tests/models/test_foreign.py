"""State dicts that lcstool did not write: the same network and digest from either kind of file, refusals by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lcstool.checkpoint import content_digest, open_checkpoint
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.models import ModelSpec, build_model
from lcstool.models.foreign import build_foreign, read_state_dict
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.stage import embed

ARCH, SHAPE = "vanilla-cnn", (2, 10, 9)
SPEC = ModelSpec(arch=ARCH, image=SHAPE[1:], channels=SHAPE[0], classes=4)


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
    (one, digest), (other, other_digest) = (read_state_dict(file) for file in both_files(state, tmp_path))
    assert digest == other_digest == content_digest(state)
    assert one.keys() == other.keys() == state_dict().keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net"])
def test_a_wrapped_state_dict_has_the_digest_of_its_tensors(wrapper: str, tmp_path: Path) -> None:
    torch.save({wrapper: state_dict(), "epoch": 3}, tmp_path / "net.pth")
    assert read_state_dict(str(tmp_path / "net.pth"))[1] == content_digest(state_dict())


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
    spec, model = build_foreign(ARCH, SHAPE, state_dict(), "net.pt")
    assert spec == SPEC
    assert all(torch.equal(tensor, state_dict()[name]) for name, tensor in model.state_dict().items())


def test_old_files_lack_the_number_of_batches() -> None:
    norms = ModelSpec(arch="s-conv", image=(10, 9), channels=2, classes=4)
    state = dict(build_model(norms).state_dict())
    del state["bn1.num_batches_tracked"]
    _, model = build_foreign("s-conv", SHAPE, state, "net.pt")
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
        build_foreign(ARCH, SHAPE, state, "net.pt")


def test_values_that_are_not_finite() -> None:
    state = state_dict()
    state["layer1.weight"][0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"net.pt: tensor 'layer1.weight' holds NaN"):
        build_foreign(ARCH, SHAPE, state, "net.pt")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "tensor", [torch.ones(2, dtype=torch.complex64), torch.eye(2).to_sparse()], ids=["complex", "sparse"]
)
def test_tensors_of_other_kinds_are_refused(tensor: Tensor, tmp_path: Path) -> None:
    torch.save({"layer1.weight": tensor}, tmp_path / "net.pt")
    with pytest.raises(BadInputError, match=r"'layer1.weight' is of a kind that cannot be read"):
        read_state_dict(str(tmp_path / "net.pt"))


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {"state_dict": {"a": "b"}}], ids=str)
def test_what_is_no_state_dict(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(BadInputError, match="is not a state dict"):
        read_state_dict(str(tmp_path / "net.pt"))
