"""The basis that energy profiles are taken in: principal components of all patches of the training images.

A basis is made from whole numbers, so its digest is that of those numbers: the same images give the same digest on
every machine, though the last bits of its eigenvectors may differ.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 2.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lcstool.checkpoint import content_digest
from lcstool.data.preprocess import Preprocess
from lcstool.energy.patches import PatchMoments, average_patches, patch_moments
from lcstool.errors import BadInputError

# Shape suffixes: N images, M filters, C channels, D = C * rows * columns entries of a patch, and as many components.


@dataclass(frozen=True)
class Images:
    """Which images a basis is of.

    Attributes:
        name: The data set's name; None if unknown.
        classes: Those that were kept; none is all.
        digest: Of the data set; None where it was streamed.
    """

    name: str | None = None
    classes: tuple[str, ...] = ()
    digest: str | None = None

    def __str__(self) -> str:
        return (self.name or "unknown images") + (
            f" (classes {', '.join(self.classes)})" if self.classes else ""
        )


@dataclass(frozen=True)
class PatchBasis:
    """Principal components of patches: eigenvectors of their centred covariance, largest eigenvalue first.

    Attributes:
        moments: Of the patches, whole numbers of bytes.
        pixels: From bytes to the units of the patches; raw pixels in [0, 1] by default.
        eigenvectors_DD: A component a row, float64, its largest entry (the first of equals) positive.
        eigenvalues_D: In squared units of the patches, float64, none negative.
        mean_D: The mean patch, in units of the patches.
        images: The images it is of.
    """

    moments: PatchMoments
    pixels: Preprocess
    eigenvectors_DD: Tensor
    eigenvalues_D: Tensor
    mean_D: Tensor
    images: Images = Images()

    @staticmethod
    def of(
        blocks: Iterable[Tensor],
        kernel_size: tuple[int, int],
        pixels: Preprocess | None = None,
        images: Images = Images(),
    ) -> "PatchBasis":
        """Measure the basis of uint8 images, in one pass; errors as in `patch_moments`.

        Args:
            blocks: uint8 images (B, C, H, W).
            kernel_size: Rows and columns.
            pixels: From bytes to the units of the patches; None is [0, 1].
            images: Which images these are, to be kept.
        """
        moments = patch_moments(blocks, kernel_size)
        pixels = pixels or raw_pixels(moments.channels)
        if pixels.permute_seed is not None or len(pixels.mean) != moments.channels:
            raise BadInputError(
                f"{moments.channels}-channel patches need one mean and std a channel, unpermuted"
            )
        mean_D, covariance_DD = patches_in_units(moments, pixels)
        values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
        vectors_DD = vectors_DD.T.flip(0)
        # Symmetric components hold entries of equal size and opposite sign: rounding must not choose among them.
        size_DD = vectors_DD.abs()
        first_D = (
            (size_DD >= (1 - 1e-6) * size_DD.amax(dim=1, keepdim=True)).int().argmax(dim=1, keepdim=True)
        )
        vectors_DD = (vectors_DD * vectors_DD.gather(1, first_D).sign()).contiguous()
        return PatchBasis(moments, pixels, vectors_DD, values_D.flip(0).clamp(min=0), mean_D, images)

    @property
    def kernel_size(self) -> tuple[int, int]:
        return self.moments.kernel_size

    @property
    def num_components(self) -> int:
        return len(self.eigenvalues_D)

    @property
    def is_raw(self) -> bool:
        """Whether its patches are of pixels from 0 (black) to 1 (white)."""
        return not any(self.pixels.mean) and set(self.pixels.std) == {1.0}

    @cached_property
    def covariance_DD(self) -> Tensor:
        """Centred covariance of the patches."""
        return patches_in_units(self.moments, self.pixels)[1]

    @property
    def second_moment_DD(self) -> Tensor:
        """Mean outer product of a patch with itself, uncentred."""
        return self.covariance_DD + self.mean_D[:, None] * self.mean_D[None, :]

    @cached_property
    def digest(self) -> str:
        """The content digest of all that decides the basis."""
        return content_digest(
            {
                "kernel_size": torch.tensor(self.kernel_size),
                "num_patches": torch.tensor(self.moments.num_patches),
                "pixel_mean": torch.tensor(self.pixels.mean, dtype=torch.float64),
                "pixel_std": torch.tensor(self.pixels.std, dtype=torch.float64),
                "scatter": self.moments.scatter_DD,
                "sums": self.moments.sums_D,
            }
        )

    def groups(self, relative_gap: float = 0.01) -> list[list[int]]:
        """Components in runs within which each eigenvalue is within `relative_gap` of the next one.

        Within such a run the components are hardly defined one by one; all that vanish make one run.
        """
        values = self.eigenvalues_D.tolist()
        noise = max(values[0], 0.0) * len(values) * torch.finfo(torch.float64).eps
        runs = [[0]]
        for index in range(1, len(values)):
            before, here = values[index - 1], values[index]
            if before - here <= max(relative_gap * before, noise):
                runs[-1].append(index)
            else:
                runs.append([index])
        return runs

    def project(self, filters_MD: Tensor) -> Tensor:
        """Inner products of filters (M, D) or (M, C, rows, columns) with the components, (M, D) float64.

        Raises:
            BadInputError: filters of another shape, or not finite.
        """
        flat_MD = filters_MD.detach().flatten(1).double()
        shape = (self.moments.channels, *self.kernel_size)
        if flat_MD.shape[1] != self.num_components or filters_MD.shape[1:] not in (
            shape,
            (math.prod(shape),),
        ):
            raise BadInputError(f"filters of shape {list(filters_MD.shape[1:])}; the basis has {list(shape)}")
        if not flat_MD.isfinite().all():
            raise BadInputError("the filters hold values that are not finite")
        return flat_MD @ self.eigenvectors_DD.T

    def average_patches(self, blocks: Iterable[Tensor]) -> Tensor:
        """The mean of each image's patches, (N, D) float64 in the basis's own units; errors as in `patch_moments`."""
        return (
            average_patches(blocks, self.kernel_size) - self._per_entry(self.pixels.mean)
        ) / self._per_entry(self.pixels.std)

    def _per_entry(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).repeat_interleave(math.prod(self.kernel_size))


def raw_pixels(channels: int) -> Preprocess:
    """Bytes as numbers from 0 (black) to 1 (white)."""
    return Preprocess((0.0,) * channels, (1.0,) * channels)


def patches_in_units(moments: PatchMoments, pixels: Preprocess) -> tuple[Tensor, Tensor]:
    """Mean and covariance in the units of `pixels`."""
    taps = math.prod(moments.kernel_size)
    mean_D, covariance_DD = moments.covariance()
    black_D = torch.tensor(pixels.mean, dtype=torch.float64).repeat_interleave(taps)
    std_D = torch.tensor(pixels.std, dtype=torch.float64).repeat_interleave(taps)
    scale_D = 255 * std_D
    return (mean_D / 255 - black_D) / std_D, covariance_DD / (scale_D[:, None] * scale_D[None, :])
