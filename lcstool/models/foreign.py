"""Networks that lcstool did not write: state dicts in .safetensors, or in .pt and .pth without running their code."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lcstool.checkpoint import content_digest, open_checkpoint
from lcstool.checkpoint.layout import DTYPE_NAMES
from lcstool.errors import BadInputError
from lcstool.models.build import check_tensors, empty_model, load_state
from lcstool.models.spec import ModelSpec

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


def read_state_dict(source: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file, and their content digest; that is the same for a .pt and a .safetensors of equal tensors.

    Raises:
        BadInputError: unreadable, or holding something other than tensors.
    """
    if source == "-" or Path(source).suffix not in (".pt", ".pth"):
        checkpoint = open_checkpoint(source)
        return _without_prefix({name: checkpoint[name] for name in checkpoint.tensors}), checkpoint.digest()
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadInputError(f"{source} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # the unpickler raises nearly anything on hostile bytes
        raise BadInputError(
            f"{source} cannot be read as a plain state dict ({type(error).__name__}): damaged, or not only tensors",
            hint="only tensors are loaded, never code; save model.state_dict()",
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise BadInputError(f"{source} is not a state dict (names to tensors)")
    state = {str(name): tensor for name, tensor in content.items()}
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.dtype not in DTYPE_NAMES:
            kind = f"{tensor.dtype}, {tensor.layout}"
            raise BadInputError(f"{source}: tensor {name!r} is of a kind that cannot be read ({kind})")
    return _without_prefix(state), content_digest(state)


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without the `module.` that torch's DataParallel puts before them."""
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def build_foreign(
    arch: str, in_shape: tuple[int, int, int], state: dict[str, Tensor], where: str
) -> tuple[ModelSpec, nn.Module]:
    """The network that a state dict belongs to; its number of classes is read off the last layer's shape.

    Args:
        arch: A name of the registry, or `torchvision:NAME`.
        in_shape: Channels, height, width of its input.
        state: The tensors.
        where: The file's name for messages.

    Raises:
        BadInputError: naming the first tensor that is missing, superfluous, of another shape, or non-finite.
    """
    channels, height, width = in_shape
    spec = ModelSpec(arch=arch, image=(height, width), channels=channels, classes=1000)
    expected = empty_model(spec).state_dict()
    for name, tensor in expected.items():
        found = state.get(name)
        if found is None or not found.ndim or found.shape == tensor.shape:
            continue
        if found.shape[1:] == tensor.shape[1:]:
            spec = replace(spec, classes=found.shape[0])  # only the last layer's rows may differ
    model = empty_model(spec)
    for name in model.state_dict():
        if name not in state and name.endswith(
            "num_batches_tracked"
        ):  # old files lack it; it changes nothing
            state[name] = torch.zeros((), dtype=torch.int64)
    check_tensors(model, state, where, arch)
    load_state(model, state.items(), where)
    return spec, model
