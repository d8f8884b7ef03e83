"""Devices and their memory: which device a run uses, what fits there, and how tensors get there."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lcstool.errors import DeviceError, UsageError


def resolve_device(name: str) -> torch.device:
    """`auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:i`.

    Raises:
        UsageError: not of that form.
        DeviceError: a GPU was asked for and is missing.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind != "cuda" or (":" in name and not index.isdecimal()):
        raise UsageError(f"device {name!r} is not one of auto, cpu, cuda, cuda:i")
    if not torch.cuda.is_available():
        raise DeviceError(f"device {name!r} was asked for, but torch {torch.__version__} sees no GPU here",
                          hint="use --device cpu")  # fmt: skip
    if index and int(index) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise DeviceError(f"device {name!r} was asked for, but the GPUs seen end at cuda:{last}")
    return torch.device(name)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn torch's out-of-memory errors, on either device, into DeviceError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"out of memory: {str(error).splitlines()[0]}", hint="see the estimate of --dry-run"
        ) from None
    except MemoryError:
        raise DeviceError("out of memory on the host", hint="see the estimate of --dry-run") from None
    except RuntimeError as error:
        if "not enough memory" not in str(error):
            raise
        raise DeviceError(
            f"out of memory: {str(error).splitlines()[0]}", hint="see the estimate of --dry-run"
        ) from None


def require_memory(needed: int, device: torch.device, what: str) -> None:
    """DeviceError, naming both numbers, if something is estimated to need more memory than a device has.

    On the host the limit is all memory, not what is free now, since caches and other programs may give theirs back.
    """
    there = available_memory(device)
    if needed > there:
        raise DeviceError(
            f"{what} takes about {needed / 1e9:.1f} GB, and {device} has {there / 1e9:.1f} GB",
            hint="make it smaller; --dry-run shows the sizes",
        )


def available_memory(device: torch.device) -> int:
    """Bytes: what is free of a GPU's memory, or all that the host has."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    return host_memory_bytes()


def host_memory_bytes() -> int:
    """The memory this process may use: the machine's, or its container's limit where that is lower."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        with contextlib.suppress(OSError, ValueError):
            there = min(there, int(limit.read_text()))
    return there


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a host tensor to the device without waiting for it.

    A GPU reads it from pinned memory once it has done the work queued before; a copy from ordinary memory would wait
    for that work. torch keeps the pinned memory until it was read.
    """
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def is_split(tensor: torch.Tensor) -> bool:
    """Whether each of several ranks holds a part of the tensor (a DTensor, which takes long to import)."""
    return hasattr(tensor, "to_local")


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """Of a tensor that is split over ranks, the rows that this rank holds; any other tensor as it is."""
    with torch.no_grad():
        return tensor.to_local() if is_split(tensor) else tensor  # type: ignore[attr-defined]
