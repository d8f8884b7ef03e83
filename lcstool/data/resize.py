"""Images at another size."""

import torch
from torch import Tensor


def resize_images(images_NCHW: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Resize uint8 images to (height, width) by antialiased bilinear interpolation; None leaves them."""
    if size is None or tuple(images_NCHW.shape[2:]) == size:
        return images_NCHW
    if not len(images_NCHW):
        return images_NCHW.new_empty(*images_NCHW.shape[:2], *size)
    resized = [
        torch.nn.functional.interpolate(
            block.float(), size=size, mode="bilinear", antialias=True, align_corners=False
        )
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for block in images_NCHW.split(2048)
    ]
    return torch.cat(resized)
