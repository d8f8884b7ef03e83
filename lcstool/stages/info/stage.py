"""The info stage: read a file once and describe it, or count the parameters of all architectures."""

import torch

from lcstool.checkpoint import Checkpoint, open_checkpoint
from lcstool.devices import memory_errors
from lcstool.stages.info.config import InfoConfig
from lcstool.stages.info.result import ArchitectureSizes, FileInfo, TensorSummary
from lcstool.stages.info.scaling import scaling_table


def info(config: InfoConfig) -> FileInfo | ArchitectureSizes:
    """Describe the file, or the architectures.

    Raises:
        BadInputError: a file that cannot be read.
    """
    if config.file is None:
        return ArchitectureSizes(scaling_table(config.alpha, config.image_size))
    checkpoint = open_checkpoint(config.file)
    with memory_errors():  # a csr file can declare rows that no memory holds
        return FileInfo(
            file=checkpoint.where,
            header=checkpoint.header,
            digest=checkpoint.digest(),
            tensors=tuple(_summary(checkpoint, name) for name in sorted(checkpoint.tensors)),
        )


def _summary(checkpoint: Checkpoint, name: str) -> TensorSummary:
    """One tensor, read block by block."""
    tensor, nonzeros = checkpoint.tensors[name], 0
    if tensor.num_elements:
        nonzeros = sum(int(torch.count_nonzero(block)) for block in checkpoint.rows(name))
    return TensorSummary(
        name=name,
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=tensor.shape,
        num_elements=tensor.num_elements,
        nonzeros=nonzeros,
    )
