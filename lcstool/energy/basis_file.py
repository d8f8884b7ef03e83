"""A basis as a file of kind `basis`. On reading, its components are checked against the sums in the same file.

Tensors: eigenvectors (D, D), eigenvalues and mean (float64), sums and scatter (int64, in bytes). The header's `input`
has the kernel's size, the channels, the numbers of images and patches, the data set's name, classes and digest, and how
bytes become the numbers that patches consist of.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.data.preprocess import Preprocess
from lcstool.energy.basis import Images, PatchBasis, patches_in_units
from lcstool.energy.patches import PatchMoments
from lcstool.errors import BadInputError

# Shape suffixes: D = channels * rows * columns entries of a patch, and as many components.

# How far eigenvectors may be from orthonormal, and the covariance in their coordinates from diagonal, over its trace.
_TOLERANCE = 1e-9


def save_basis(basis: PatchBasis, out: str | Path, history: Iterable[dict[str, Any]] = ()) -> None:
    """Write a basis; errors as in `write_checkpoint`.

    Args:
        basis: The basis to write.
        out: A path, or `-` for standard output.
        history: Entries of the stages that led to it.
    """
    moments = basis.moments
    about = {
        "kernel_size": list(moments.kernel_size), "channels": moments.channels,
        "num_images": moments.num_images, "num_patches": moments.num_patches,
        "dataset": basis.images.digest, "dataset_name": basis.images.name, "classes": list(basis.images.classes),
    }  # fmt: skip
    tensors = {
        "eigenvectors": basis.eigenvectors_DD, "eigenvalues": basis.eigenvalues_D, "mean": basis.mean_D,
        "sums": moments.sums_D, "scatter": moments.scatter_DD,
    }  # fmt: skip
    header = Header(kind="basis", input=about | basis.pixels.to_json(), history=tuple(history))
    write_checkpoint(out, header, tensors)


def open_basis(source: str | Path) -> PatchBasis:
    """Read a basis and check it.

    Raises:
        BadInputError: a file of another kind, wrong shapes, values that are not finite, or components that are not
            the eigenvectors of the covariance in the file.
    """
    checkpoint = open_checkpoint(source)
    where = checkpoint.where
    about = checkpoint.require_kind("basis").input or {}
    try:
        rows, columns = about["kernel_size"]
        counts = [rows, columns, *(about[name] for name in ("channels", "num_images", "num_patches"))]
        images = Images(about.get("dataset_name"), tuple(about.get("classes", ())), about["dataset"])
        if not all(type(count) is int and 0 < count < 2**62 for count in counts):
            raise ValueError("sizes and counts should be positive whole numbers")
        if not all(
            isinstance(text, str) for text in (images.name or "", images.digest or "", *images.classes)
        ):
            raise ValueError("the data set should have a name, class names and a digest")
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{where}: the header's input description is not usable: {error}") from None
    channels, num_images, num_patches = counts[2:]
    pixels = Preprocess.from_json(about, channels, where)
    size = channels * rows * columns
    expected = {
        "eigenvectors": (torch.float64, (size, size)), "eigenvalues": (torch.float64, (size,)),
        "mean": (torch.float64, (size,)), "sums": (torch.int64, (size,)), "scatter": (torch.int64, (size, size)),
    }  # fmt: skip
    found = {name: (info.dtype, info.shape) for name, info in checkpoint.tensors.items()}
    if found != expected:
        name = next(name for name in sorted(expected | found) if expected.get(name) != found.get(name))
        raise BadInputError(
            f"{where}: tensor {name!r}: expected {expected.get(name)}, found {found.get(name)}"
        )
    tensors = {name: checkpoint[name] for name in expected}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise BadInputError(f"{where}: tensor {name!r} holds values that are not finite")
    moments = PatchMoments(
        kernel_size=(rows, columns),
        channels=channels,
        num_images=num_images,
        num_patches=num_patches,
        sums_D=tensors["sums"],
        scatter_DD=tensors["scatter"],
    )
    vectors_DD, values_D, mean_D = (tensors[name] for name in ("eigenvectors", "eigenvalues", "mean"))
    identity_DD = torch.eye(size, dtype=torch.float64)
    if (vectors_DD @ vectors_DD.T - identity_DD).abs().max() > _TOLERANCE:
        raise BadInputError(f"{where}: the eigenvectors are not orthogonal and of length 1")
    true_mean_D, covariance_DD = patches_in_units(moments, pixels)
    rotated_DD = vectors_DD @ covariance_DD @ vectors_DD.T
    scale = covariance_DD.trace().abs().clamp(min=torch.finfo(torch.float64).tiny)
    if (rotated_DD - values_D.diag()).abs().max() > _TOLERANCE * scale:
        raise BadInputError(f"{where}: the eigenvectors are not those of the covariance in the file")
    if (
        (values_D.diff() > 0).any()
        or values_D.min() < 0
        or not torch.allclose(mean_D, true_mean_D, rtol=_TOLERANCE, atol=_TOLERANCE)
    ):
        raise BadInputError(
            f"{where}: the eigenvalues do not descend to zero, or the mean is not that of the sums"
        )
    return PatchBasis(
        moments=moments,
        pixels=pixels,
        eigenvectors_DD=vectors_DD,
        eigenvalues_D=values_D,
        mean_D=mean_D,
        images=images,
    )
