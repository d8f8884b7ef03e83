"""Random crop of the zero-padded image and random horizontal flip, in one step.

Shape suffixes: B images of the batch, C channels, H rows, W columns, P = H*W pixels.
"""

import torch
from torch import Tensor

from lcstool.devices import send


def check_images(x_BCHW: Tensor) -> None:
    """Refuses anything but a batch of uint8 images.

    Raises:
        ValueError: The tensor is not uint8 or has not four axes.
    """
    if x_BCHW.dtype != torch.uint8 or x_BCHW.ndim != 4:
        found = f"{tuple(x_BCHW.shape)} of {x_BCHW.dtype}"
        raise ValueError(f"augmentation expects images (B, C, H, W) of torch.uint8, found {found}")


def padding(side: int) -> int:
    """Pixels of padding on each end of an axis: 4 for 32 pixels, in proportion for other sizes, at least 1."""
    return max(1, round(side / 8))


def crop_flip(x_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Shifts each image by a random whole number of pixels, fills with 0, and mirrors half of them.

    Args:
        x_BCHW: uint8 images on any device.
        generator: Source of the choices, on the CPU: the row shift, the column shift and the mirroring.

    Returns:
        New images of the same shape; shifts are uniform within the padding, mirroring has probability 1/2.

    Raises:
        ValueError: The images are not uint8 (B, C, H, W).

    Ref: He et al. 2016, arXiv 1512.03385, section 4.2 (padding 4, crop 32, flip).
    """
    check_images(x_BCHW)
    num_images, _, height, width = x_BCHW.shape
    return shift_flip(x_BCHW, draw_shift_flip(num_images, height, width, generator))


def draw_shift_flip(num_images: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """The choices of `shift_flip` for so many images of a size, drawn as `crop_flip` says."""
    shift_B2 = torch.stack(
        [
            torch.randint(-padding(side), padding(side) + 1, (num_images,), generator=generator)
            for side in (height, width)
        ],
        dim=1,
    )
    flip_B1 = torch.randint(2, (num_images, 1), generator=generator)
    return torch.cat((shift_B2, flip_B1), dim=1)


def shift_flip(x_BCHW: Tensor, choice_B3: Tensor) -> Tensor:
    """Reads each image at a shifted row and column, columns counted from the right where it is mirrored.

    Args:
        x_BCHW: Images.
        choice_B3: Row shift, column shift and whether to mirror (0 or 1), int64 on the CPU.

    Returns:
        New images; 0 where the source lies outside.
    """
    num_images, num_channels, height, width = x_BCHW.shape
    device = x_BCHW.device
    down, right, flip = send(choice_B3, device)[:, :, None].unbind(1)
    row_BH = torch.arange(height, device=device) + down
    col_BW = torch.arange(width, device=device)
    col_BW = torch.where(flip.bool(), width - 1 - col_BW, col_BW) + right
    inside_BHW = _inside(row_BH, height)[:, :, None] & _inside(col_BW, width)[:, None, :]
    row_BH, col_BW = row_BH.clamp_(0, height - 1), col_BW.clamp_(0, width - 1)
    source_B1P = (row_BH[:, :, None] * width + col_BW[:, None, :]).view(num_images, 1, height * width)
    out_BCP = x_BCHW.flatten(2).gather(2, source_B1P.expand(-1, num_channels, -1))
    return out_BCP.view(x_BCHW.shape).mul_(inside_BHW[:, None])


def _inside(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)
