"""The info stage: describe a file or a data set, or count the parameters of all architectures."""

from pathlib import Path

import torch

from lcstool.checkpoint import Checkpoint, open_checkpoint
from lcstool.data import load_dataset
from lcstool.data.preprocess import Preprocess
from lcstool.devices import memory_errors
from lcstool.errors import UnreadTensorError
from lcstool.stages.info.config import InfoConfig
from lcstool.stages.info.result import ArchitectureSizes, DatasetInfo, FileInfo, TensorSummary
from lcstool.stages.info.scaling import scaling_table
from lcstool.weights import roles_of


def info(config: InfoConfig) -> FileInfo | DatasetInfo | ArchitectureSizes:
    """Describe the file, the data set, or the architectures.

    Raises:
        BadInputError: a file or data set that cannot be read.
    """
    if config.dataset is not None:
        return _dataset(config, config.dataset)
    if config.file is None:
        return ArchitectureSizes(scaling_table(config.alpha, config.image_size))
    checkpoint = open_checkpoint(config.file, config.key)
    with memory_errors():  # a csr file can declare rows that no memory holds
        places = _places(checkpoint)
        return FileInfo(
            file=checkpoint.where,
            header=checkpoint.header,
            digest=_digest(checkpoint),
            tensors=tuple(_summary(checkpoint, name, places) for name in sorted(checkpoint.tensors)),
        )


def _digest(checkpoint: Checkpoint) -> str | None:
    try:
        return checkpoint.digest()
    except UnreadTensorError:
        return None


def _places(checkpoint: Checkpoint) -> dict[str, tuple[str, str]]:
    """Of each tensor of a network its role and what it is part of; empty for a file that is no network."""
    if checkpoint.header is not None and checkpoint.header.kind != "model":
        return {}
    roles = roles_of(checkpoint)
    places = {name: ("other", kind) for name, kind in roles.other.items()}
    for role, owners in (("layer", roles.layers), ("norm", roles.norms)):
        places |= {name: (role, owner) for owner, names in owners.items() for name in names}
    return places


def _dataset(config: InfoConfig, name: str) -> DatasetInfo:
    side = config.image_side()
    folder = Path(config.data_dir) if config.data_dir else None
    with memory_errors():
        dataset = load_dataset(name, None if side is None else (side, side), folder)
        constants = Preprocess.of(dataset.train.images, "channel", None)
    return DatasetInfo(dataset=dataset, mean=constants.mean, std=constants.std)


def _summary(checkpoint: Checkpoint, name: str, places: dict[str, tuple[str, str]]) -> TensorSummary:
    """One tensor, read block by block."""
    tensor = checkpoint.tensors[name]
    role, part_of = places.get(name, (None, None))
    return TensorSummary(
        name=name,
        role=role,
        part_of=part_of,
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=tensor.shape,
        num_elements=tensor.num_elements,
        nonzeros=_nonzeros(checkpoint, name),
    )


def _nonzeros(checkpoint: Checkpoint, name: str) -> int | None:
    """How many numbers are not zero; None where the values cannot be read."""
    if not checkpoint.tensors[name].num_elements:
        return 0
    try:
        return sum(int(torch.count_nonzero(block != 0)) for block in checkpoint.rows(name))
    except UnreadTensorError:
        return None
