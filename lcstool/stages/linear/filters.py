"""A filter that was asked for, as a tensor of the size that the layers compose to."""

import torch
from torch import Tensor

from lcstool.errors import UsageError
from lcstool.lcn import LinearConvArchitecture
from lcstool.parsing import parse_filter


def end_filter(text: str, architecture: LinearConvArchitecture, name: str) -> Tensor:
    """The entries (end_size,), float64.

    Args:
        text: The entries, highest power of x first: 1,0.3,1.
        architecture: The layers.
        name: What the filter is called in errors.

    Raises:
        UsageError: not as many numbers as the layers compose to.
    """
    entries = parse_filter(text, name)
    if len(entries) != architecture.end_size:
        raise UsageError(
            f"the {name} has {len(entries)} entries; layers of sizes {list(architecture.kernels)} and strides "
            f"{list(architecture.strides)} compose to {architecture.end_size}"
        )
    return torch.tensor(entries, dtype=torch.float64)
