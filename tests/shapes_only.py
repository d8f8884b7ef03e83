"""A file of which only names, dtypes and shapes are looked at."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lcstool.checkpoint import Checkpoint, TensorInfo


class ShapesOnly(Checkpoint):
    """Tensors without values, as a file of another program.

    Args:
        tensors: Dtype and shape of each.
    """

    def __init__(self, tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> None:
        self.where, self.header = "net", None
        self.tensors = {
            name: TensorInfo(dtype=dtype, shape=shape, begin=0, end=0)
            for name, (dtype, shape) in tensors.items()
        }

    def _whole(self, name: str) -> Tensor:
        raise NotImplementedError(name)
