"""Cut images into the patches that a kernel sees, and add patches back up to images: each is the other's gradient."""

from typing import Any

import torch
from torch import Tensor

from lcstool.models.layers.geometry import ConvGeometry

# Shape suffixes: B batch, C input channels, H W padded input, P Q output height and width, I J kernel height and
# width, K = C / groups * I * J inputs of a unit, G groups, N = P * Q * G.


class Patches(torch.autograd.Function):
    """`Patches.apply(x_CHWB, geometry)`: the patch at each position, (N, K, B).

    The images come with the batch last, so that one strided copy moves B neighbouring values at a time.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x_CHWB: Tensor, geometry: ConvGeometry) -> Tensor:
        (kernel_h, kernel_w), (stride_h, stride_w) = geometry.kernel_size, geometry.stride
        dilation_h, dilation_w = geometry.dilation
        span_h, span_w = dilation_h * (kernel_h - 1) + 1, dilation_w * (kernel_w - 1) + 1
        patches_CPQBIJ = x_CHWB.unfold(1, span_h, stride_h).unfold(2, span_w, stride_w)
        patches_GCPQBIJ = patches_CPQBIJ[..., ::dilation_h, ::dilation_w].unflatten(0, (geometry.groups, -1))
        patches_PQGCIJB = patches_GCPQBIJ.permute(2, 3, 0, 1, 5, 6, 4)
        patches_NKB: Tensor = patches_PQGCIJB.reshape(-1, geometry.patch_size, x_CHWB.shape[-1])
        return patches_NKB

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x_CHWB, ctx.geometry = inputs
        ctx.size = x_CHWB.shape[1:3]

    @staticmethod
    def backward(ctx: Any, patches_NKB: Tensor) -> tuple[Tensor, None]:
        return PatchSums.apply(patches_NKB, ctx.geometry, *ctx.size), None


class PatchSums(torch.autograd.Function):
    """`PatchSums.apply(patches_NKB, geometry, H, W)`: images (C, H, W, B), each pixel the sum of its copies in patches.

    It goes by the places in the kernel, which takes a third of the time of unfold's own backward pass.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(patches_NKB: Tensor, geometry: ConvGeometry, height: int, width: int) -> Tensor:
        (kernel_h, kernel_w), (stride_h, stride_w) = geometry.kernel_size, geometry.stride
        dilation_h, dilation_w = geometry.dilation
        _, out_h, out_w = geometry.out_shape
        channels = geometry.in_shape[0]
        patches_PQCIJB = patches_NKB.reshape(out_h, out_w, channels, kernel_h, kernel_w, -1)
        patches_CPQIJB = patches_PQCIJB.permute(2, 0, 1, 3, 4, 5)
        x_CHWB = patches_NKB.new_zeros(channels, height, width, patches_NKB.shape[-1])
        for i in range(kernel_h):
            rows = slice(i * dilation_h, i * dilation_h + stride_h * (out_h - 1) + 1, stride_h)
            for j in range(kernel_w):
                columns = slice(j * dilation_w, j * dilation_w + stride_w * (out_w - 1) + 1, stride_w)
                x_CHWB[:, rows, columns] += patches_CPQIJB[:, :, :, i, j]
        return x_CHWB

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.geometry = inputs[1]

    @staticmethod
    def backward(ctx: Any, x_CHWB: Tensor) -> tuple[Tensor, None, None, None]:
        return Patches.apply(x_CHWB, ctx.geometry), None, None, None
