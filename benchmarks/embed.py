"""Time and memory of embedding VanillaCNN and AlexNet, compared with a plain triple loop over the same layers.

    python benchmarks/embed.py [--image 32] [--rounds 5] [--device cpu] [--json FILE] [--peer-dir DIR]

Ours and the loop take turns in one process and must agree in every entry. The loop goes over output channels and
positions and copies a filter to each, as the published script does. `ours, one buffer` makes the same matrix one
channel at a time in a reused block of memory, as `lcstool embed` does while it writes. The limit is to fill as many
entries with zeros. `peer` is cnn2fc in mappings.py of the checkout. It embeds padded inputs and copies the matrix into
a layer, so it is timed but not compared. Peak memory is that of whole `lcstool embed` processes, dense and csr, minus
that of a process that embeds a tiny network; its unit is the size of the dense file.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import (
    Target,
    Timing,
    add_json_option,
    add_peer_option,
    interleave,
    must_agree,
    peak_and_seconds,
    peer_module,
    write_json,
)
from torch import Tensor, nn

from lcstool.checkpoint import Header, write_checkpoint
from lcstool.models import ModelSpec, build_model
from lcstool.models.build import empty_model
from lcstool.models.embedding.phi import dense_matrix, filters_of
from lcstool.models.embedding.support import convolution_support
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.wiring.trace import trace


def triple_loop(geometry: ConvGeometry, weight: Tensor) -> Tensor:
    """The matrix by loops over output channels, rows and columns, each copying the filter to where it lies."""
    channels, height, width = geometry.in_shape
    _, out_h, out_w = geometry.out_shape
    matrix = torch.zeros(geometry.out_channels, out_h, out_w, channels, height, width, device=weight.device)
    for p in range(out_h):
        rows, i = _overlap(p * geometry.stride[0] - geometry.padding[0], geometry.kernel_size[0], height)
        for q in range(out_w):
            columns, j = _overlap(
                q * geometry.stride[1] - geometry.padding[1], geometry.kernel_size[1], width
            )
            for o in range(geometry.out_channels):
                matrix[o, p, q][:, rows, columns].copy_(weight[o][:, i, j])
    return matrix.flatten(3).flatten(0, 2)


def _overlap(start: int, size: int, side: int) -> tuple[slice, slice]:
    """Where a kernel that begins at `start` meets an image of this side: in the image, and in the kernel."""
    first, last = max(start, 0), min(start + size, side)
    return slice(first, last), slice(first - start, last - start)


def whole(geometry: ConvGeometry, filters: Tensor) -> Tensor:
    """Our matrix in memory, all of it."""
    return dense_matrix(convolution_support(geometry), filters).whole()


def one_buffer(geometry: ConvGeometry, filters: Tensor) -> None:
    """Our matrix as it is made while it is written: every block once, none kept."""
    for _ in dense_matrix(convolution_support(geometry), filters).blocks():
        pass


def peer_network(checkout: Path, geometry: ConvGeometry, weight: Tensor) -> Callable[[], Any]:
    """The published script's embedding of one convolution, its padding made part of the input."""
    network, top, left = nn.Module(), *geometry.padding
    in_channels, height, width = geometry.in_shape
    conv = nn.Conv2d(in_channels, geometry.out_channels, geometry.kernel_size, geometry.stride, bias=False)
    conv.weight.data.copy_(weight)
    network.layers = nn.Sequential(conv)
    network.input_size = (in_channels, height + 2 * top, width + 2 * left)  # type: ignore[assignment]
    network.sizes = [geometry.out_shape]  # type: ignore[assignment]
    embed = peer_module(checkout, "mappings.py").cnn2fc
    return lambda: embed(network)


