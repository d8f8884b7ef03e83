"""Images whose patches give a basis."""

import torch
from torch import Tensor


def smooth_images(size: int = 200, channels: int = 3, side: int = 12, seed: int = 0) -> Tensor:
    """uint8 noise in which neighbouring pixels are alike, as in photographs."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(size, channels, side + 4, side + 4, generator=generator)
    smooth = torch.nn.functional.avg_pool2d(noise + noise[:, :1], 5, stride=1)
    brightness = torch.randn(size, 1, 1, 1, generator=generator)
    return (128 + 120 * smooth + 20 * brightness).clamp(0, 255).to(torch.uint8)
