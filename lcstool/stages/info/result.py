"""What was found in a file or a data set, and the parameter counts of the architectures."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from lcstool.checkpoint import Header
from lcstool.data.dataset import ImageDataset, Split


@dataclass(frozen=True, kw_only=True)
class TensorSummary:
    """One tensor.

    Attributes:
        name: Its name.
        role: `layer`, `norm` or `other`; None in a file that is no network.
        part_of: The layer or norm that it belongs to, or what it is instead.
        dtype: Its dtype.
        shape: Its shape.
        num_elements: How many numbers it has.
        nonzeros: How many of them are not zero; None where they cannot be read.
    """

    name: str
    role: str | None
    part_of: str | None
    dtype: str
    shape: tuple[int, ...]
    num_elements: int
    nonzeros: int | None

    @property
    def density(self) -> float | None:
        if self.nonzeros is None:
            return None
        return self.nonzeros / self.num_elements if self.num_elements else 0.0


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """A data set as every stage sees it.

    Attributes:
        dataset: At the size asked for.
        mean, std: Of each channel over the training images, in units of white.
    """

    dataset: ImageDataset
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that it has, by name."""
        found = {
            "train": self.dataset.train,
            "validation": self.dataset.validation,
            "test": self.dataset.test,
        }
        return {name: split for name, split in found.items() if split is not None and len(split)}

    def counts(self, split: str) -> list[int]:
        """Images of each class."""
        found: list[int] = torch.bincount(
            self.splits[split].labels, minlength=self.dataset.num_classes
        ).tolist()
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.info-dataset/1",
            "name": self.dataset.name,
            "digest": self.dataset.digest,
            "in_shape": list(self.dataset.in_shape),
            "class_names": list(self.dataset.class_names),
            "splits": [
                {"split": name, "num_images": len(split), "num_images_of_class": self.counts(name)}
                for name, split in self.splits.items()
            ],
            "mean": list(self.mean),
            "std": list(self.std),
            "cache": None if self.dataset.entry is None else str(self.dataset.entry),
        }


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """A file's description and its tensors.

    Attributes:
        file: The file's name.
        header: What lcstool wrote of it, None for a file of another program.
        digest: Content digest; None where a tensor cannot be read.
        tensors: In the order of their names.
    """

    file: str
    header: Header | None
    digest: str | None
    tensors: tuple[TensorSummary, ...]

    @property
    def unfinished(self) -> dict[str, Any] | None:
        """Where the interrupted run that the file holds stands; None for a finished one."""
        state = (self.header.state if self.header is not None else None) or {}
        if "epoch" not in state:  # a code file keeps there what its decoder needs
            return None
        return {name: state.get(name) for name in ("epoch", "step")}

    def to_json(self) -> dict[str, Any]:
        header = self.header
        return {
            "schema": "lcstool.info/1",
            "file": self.file,
            "kind": header.kind if header else None,
            "model": header.model if header else None,
            "input": header.input if header else None,
            "layers": header.layers if header else {},
            "history": list(header.history) if header else [],
            "unfinished": self.unfinished,
            "digest": self.digest,
            "tensors": [
                asdict(tensor) | {"shape": list(tensor.shape), "density": tensor.density}
                for tensor in self.tensors
            ],
        }


@dataclass(frozen=True, kw_only=True)
class ArchitectureSize:
    """Parameters of one architecture.

    Attributes:
        arch: Its name.
        alpha: Base channels.
        image_pixels: Side of the images.
        num_parameters: In all.
        fc_equivalent: Of its fully-connected counterpart, None if it has none.
        layers: Of each layer.
    """

    arch: str
    alpha: int
    image_pixels: int
    num_parameters: int
    fc_equivalent: int | None
    layers: dict[str, int]


@dataclass(frozen=True)
class ArchitectureSizes:
    """Parameters of all architectures, each at several sizes."""

    architectures: tuple[ArchitectureSize, ...]

    def to_json(self) -> dict[str, Any]:
        rows = [asdict(row) for row in self.architectures]
        return {"schema": "lcstool.info-archs/1", "architectures": rows}
