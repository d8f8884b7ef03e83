"""State dicts that lcstool did not write: .safetensors, or .pt/.pth read without unpickling anything but tensors."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lcstool.checkpoint import all_finite, content_digest, open_checkpoint
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.models.build import empty_model
from lcstool.models.spec import ModelSpec

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


def read_state_dict(source: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file and their content digest.

    Raises:
        BadInputError: unreadable, or holding something other than tensors.
    """
    if source == "-" or Path(source).suffix not in (".pt", ".pth"):
        checkpoint = open_checkpoint(source)
        return {
            name.removeprefix("module."): checkpoint[name] for name in checkpoint.tensors
        }, checkpoint.digest()
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
    named = {str(name): tensor for name, tensor in content.items()}
    return {name.removeprefix("module."): tensor for name, tensor in named.items()}, content_digest(named)


def build_foreign(
    arch: str, in_shape: tuple[int, int, int], state: dict[str, Tensor], where: str
) -> tuple[ModelSpec, nn.Module]:
    """The network of this architecture that the state dict belongs to; the number of classes is read off it.

    Args:
        arch: A name of the registry, or `torchvision:NAME`.
        in_shape: Channels, height, width of its input.
        state: The tensors.
        where: The file's name for messages.

    Raises:
        BadInputError: naming the first tensor that is missing, superfluous, of another shape, or non-finite.
    """
    channels, height, width = in_shape
    spec = ModelSpec(arch, (height, width), channels, 1000)
    expected = empty_model(spec).state_dict()
    for name, tensor in expected.items():
        found = state.get(name)
        if (
            found is not None
            and found.shape != tensor.shape
            and found.ndim
            and found.shape[1:] == tensor.shape[1:]
        ):
            spec = replace(spec, classes=found.shape[0])  # only the last layer's rows may differ
    model = empty_model(spec)
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in state and name.endswith(
            "num_batches_tracked"
        ):  # old files lack it; it changes nothing
            state[name] = torch.zeros((), dtype=torch.int64)
        if name not in state:
            raise BadInputError(f"{where} has no tensor {name!r}, which {arch} needs")
        if state[name].shape != tensor.shape:
            raise BadInputError(
                f"{where}: tensor {name!r} has shape {list(state[name].shape)}, {arch} expects {list(tensor.shape)}"
            )
        if not all_finite(state[name]):
            raise NonFiniteError(f"{where}: tensor {name!r} holds NaN or infinite values")
    superfluous = sorted(set(state) - set(expected))
    if superfluous:
        raise BadInputError(f"{where} has a tensor {superfluous[0]!r}, which {arch} does not know")
    model.load_state_dict(state, assign=True)
    return spec, model
