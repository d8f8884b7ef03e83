"""Time and memory of the embedding of VanillaCNN and AlexNet, beside a plain triple loop over the same layers.

    python benchmarks/embed.py [--image 32] [--rounds 5] [--json]

Ours and the loop are interleaved in one process and must agree entry for entry. The loop goes over output channels,
input channels and the kernel's taps and writes each tap's diagonal at once, as the published script does; `ours, one
buffer` makes the same matrix a channel at a time into a reused block, as `lcstool embed` does while it writes. Peak
memory is that of whole `lcstool embed` processes, dense and csr, less that of one that embeds a tiny network, in
copies of the dense file.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import Header, write_checkpoint
from lcstool.models import ModelSpec, build_model
from lcstool.models.build import empty_model
from lcstool.models.geometry import ConvGeometry
from lcstool.models.phi import dense_matrix, filters_of
from lcstool.models.support import convolution_support
from lcstool.models.trace import trace


def triple_loop(geometry: ConvGeometry, weight: Tensor) -> Tensor:
    """The matrix by loops over taps, output channels and input channels; each fills its positions by index."""
    channels, height, width = geometry.in_shape
    _, out_h, out_w = geometry.out_shape
    matrix = torch.zeros(geometry.out_channels, out_h, out_w, channels, height, width)
    rows, columns = torch.meshgrid(torch.arange(out_h), torch.arange(out_w), indexing="ij")
    for i in range(geometry.kernel_size[0]):
        for j in range(geometry.kernel_size[1]):
            y = rows * geometry.stride[0] - geometry.padding[0] + i
            x = columns * geometry.stride[1] - geometry.padding[1] + j
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            p, q, y, x = rows[inside], columns[inside], y[inside], x[inside]
            for o in range(geometry.out_channels):
                for c in range(channels):
                    matrix[o, p, q, c, y, x] = weight[o, c, i, j]
    return matrix.flatten(3).flatten(0, 2)


def whole(geometry: ConvGeometry, filters: Tensor) -> Tensor:
    """Our matrix in memory, all of it."""
    return torch.cat(
        [block.clone() for block in dense_matrix(convolution_support(geometry), filters).blocks()]
    )


def one_buffer(geometry: ConvGeometry, filters: Tensor) -> None:
    """Our matrix as it is made while it is written: every block once, none kept."""
    for _ in dense_matrix(convolution_support(geometry), filters).blocks():
        pass


def timed(run: Callable[..., Any], *arguments: object) -> tuple[Any, float]:
    begin = time.perf_counter()
    result = run(*arguments)
    return result, time.perf_counter() - begin


def peak_bytes(*arguments: str) -> int:
    """Peak resident memory of a process that runs one of our commands."""
    # Not getrusage: its maximum survives exec, so that a child would show its parent's.
    code = (
        "import sys\nfrom lcstool.cli import app\ntry:\n app(sys.argv[1:])\nexcept SystemExit:\n pass\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    return int(done.stderr.split()[-2]) * 1024


def time_layers(arch: str, image: int, rounds: int) -> dict[str, float]:
    """Median seconds of each way over all layers; ends the benchmark where two ways disagree."""
    spec = ModelSpec(arch, (image, image), 3, 10, 64)
    model, found = build_model(spec), trace(empty_model(spec), spec.in_shape)
    times: dict[str, list[float]] = {"triple loop": [], "ours": [], "ours, one buffer": []}
    for _ in range(rounds):
        spent = dict.fromkeys(times, 0.0)
        for name, geometry in found.layers.items():
            layer = model.get_submodule(name)
            filters, weight = filters_of(layer), layer.weight.detach()
            loop, loop_seconds = timed(triple_loop, geometry, weight)
            matrix, whole_seconds = timed(whole, geometry, filters)
            if not torch.equal(loop, matrix):
                sys.exit(f"{arch} {name}: the two matrices differ")
            del loop, matrix
            _, buffer_seconds = timed(one_buffer, geometry, filters)
            for way, value in zip(spent, (loop_seconds, whole_seconds, buffer_seconds), strict=True):
                spent[way] += value
        for way, value in spent.items():
            times[way].append(value)
    weights = sum(geometry.num_weights("fc") for geometry in found.layers.values())
    return {"weights": weights} | {way: statistics.median(values) for way, values in times.items()}


def write_source(arch: str, image: int, folder: Path, alpha: int = 64) -> Path:
    spec = ModelSpec(arch, (image, image), 3, 10, alpha)
    source = folder / f"{arch}.{image}.safetensors"
    write_checkpoint(source, Header("model", spec.to_json()), build_model(spec).state_dict())
    return source


def measure_command(arch: str, image: int, folder: Path, baseline: int) -> dict[str, float]:
    """Seconds, peak memory above the baseline and size of the file of whole commands."""
    source = write_source(arch, image, folder)
    row: dict[str, float] = {}
    for storage in ("dense", "csr"):
        out = folder / "out.safetensors"
        begin = time.perf_counter()
        peak = peak_bytes("embed", str(source), "--storage", storage, "-o", str(out))
        row[f"{storage} seconds"] = time.perf_counter() - begin
        row[f"{storage} peak bytes"] = peak - baseline
        row[f"{storage} file bytes"] = out.stat().st_size
        out.unlink()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="0 measures the commands only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        tiny = write_source("vanilla-cnn", 8, Path(folder), alpha=1)
        baseline = peak_bytes("embed", str(tiny), "-o", str(Path(folder) / "tiny.out"))
        for arch in ("vanilla-cnn", "alexnet"):
            results[arch] = time_layers(arch, options.image, options.rounds) if options.rounds else {}
            results[arch] |= measure_command(arch, options.image, Path(folder), baseline)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{options.image}x{options.image}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
          f"median of {options.rounds}")  # fmt: skip
    print(
        "| network | FC weights | triple loop | ours | ours, one buffer | embed dense | peak | embed csr | peak |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for arch, row in results.items():
        cells = ["-"] * 4
        if options.rounds:
            loop = row["triple loop"]
            cells = [f"{row['weights'] / 1e6:.1f} M", f"{loop:.2f} s"]
            cells += [f"{row[way]:.2f} s, {loop / row[way]:.1f}x" for way in ("ours", "ours, one buffer")]
        for storage in ("dense", "csr"):
            copies = row[f"{storage} peak bytes"] / row["dense file bytes"]
            cells += [f"{row[f'{storage} seconds']:.1f} s", f"{copies:.2f} copies"]
        print(f"| {arch} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
