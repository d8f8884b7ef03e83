"""What a file holds, and how the architectures scale: `lcstool info`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lcstool.checkpoint import Checkpoint, Header
from lcstool.devices import memory_errors
from lcstool.models import ARCHITECTURES, ModelSpec
from lcstool.models.build import count_parameters, empty_model, weight_layers


@dataclass(frozen=True)
class TensorSummary:
    """One tensor: name, dtype, shape, number of elements and of non-zeros."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    num_elements: int
    nonzeros: int

    @property
    def density(self) -> float:
        return self.nonzeros / self.num_elements if self.num_elements else 0.0


@dataclass(frozen=True)
class FileInfo:
    """A file's description and its tensors.

    Attributes:
        where: The file's name.
        header: What lcstool wrote of it, None for a file of another program.
        digest: Content digest.
        tensors: In the order of their names.
    """

    where: str
    header: Header | None
    digest: str
    tensors: tuple[TensorSummary, ...]

    def to_json(self) -> dict[str, Any]:
        header = self.header
        return {
            "file": self.where,
            "kind": header.kind if header else None,
            "model": header.model if header else None,
            "input": header.input if header else None,
            "layers": header.layers if header else {},
            "history": list(header.history) if header else [],
            "unfinished": unfinished(header),
            "digest": self.digest,
            "tensors": [
                {"name": t.name, "dtype": t.dtype, "shape": list(t.shape), "num_elements": t.num_elements,
                 "nonzeros": t.nonzeros, "density": t.density}
                for t in self.tensors
            ],
        }  # fmt: skip


def unfinished(header: Header | None) -> dict[str, Any] | None:
    """Where the interrupted run that a file holds stands, or None for a finished one."""
    if header is None or header.state is None:
        return None
    return {name: header.state.get(name) for name in ("epoch", "step")}


def describe(checkpoint: Checkpoint) -> FileInfo:
    """Read a file once, block by block, and describe it."""
    with memory_errors():  # a csr file can declare rows that no memory holds
        return _describe(checkpoint)


def _describe(checkpoint: Checkpoint) -> FileInfo:
    summaries = []
    for name, info in sorted(checkpoint.tensors.items()):
        nonzeros = (
            sum(int(torch.count_nonzero(block)) for block in checkpoint.rows(name))
            if info.num_elements
            else 0
        )
        summaries.append(
            TensorSummary(
                name, str(info.dtype).removeprefix("torch."), info.shape, info.num_elements, nonzeros
            )
        )
    return FileInfo(checkpoint.where, checkpoint.header, checkpoint.digest(), tuple(summaries))


@dataclass(frozen=True)
class ArchRow:
    """Parameters of one architecture at one alpha and image side, a layer, in all, and of its dense counterpart."""

    arch: str
    alpha: int
    image: int
    num_parameters: int
    fc_equivalent: int | None
    layers: dict[str, int]


def scaling_table(
    alphas: Sequence[int] | None = None, images: Sequence[int] = (32,), channels: int = 3, classes: int = 10
) -> tuple[ArchRow, ...]:
    """Parameter counts of every architecture, each counted on the module itself, built without storage.

    Args:
        alphas: Base channels; None takes those of the papers' tables.
        images: Sides in pixels; too small ones are left out for the architectures they do not fit.
        channels: Of the images.
        classes: Of the data set; two for the architectures that are for two.

    Ref:
        Neyshabur 2020 (arXiv 2007.13657), Fig. 1 (right), Tables 3 and 4.
        Departs: Table 3 prints 3.42 M for D-LOCAL at alpha 15; its own formula, summed rightly, gives 11.71 M.
    """
    paper_alphas = {"d-conv": (15,), "d-local": (15,), "d-fc": (15,), "resnet18": (64,), "linear-cnn": (64,)}
    paper_alphas |= {arch: (64,) for arch in ARCHITECTURES if arch.startswith("vgg")}
    rows = []
    for arch, entry in ARCHITECTURES.items():
        for image in images:
            if image < entry.smallest_image:
                continue
            for alpha in alphas or paper_alphas.get(arch, (150,)):
                spec = ModelSpec(arch, (image, image), channels, entry.num_classes or classes, alpha)
                model = empty_model(spec)
                layers = {name: count_parameters(model.get_submodule(name)) for name in weight_layers(model)}
                counterpart = entry.fc_counterpart
                fc_spec = (
                    ModelSpec(counterpart, spec.image, channels, classes, alpha) if counterpart else None
                )
                fc_count = count_parameters(empty_model(fc_spec)) if fc_spec else None
                rows.append(ArchRow(arch, alpha, image, count_parameters(model), fc_count, layers))
    return tuple(rows)
