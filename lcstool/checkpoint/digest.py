"""The content digest: the one way in which lcstool says that two sets of tensors are the same."""

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from lcstool.checkpoint.layout import DTYPE_NAMES

#: A tensor's dtype, its shape, and its values in blocks of leading rows.
Described = tuple[torch.dtype, tuple[int, ...], Iterable[Tensor]]


def content_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over sorted names, dtypes, shapes and bytes, as `sha256:...`.

    Equal tensors under equal names have equal digests, whatever kind of file they came from.
    """
    return streamed_digest((name, (t.dtype, tuple(t.shape), (t,))) for name, t in sorted(tensors.items()))


def streamed_digest(entries: Iterable[tuple[str, Described]]) -> str:
    """The same of tensors that are read block by block; the names must ascend."""
    hasher = hashlib.sha256()
    for name, (dtype, shape, blocks) in entries:
        hasher.update(f"{name}\0{DTYPE_NAMES.get(dtype, dtype)}\0{list(shape)}\0".encode())
        for block in blocks:
            hasher.update(tensor_bytes(block))
    return f"sha256:{hasher.hexdigest()}"


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The tensor's bytes in row-major order, as safetensors stores them, without a copy where possible."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if (
        not flat.numel()
    ):  # of numpy, perhaps, whose empty arrays have strides that torch does not view as bytes
        return memoryview(b"")
    return memoryview(flat.view(torch.uint8).numpy())  # type: ignore[arg-type]
