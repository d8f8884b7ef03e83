"""Time of a locally-connected layer, forward and backward, compared with unfolding, multiplying and summing.

    python benchmarks/local_layer.py [--batch 64] [--image 32] [--rounds 5] [--device cpu] [--json FILE]

The baseline unfolds the image, multiplies every patch by the filters of its position and sums over channels and taps,
as the published layers do. It needs memory for all output channels times all patches. Ours writes the patches into an
array once and makes one matrix product for each position. Outputs and the gradients of input, weights and biases must
agree to 1e-5 of their largest entry. The limit is a product of large matrices with as many multiply-adds, once for the
forward and twice for the backward pass.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from measure import (
    Ceilings,
    Target,
    Timing,
    add_json_option,
    interleave,
    must_agree,
    shown_ceilings,
    write_json,
)
from torch import Tensor
from torch.nn import functional as F

from lcstool.models.layers.local import LocallyConnected2d

# Shape suffixes: B batch, C input channels, O output channels, P Q output height and width, K taps of a kernel.

#: Input channels, output channels, kernel, stride, padding.
LAYERS = {
    "S-LOCAL, layer 1 (alpha 16)": (3, 16, 9, 2, 4),
    "16 to 16 channels, 3x3": (16, 16, 3, 1, 1),
    "4 to 4 channels, 3x3": (4, 4, 3, 1, 1),
    "1 to 1 channel, 3x3": (1, 1, 3, 1, 1),
}
PARTS = ("output", "input", "weight", "bias")


def unfold_multiply_sum(x_BCHW: Tensor, weight_OCPQK: Tensor, bias_OPQ: Tensor, geometry: Any) -> Tensor:
    (kernel_h, kernel_w), (stride_h, stride_w) = geometry.kernel_size, geometry.stride
    top, left = geometry.padding
    padded = F.pad(x_BCHW, (left, left, top, top))
    patches_BCPQK = padded.unfold(2, kernel_h, stride_h).unfold(3, kernel_w, stride_w).flatten(4)
    return (patches_BCPQK.unsqueeze(1) * weight_OCPQK).sum((2, 5)) + bias_OPQ


def both_ways(
    sizes: tuple[int, int, int, int, int], batch: int, image: int, device: torch.device
) -> tuple[LocallyConnected2d, dict[str, Callable[[], tuple[Tensor, ...]]]]:
    """The layer, and what gives its output and gradients, weights in the layer's own order."""
    channels, out_channels, kernel, stride, padding = sizes
    generator = torch.Generator().manual_seed(0)
    layer = LocallyConnected2d(channels, out_channels, kernel, image, stride, padding)
    layer.reset_parameters(generator)
    layer.to(device)
    x_BCHW = torch.randn(batch, channels, image, image, generator=generator).to(device).requires_grad_()
    error_BOPQ = torch.randn(batch, *layer.geometry.out_shape, generator=generator).to(device)
    # The baseline's weights lie as it multiplies them.
    weight_OCPQK = layer.weight.detach().permute(2, 3, 0, 1, 4, 5).flatten(4).contiguous().requires_grad_()

    def ours() -> tuple[Tensor, ...]:
        y_BOPQ = layer(x_BCHW)
        return (y_BOPQ, *torch.autograd.grad(y_BOPQ, (x_BCHW, layer.weight, layer.bias), error_BOPQ))

    def plainly() -> tuple[Tensor, ...]:
        y_BOPQ = unfold_multiply_sum(x_BCHW, weight_OCPQK, layer.bias, layer.geometry)
        found = torch.autograd.grad(y_BOPQ, (x_BCHW, weight_OCPQK, layer.bias), error_BOPQ)
        return (y_BOPQ, found[0], found[1].permute(2, 3, 0, 1, 4).view_as(layer.weight), found[2])

    return layer, {"unfold, multiply, sum": plainly, "ours": ours}


def show(name: str, found: dict[str, Timing], row: dict[str, Any], limits: dict[str, float]) -> None:
    plain = found["unfold, multiply, sum"].min_s
    for way, timing in found.items():
        speed = 1e-9 * row["flop"] / timing.min_s
        print(f"| {name} | {way} | {timing.cells()} | {plain / timing.min_s:.2f}x "
              f"| {1e-6 * row['intermediate_bytes'][way]:.1f} | {speed:.2f} "
              f"| {speed / limits['gemm_gflop_per_s']:.1%} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    device, targets = torch.device(options.device), []
    ceilings = Ceilings(device)
    document: dict[str, Any] = {"device": device.type, "threads": options.threads, "batch": options.batch}
    print(
        f"batch {options.batch}, {options.image}x{options.image}, {device.type}, {options.threads} threads\n"
    )
    print("| layer | way | wall ms, least / median / greatest | CPU ms | against the plain way | MB between "
          "| GFLOP/s | of a product |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name, sizes in LAYERS.items():
        layer, ways = both_ways(sizes, options.batch, options.image, device)
        theirs, ours = (run() for run in ways.values())
        differences = {}
        for part, mine, other in zip(PARTS, ours, theirs, strict=True):
            scale = other.detach().abs().max().item()
            differences[part] = must_agree(f"{name}, {part}", mine.detach(), other.detach(), 1e-5 * scale)
        del theirs, ours
        found = interleave(ways | ceilings.ways, options.rounds, device)
        limits, found = ceilings.of(found), ceilings.without(found)
        geometry, plain = layer.geometry, found["unfold, multiply, sum"].min_s
        out_channels, height, width = geometry.out_shape
        patches = options.batch * height * width * geometry.patch_size
        row = {
            "flop": 3 * 2 * patches * out_channels,
            "intermediate_bytes": {
                "unfold, multiply, sum": 4 * patches * out_channels,
                "ours": 4 * patches,
            },
            "differences": differences,
            "ceilings": limits,
            "ways": found,
        }
        show(name, found, row, limits)
        document[name] = row
        accept = 10.0 if device.type == "cuda" else 5.0
        quantity = f"local layer, forward and backward, {name}, batch {options.batch}"
        targets.append(
            Target(
                quantity=quantity,
                against="unfold, multiply, sum",
                accept=0.9 if geometry.in_shape[0] == 1 else accept,
                ratio=plain / found["ours"].min_s,
            )
        )
    worst = max(max(document[name]["differences"].values()) for name in LAYERS)
    print(f"\n{shown_ceilings(limits)}; outputs and gradients differ by at most {worst:.1e}")
    write_json(options.json, document, targets, device)


if __name__ == "__main__":
    main()
