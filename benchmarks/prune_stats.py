"""Rate at which `lcstool prune-stats` summarises a checkpoint, beside plain reading of the same file.

    python benchmarks/prune_stats.py [--weights 256e6] [--rounds 3] [--threads 1] [--folder /tmp] [--json]

The file is an S-FC of about so many weights, its first layer at 2 % density, made for the purpose. Interleaved in one
process: reading the file into one reused buffer; a minimal script's way (load each tensor, count non-zeros in all, by
row and by column); our one pass, which also finds duplicate rows, squares, and NaN. The counts must agree. Then the
whole command, once with locality and once without, each a process of its own.
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

import torch
from safetensors.torch import load_file

from lcstool.checkpoint import Header, StreamedTensor, open_checkpoint, write_checkpoint
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.sizing import sized_by_fc_params
from lcstool.models.trace import trace
from lcstool.weights import count_layer, find_weights


def make_file(path: Path, num_weights: int) -> int:
    """An S-FC of about this size; returns its bytes."""
    spec = sized_by_fc_params(ModelSpec("s-fc", (32, 32), 3, 10, 32), num_weights)
    skeleton = empty_model(spec)
    generator = torch.Generator().manual_seed(0)

    def blocks(shape: tuple[int, ...], density: float):  # type: ignore[no-untyped-def]
        for start in range(0, shape[0], 256):
            block = torch.randn(min(256, shape[0] - start), *shape[1:], generator=generator)
            if density < 1:
                block[torch.rand(block.shape, generator=generator) >= density] = 0
            yield block

    tensors = {}
    for name, tensor in skeleton.state_dict().items():
        shape = tuple(tensor.shape)
        if tensor.is_floating_point() and len(shape) == 2:
            density = 0.02 if name.startswith("layer1") else 1.0
            tensors[name] = StreamedTensor(
                tensor.dtype, shape, lambda shape=shape, density=density: blocks(shape, density)
            )
        else:
            tensors[name] = torch.ones(shape, dtype=tensor.dtype)
    layers = trace(skeleton, spec.in_shape).layers_json()
    normalise = {"mean": [0.5] * 3, "std": [0.25] * 3, "permute_pixels": None}
    write_checkpoint(path, Header("model", spec.to_json(), normalise, layers), tensors)
    return path.stat().st_size


def plain_read(path: Path) -> None:
    buffer = bytearray(1 << 22)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def minimal_script(path: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for name, tensor in load_file(path).items():
        if tensor.ndim == 2:
            present = tensor != 0
            rows, columns = present.sum(dim=1), present.sum(dim=0)
            found[name] = (int(present.sum()), int((rows == 0).sum()), int(columns.max()))
    return found


def ours(path: Path) -> dict[str, tuple[int, int, int]]:
    counts = [(weight.name, count_layer(weight)) for weight in find_weights(open_checkpoint(path))]
    return {name: (c.nonzeros, c.num_dead, int(c.connections.max())) for name, c in counts}


def command_seconds(path: Path, *flags: str) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "lcstool", "prune-stats", str(path), "--json", *flags],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=float, default=256e6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "large.safetensors"
        size = make_file(path, int(arguments.weights))
        seconds: dict[str, list[float]] = {"plain read": [], "minimal script": [], "our pass": []}
        runs: dict[str, Callable[[Path], object]] = dict(
            zip(seconds, (plain_read, minimal_script, ours), strict=True)
        )
        for _ in range(arguments.rounds):
            results = {}
            for name, run in runs.items():
                begin = time.perf_counter()
                results[name] = run(path)
                seconds[name].append(time.perf_counter() - begin)
            if results["minimal script"] != results["our pass"]:
                raise SystemExit(f"counts disagree: {results}")
        seconds["command, --no-locality"] = [command_seconds(path, "--no-locality")]
        seconds["command"] = [command_seconds(path)]
    table = {
        name: {
            "min_s": min(s),
            "median_s": statistics.median(s),
            "max_s": max(s),
            "gb_per_s": size / min(s) / 1e9,
        }
        for name, s in seconds.items()
    }
    if arguments.json:
        print(json.dumps({"bytes": size, "threads": arguments.threads, "rows": table}, indent=2))
        return
    print(f"{size / 1e9:.2f} GB, {arguments.threads} threads, {arguments.rounds} rounds interleaved")
    for name, row in table.items():
        print(
            f"{name:24s} min {row['min_s']:7.3f} s  median {row['median_s']:7.3f} s  max {row['max_s']:7.3f} s  "
            f"{row['gb_per_s']:6.2f} GB/s"
        )


if __name__ == "__main__":
    main()
