"""How local are the units of a layer that sees an image: each score beside its null.

A sparse filter looks local by its sparsity alone. So every score is compared with its null: the score of the same
weights after each unit's pixels are shuffled (the channels of a pixel move together).

Ref: Neyshabur 2020 (arXiv 2007.13657), section 4.1, asks the question of Figs. 3 and 4; the numbers are ours.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.models.layers.parameters import WEIGHT_LAYERS
from lcstool.weights.grid import restore_pixels

# Shape suffixes: U units, C channels, H W height and width of the input grid.


@dataclass(frozen=True)
class LocalityScores:
    """Means over units.

    Attributes:
        rms_radius_pixels: Root mean square distance from the centre of a unit's energy (its squared weights), weighted
            by the energy.
        window_energy_frac: Share of the energy within the best window of `window` x `window` pixels.
        participation_pixels: (sum e)^2 / sum e^2 over the pixels' energies e: the number of pixels that matter.
    """

    rms_radius_pixels: float
    window_energy_frac: float
    participation_pixels: float


@dataclass(frozen=True, kw_only=True)
class Locality:
    """A layer's locality over its units with at least `min_nonzeros` non-zero weights.

    Attributes:
        min_nonzeros: The smallest number of non-zeros of a unit that counts.
        window_pixels: Side of the window.
        units_frac: Share of the layer's units that count.
        value: The scores, None if no unit counts.
        null: The scores with each unit's pixels shuffled, the mean over the draws.
        null_sd: The standard deviation over the draws.
    """

    min_nonzeros: int
    window_pixels: int
    units_frac: float
    value: LocalityScores | None
    null: LocalityScores | None
    null_sd: LocalityScores | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"radius_ratio": self.radius_ratio}

    @property
    def radius_ratio(self) -> float | None:
        """The rms radius over its null: 1 without locality."""
        if self.value is None or self.null is None or not self.null.rms_radius_pixels:
            return None
        return self.value.rms_radius_pixels / self.null.rms_radius_pixels


def units_on_grid(
    model: nn.Module, in_shape: tuple[int, int, int], pixel_order: Tensor | None = None
) -> Tensor | None:
    """The first layer's weights as images, (U, C, H, W); None if that is no dense layer on the image.

    Args:
        model: The network.
        in_shape: Channels, height, width of its input.
        pixel_order: The permutation it was trained under (input pixel i shows image pixel order[i]), undone here.
    """
    first = next((module for module in model.modules() if isinstance(module, WEIGHT_LAYERS)), None)
    if not isinstance(first, nn.Linear) or first.weight.shape[1] != math.prod(in_shape):
        return None
    weight_UCHW = first.weight.detach().view(-1, *in_shape)
    if pixel_order is None:
        return weight_UCHW
    return restore_pixels(weight_UCHW, pixel_order)


def measure_locality(
    weight_UCHW: Tensor, min_nonzeros: int = 10, window: int | None = None, num_draws: int = 5, seed: int = 0
) -> Locality:
    """Score the locality of a layer's units on their input grid, and of the same weights shuffled.

    Args:
        weight_UCHW: One unit's weights on the input image a row; any floating dtype.
        min_nonzeros: Units with fewer non-zeros are left out.
        window: Side of the window in pixels; None takes a quarter of the image's shorter side.
        num_draws: Shuffles for the null.
        seed: Of the shuffles.
    """
    num_units, _, height, width = weight_UCHW.shape
    window = min(window or max(1, min(height, width) // 4), height, width)
    counts = torch.count_nonzero(weight_UCHW.flatten(1), dim=1)
    chosen = weight_UCHW[counts >= max(1, min_nonzeros)]
    share = len(chosen) / num_units if num_units else 0.0
    if not len(chosen):
        return Locality(
            min_nonzeros=min_nonzeros,
            window_pixels=window,
            units_frac=share,
            value=None,
            null=None,
            null_sd=None,
        )
    energy_UHW = chosen.double().square().sum(dim=1)
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(num_draws):
        order = (
            torch.rand(len(chosen), height * width, generator=generator).argsort(dim=1).to(energy_UHW.device)
        )
        draws.append(_scores(energy_UHW.flatten(1).gather(1, order).view_as(energy_UHW), window))
    table = torch.tensor([list(vars(draw).values()) for draw in draws], dtype=torch.float64)
    mean, sd = table.mean(dim=0), table.std(dim=0, correction=0)
    return Locality(
        min_nonzeros=min_nonzeros,
        window_pixels=window,
        units_frac=share,
        value=_scores(energy_UHW, window),
        null=LocalityScores(*mean.tolist()),
        null_sd=LocalityScores(*sd.tolist()),
    )


def _scores(energy_UHW: Tensor, window: int) -> LocalityScores:
    total_U = energy_UHW.sum(dim=(1, 2))
    share_UHW = energy_UHW / total_U[:, None, None]
    variance_U = torch.zeros_like(total_U)
    for axis in (1, 2):
        size = energy_UHW.shape[axis]
        grid = torch.arange(size, dtype=torch.float64, device=energy_UHW.device)
        marginal = share_UHW.sum(dim=3 - axis)
        mean_U = marginal @ grid
        variance_U = variance_U + (marginal * (grid - mean_U[:, None]).square()).sum(dim=1)
    windows = F.avg_pool2d(share_UHW[:, None], window, stride=1) * window**2
    participation_U = 1 / share_UHW.square().sum(dim=(1, 2))
    return LocalityScores(
        variance_U.sqrt().mean().item(),
        min(1.0, windows.amax(dim=(1, 2, 3)).mean().item()),
        min(float(math.prod(energy_UHW.shape[1:])), participation_U.mean().item()),
    )