def time_layers(
    arch: str, image: int, rounds: int, device: torch.device, peer: Path | None
) -> tuple[int, dict[str, Timing]]:
    """The layers' weights, and each way over all layers; ends the benchmark where two ways disagree."""
    spec = ModelSpec(arch=arch, image=(image, image), channels=3, classes=10, alpha=64)
    model, found = build_model(spec).to(device), trace(empty_model(spec), spec.in_shape)
    layers = [
        (geometry, filters_of(model.get_submodule(name)), model.get_submodule(name).weight.detach())
        for name, geometry in found.layers.items()
    ]
    for geometry, filters, weight in layers:
        must_agree(f"{arch} {geometry}", whole(geometry, filters), triple_loop(geometry, weight), 0.0)
    ways: dict[str, Callable[[], Any]] = {
        "triple loop": lambda: [triple_loop(geometry, weight) for geometry, _, weight in layers],
        "ours": lambda: [whole(geometry, filters) for geometry, filters, _ in layers],
        "ours, one buffer": lambda: [one_buffer(geometry, filters) for geometry, filters, _ in layers],
        "zeros": lambda: [
            torch.zeros(geometry.num_weights("fc"), device=device) for geometry, _, _ in layers
        ],
    }
    if peer is not None:
        runs = [peer_network(peer, geometry, weight) for geometry, _, weight in layers]
        ways["peer"] = lambda: [run() for run in runs]
    weights = sum(geometry.num_weights("fc") for geometry, _, _ in layers)
    return weights, interleave(ways, rounds, device)


def write_source(arch: str, image: int, folder: Path, alpha: int = 64) -> Path:
    spec = ModelSpec(arch=arch, image=(image, image), channels=3, classes=10, alpha=alpha)
    source = folder / f"{arch}.{image}.safetensors"
    write_checkpoint(source, Header(kind="model", model=spec.to_json()), build_model(spec).state_dict())
    return source


def measure_command(arch: str, image: int, folder: Path, baseline: int) -> dict[str, float]:
    """Seconds, peak memory above the baseline and size of the file of whole commands."""
    source = write_source(arch, image, folder)
    row: dict[str, float] = {}
    for storage in ("dense", "csr"):
        out = folder / "out.safetensors"
        peak, row[f"{storage} seconds"] = peak_and_seconds(
            "embed", str(source), "--storage", storage, "-o", str(out)
        )
        row[f"{storage} peak bytes"] = peak - baseline
        row[f"{storage} file bytes"] = out.stat().st_size
        out.unlink()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    add_peer_option(parser, "sdascoli/anarchitectural-search")
    add_json_option(parser)
    options = parser.parse_args()
    device, results, targets = torch.device(options.device), {}, []
    with tempfile.TemporaryDirectory() as folder:
        tiny = write_source("vanilla-cnn", 8, Path(folder), alpha=1)
        baseline, _ = peak_and_seconds("embed", str(tiny), "-o", str(Path(folder) / "tiny.out"))
        print(f"{options.image}x{options.image}, {device.type}, {torch.get_num_threads()} threads\n")
        print(
            "| network | way | wall ms, least / median / greatest | CPU ms | against the loop | GB/s written |"
        )
        print("|---|---|---|---|---|---|")
        for arch in ("vanilla-cnn", "alexnet"):
            weights, found = time_layers(arch, options.image, options.rounds, device, options.peer_dir)
            loop = found["triple loop"].min_s
            for way, timing in found.items():
                rate = 4e-9 * weights / timing.min_s
                print(f"| {arch}, {weights / 1e6:.1f} M | {way} | {timing.cells()} | {loop / timing.min_s:.2f}x "
                      f"| {rate:.2f} |")  # fmt: skip
            quantity = f"eFCN build, {arch} at {options.image}x{options.image}, {weights / 1e6:.1f} M weights"
            accept = 10 if device.type == "cuda" else 2.5
            zeros = found["zeros"].min_s
            why = f"a fill of new memory with zeros takes {zeros / loop:.0%} of the loop's time"
            targets.append(
                Target(
                    quantity=quantity,
                    against="triple loop",
                    accept=accept,
                    ratio=loop / found["ours"].min_s,
                    why=why,
                )
            )
            targets.append(
                Target(
                    quantity=f"{quantity}, while writing",
                    against="triple loop",
                    accept=accept,
                    ratio=loop / found["ours, one buffer"].min_s,
                )
            )
            results[arch] = {"weights": weights, "ways": found}
            results[arch] |= measure_command(arch, options.image, Path(folder), baseline)
    print(
        "\n| command | seconds | peak memory, copies of the dense file | GB of the file |\n|---|---|---|---|"
    )
    for arch, row in results.items():
        for storage in ("dense", "csr"):
            copies = row[f"{storage} peak bytes"] / row["dense file bytes"]
            print(f"| embed {arch} --storage {storage} | {row[f'{storage} seconds']:.1f} | {copies:.2f} "
                  f"| {row[f'{storage} file bytes'] / 1e9:.3f} |")  # fmt: skip
    write_json(options.json, results, targets, device)


if __name__ == "__main__":
    main()
