"""Read the tensors of a file that `torch.save` wrote, of any ending, without running any code of it.

torch's own reader of weights only is used. What it does not know (arguments, schedulers, numbers of numpy) is replaced
by a stub that holds nothing, since only tensors are wanted.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint.container import Checkpoint
from lcstool.checkpoint.layout import DTYPE_NAMES, TensorInfo
from lcstool.errors import BadInputError, UnreadTensorError, UsageError

#: Parts of a training that hold tensors too.
_NOT_WEIGHTS = re.compile(r"optim(s|izers?)?(_|$)|sched|scaler|rng|callback|loops", re.IGNORECASE)
_MAX_DEPTH = 3
_SMALL_BYTES = 1 << 30  # a tensor that shows few stored numbers many times may become as large as this


class TorchFile(Checkpoint):
    """The state dict within a file of `torch.save`.

    Attributes:
        key: Where in the file it stands: `` for the file itself, `state_dict`, `ema.shadow`.
        left_out: Names of what stands in the state dict and is no tensor.

    Args:
        path: The file.
        where: Its name for messages.
        key: Which of several state dicts; None where there is one.

    Raises:
        BadInputError: unreadable, or without a state dict.
        UsageError: several state dicts and no key, or a key that is not there.
    """

    def __init__(self, path: Path, where: str, key: str | None) -> None:
        self.where, self.header = where, None
        content = _content(path, where)
        if isinstance(content, _Unread):
            raise BadInputError(
                f"{where} holds an object of a class, perhaps a whole network, whose code is never run",
                hint="save model.state_dict()",
            )
        states = dict(_states(content))
        self.key = _chosen(states, key, where)
        state = states[self.key]
        self.left_out = tuple(str(name) for name, value in state.items() if not isinstance(value, Tensor))
        self._state = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
        self.tensors = {}
        stored = path.stat().st_size if path.is_file() else _SMALL_BYTES
        for name, tensor in self._state.items():
            size = tensor.numel() * tensor.element_size()
            if size > max(_SMALL_BYTES, stored):
                raise BadInputError(
                    f"{where}: tensor {name!r} would take {size} bytes, the file has {stored}"
                )
            self.tensors[name] = TensorInfo(dtype=tensor.dtype, shape=tuple(tensor.shape), begin=0, end=size)

    def _whole(self, name: str) -> Tensor:
        tensor = self._state[name]
        if tensor.is_meta:
            raise UnreadTensorError(f"{self.where}: tensor {name!r} has a shape but no values (meta device)")
        if tensor.is_quantized or tensor.dtype not in DTYPE_NAMES:
            raise UnreadTensorError(
                f"{self.where}: tensor {name!r} is of a kind that cannot be read ({tensor.dtype})",
                hint="save the network before it is quantised, or dequantize() its tensors",
            )
        with warnings.catch_warnings():  # sparse layouts warn that they are young
            warnings.simplefilter("ignore")
            return (tensor if tensor.layout == torch.strided else tensor.to_dense()).detach().contiguous()


class _Unread:
    """Stands for an object of a class that is not read."""

    def __new__(cls, *_args: Any, **_options: Any) -> "_Unread":
        return object.__new__(cls)

    def __init__(self, *_args: Any, **_options: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


def _content(path: Path, where: str) -> Any:
    """Whatever was saved, its tensors mapped from the file where its form allows; BadInputError for another file."""
    is_zip = zipfile.is_zipfile(path)
    try:
        if is_zip:
            _check_archive(path, where)
            with torch.serialization.safe_globals(_stubs(path)):
                return _load(path, mmap=True)
        return _load(path, mmap=False)
    except BadInputError:
        raise
    except OSError as error:
        raise BadInputError(f"{where} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # the unpickler raises nearly anything on hostile bytes
        raise BadInputError(
            f"{where} cannot be read as a plain state dict ({type(error).__name__}): damaged, or not only tensors",
            hint="only tensors are loaded, never code; save model.state_dict()",
        ) from None


def _stubs(path: Path) -> list[Any]:
    """A class under the name of everything in the file that torch does not know."""
    names = (name.rpartition(".") for name in torch.serialization.get_unsafe_globals_in_checkpoint(path))
    return [type(name, (_Unread,), {"__module__": module}) for module, _, name in names]


def _load(path: Path, mmap: bool) -> Any:
    with warnings.catch_warnings():  # of kinds of tensors and storages that torch will give up
        warnings.simplefilter("ignore")
        return _loaded(path, mmap)


def _loaded(path: Path, mmap: bool) -> Any:
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    with path.open("rb") as file:  # torch 2.14 goes by the ending of a path, and takes no open file for a map
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_archive(path: Path, where: str) -> None:
    """BadInputError for a zip archive that `torch.save` did not write."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise BadInputError(
            f"{where} is a TorchScript program, whose code is never run",
            hint="in Python: torch.save(torch.jit.load(FILE).state_dict(), 'net.pth')",
        )
    if not any(name.endswith("data.pkl") for name in names):
        held = ", ".join(names[:3])
        raise BadInputError(
            f"{where} is a zip archive that torch.save did not write (it holds {held or 'nothing'})"
        )


def _states(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every state dict within what was saved, by its place."""
    if not isinstance(content, dict) or depth > _MAX_DEPTH:
        return
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    is_state = len(tensors) == len(content) or any("." in name for name in tensors)
    if is_state and any(tensor.ndim for tensor in tensors.values()):
        yield place, content
    for name, value in content.items():
        if isinstance(name, str) and not _NOT_WEIGHTS.search(name):
            yield from _states(value, f"{place}.{name}" if place else name, depth + 1)


def _chosen(states: Mapping[str, Mapping[Any, Any]], key: str | None, where: str) -> str:
    """The place of the state dict that is asked for."""
    counts = {
        place: sum(isinstance(value, Tensor) for value in state.values()) for place, state in states.items()
    }
    named = ", ".join(f"{place or 'the file itself'} ({count})" for place, count in counts.items())
    if key is not None:
        if key in states:
            return key
        raise UsageError(f"{where} has no state dict at {key!r}; it has {named or 'none'}")
    if not states:
        raise BadInputError(
            f"{where} is not a state dict (names to tensors), and holds none",
            hint="save model.state_dict()",
        )
    if len(states) > 1:
        raise UsageError(
            f"{where} holds {len(states)} state dicts: {named}",
            hint=f"choose one: --key {max(counts, key=lambda place: counts[place])}",
        )
    return next(iter(states))
