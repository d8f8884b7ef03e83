"""The info stage: describe a file or a data set, or count the parameters of all architectures."""

from pathlib import Path

import torch

from lcstool.checkpoint import Checkpoint, open_checkpoint
from lcstool.data import load_dataset
from lcstool.data.preprocess import Preprocess
from lcstool.devices import memory_errors
from lcstool.stages.info.config import InfoConfig
from lcstool.stages.info.result import ArchitectureSizes, DatasetInfo, FileInfo, TensorSummary
from lcstool.stages.info.scaling import scaling_table


def info(config: InfoConfig) -> FileInfo | DatasetInfo | ArchitectureSizes:
    """Describe the file, the data set, or the architectures.

    Raises:
        BadInputError: a file or data set that cannot be read.
    """
    if config.dataset is not None:
        return _dataset(config, config.dataset)
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


def _dataset(config: InfoConfig, name: str) -> DatasetInfo:
    side = config.image_side()
    folder = Path(config.data_dir) if config.data_dir else None
    with memory_errors():
        dataset = load_dataset(name, None if side is None else (side, side), folder)
        constants = Preprocess.of(dataset.train.images, "channel", None)
    return DatasetInfo(dataset=dataset, mean=constants.mean, std=constants.std)


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
