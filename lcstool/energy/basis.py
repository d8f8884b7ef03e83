"""The basis of energy profiles: the principal components of all patches of the training images.

A basis is computed from whole numbers (sums over bytes), and its digest is the digest of these. So the same images give
the same digest on every machine, although the last bits of the eigenvectors may differ.

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
    """Which images a basis was computed from.

    Attributes:
        name: The data set's name; None if unknown.
        classes: The classes that were kept; empty for all.
        digest: The data set's content digest; None if its images were read one by one from a folder.
    """

    name: str | None = None
    classes: tuple[str, ...] = ()
    digest: str | None = None

    def __str__(self) -> str:
        return (self.name or "unknown images") + (
            f" (classes {', '.join(self.classes)})" if self.classes else ""
        )


@dataclass(frozen=True, kw_only=True)
class PatchBasis:
    """Principal components of patches: eigenvectors of their covariance, largest eigenvalue first.

    Attributes:
        moments: Sums over all patches, as whole numbers of bytes.
        pixels: How bytes become the numbers that patches consist of; by default raw pixels in [0, 1].
        eigenvectors_DD: One component in each row, float64; its largest entry (the first of equal ones) is positive.
        eigenvalues_D: Variance of the patches along each component, float64, never negative.
        mean_D: The mean patch.
        images: The images that the patches were taken from.
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
        """Compute the basis of uint8 images, reading them once; errors as in `patch_moments`.

        Args:
            blocks: uint8 images (B, C, H, W).
            kernel_size: Rows and columns of the patches.
            pixels: How bytes become the numbers that patches consist of; None for raw pixels in [0, 1].
            images: What to remember of these images.
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
        # In symmetric components the largest entries are equal up to sign; rounding must not decide which comes first.
        size_DD = vectors_DD.abs()
        first_D = (
            (size_DD >= (1 - 1e-6) * size_DD.amax(dim=1, keepdim=True)).int().argmax(dim=1, keepdim=True)
        )
        vectors_DD = (vectors_DD * vectors_DD.gather(1, first_D).sign()).contiguous()
        return PatchBasis(
            moments=moments,
            pixels=pixels,
            eigenvectors_DD=vectors_DD,
            eigenvalues_D=values_D.flip(0).clamp(min=0),
            mean_D=mean_D,
            images=images,
        )

    @property
    def kernel_size(self) -> tuple[int, int]:
        return self.moments.kernel_size

    @property
    def num_components(self) -> int:
        return len(self.eigenvalues_D)

    @property
    def is_raw(self) -> bool:
        """Whether pixels are raw: from 0 (black) to 1 (white)."""
        return not any(self.pixels.mean) and set(self.pixels.std) == {1.0}

    @cached_property
    def covariance_DD(self) -> Tensor:
        """Covariance of the patches."""
        return patches_in_units(self.moments, self.pixels)[1]

    @property
    def second_moment_DD(self) -> Tensor:
        """Mean outer product of a patch with itself, without subtracting the mean patch first."""
        return self.covariance_DD + self.mean_D[:, None] * self.mean_D[None, :]

    @cached_property
    def digest(self) -> str:
        """The content digest of everything that determines the basis."""
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
        """Components with almost equal eigenvalues, as lists of indices.

        Neighbours in a list differ by at most `relative_gap` of the larger one; all zero eigenvalues are in one list.
        Within a list, a small change of the images can rotate the components into one another.
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
        """Inner products (M, D), float64, of filters (M, D) or (M, C, rows, columns) with the components.

        Raises:
            BadInputError: filters of another shape, or with values that are not finite.
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
        """The mean patch of each image, (N, D) float64, with the basis's own `pixels`; errors as in `patch_moments`."""
        return (
            average_patches(blocks, self.kernel_size) - self._per_entry(self.pixels.mean)
        ) / self._per_entry(self.pixels.std)

    def _per_entry(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).repeat_interleave(math.prod(self.kernel_size))


def raw_pixels(channels: int) -> Preprocess:
    """Pixels from 0 (black) to 1 (white)."""
    return Preprocess((0.0,) * channels, (1.0,) * channels)


def patches_in_units(moments: PatchMoments, pixels: Preprocess) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the patches, once `pixels` has turned their bytes into numbers."""
    taps = math.prod(moments.kernel_size)
    mean_D, covariance_DD = moments.covariance()
    black_D = torch.tensor(pixels.mean, dtype=torch.float64).repeat_interleave(taps)
    std_D = torch.tensor(pixels.std, dtype=torch.float64).repeat_interleave(taps)
    scale_D = 255 * std_D
    return (mean_D / 255 - black_D) / std_D, covariance_DD / (scale_D[:, None] * scale_D[None, :])
