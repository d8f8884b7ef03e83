"""How stored images become a network's input: normalisation and an optional permutation of the pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lcstool.errors import BadInputError

# Shape suffixes: B batch, C channels, H W height and width.


@dataclass(frozen=True)
class Preprocess:
    """The fixed map from uint8 images to a network's input; it is stored with every model.

    Attributes:
        mean: What is subtracted from each channel; 1 is white.
        std: What each channel is then divided by, in the same unit.
        permute_seed: Seed of a fixed permutation of the pixels (channels move together), or None.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    permute_seed: int | None = None

    @staticmethod
    def of(images_NCHW: Tensor, normalize: str, permute_seed: int | None) -> "Preprocess":
        """Measure the constants on training images.

        Args:
            images_NCHW: The images, uint8.
            normalize: `channel` gives each channel mean 0 and standard deviation 1; `none` only scales to [0, 1].
            permute_seed: As in the attribute.
        """
        channels = images_NCHW.shape[1]
        if normalize == "none":
            return Preprocess((0.0,) * channels, (1.0,) * channels, permute_seed)
        # Integer sums are exact, so the constants do not depend on the number of threads.
        total = torch.zeros(channels, dtype=torch.int64)
        squares = torch.zeros(channels, dtype=torch.int64)
        for block in images_NCHW.split(4096):
            wide = block.to(torch.int32)
            total += wide.sum(dim=(0, 2, 3), dtype=torch.int64)
            squares += (wide * wide).sum(dim=(0, 2, 3), dtype=torch.int64)
        count = images_NCHW.numel() // channels
        mean = total.double() / count
        std = (squares.double() / count - mean**2).clamp(min=1.0).sqrt()
        return Preprocess(
            tuple(round(value, 6) for value in (mean / 255).tolist()),
            tuple(round(value, 6) for value in (std / 255).tolist()),
            permute_seed,
        )

    def on(
        self, device: torch.device, image_size: tuple[int, int], dtype: torch.dtype = torch.float32
    ) -> Callable[[Tensor], Tensor]:
        """The map itself, its constants already on the device.

        Returns:
            A function from uint8 images (B, C, H, W) to `dtype` of the same shape.
        """
        mean = torch.tensor(self.mean, device=device, dtype=dtype).view(-1, 1, 1) * 255
        scale = 1 / (torch.tensor(self.std, device=device, dtype=dtype).view(-1, 1, 1) * 255)
        order = self.pixel_order(image_size)
        order = None if order is None else order.to(device)

        def prepare(images_BCHW: Tensor) -> Tensor:
            if order is not None:
                images_BCHW = images_BCHW.flatten(2)[:, :, order].view_as(images_BCHW)
            return (images_BCHW.to(dtype) - mean).mul_(scale)

        return prepare

    def pixel_order(self, image_size: tuple[int, int]) -> Tensor | None:
        """The permutation of the pixels: input pixel i shows image pixel order[i], row-major; None if they stay."""
        return None if self.permute_seed is None else pixel_permutation(*image_size, self.permute_seed)

    def to_json(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std), "permute_pixels": self.permute_seed}

    @staticmethod
    def from_json(fields: dict[str, Any], channels: int, where: str) -> "Preprocess":
        """The inverse of `to_json`, for images of so many channels; BadInputError says what is not usable."""
        try:
            mean, std = (tuple(float(value) for value in fields[name]) for name in ("mean", "std"))
            seed = fields.get("permute_pixels")
            if not all(map(math.isfinite, mean + std)) or min(std) <= 0:
                raise ValueError("mean and std should be finite, std positive")
            if not len(mean) == len(std) == channels:
                raise ValueError(f"{len(mean)} means and {len(std)} stds for {channels} channels")
            if seed is not None and not (type(seed) is int and 0 <= seed < 2**32):
                raise ValueError("permute_pixels should be a seed")
            return Preprocess(mean, std, seed)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadInputError(f"{where}: the header's input description is not usable: {error}") from None


def pixel_permutation(height: int, width: int, seed: int) -> Tensor:
    """The permutation of `--permute-pixels SEED`: output pixel i shows input pixel permutation[i], row-major."""
    return torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))
