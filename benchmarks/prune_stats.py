"""How fast `lcstool prune-stats` goes through a file, compared with only reading the same file.

    python benchmarks/prune_stats.py [--weights 256e6] [--rounds 3] [--threads 1] [--folder /tmp] [--json FILE]

The file is an S-FC with about that many weights, 2 % of its first layer non-zero, which the benchmark makes. Three ways
take turns in one process: reading the file into one reused buffer; a minimal script (load each tensor, count non-zeros
in total, by row and by column); and our single pass, which also finds duplicate rows and NaN, and sums squares. The
counts must agree. Then the whole command is timed, once with locality and once without, each in a process of its own.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from measure import Timing, add_json_option, interleave, write_json
from safetensors.torch import load_file

from lcstool.checkpoint import Header, StreamedTensor, open_checkpoint, write_checkpoint
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.sizing import sized_by_fc_params
from lcstool.models.wiring.trace import trace
from lcstool.weights import count_layer, find_weights


def make_file(path: Path, num_weights: int) -> int:
    """An S-FC of about this size; returns its bytes."""
    spec = sized_by_fc_params(
        ModelSpec(arch="s-fc", image=(32, 32), channels=3, classes=10, alpha=32), num_weights
    )
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
    write_checkpoint(
        path, Header(kind="model", model=spec.to_json(), input=normalise, layers=layers), tensors
    )
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


def command(path: Path, *flags: str) -> Timing:
    """The whole command, once."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "lcstool", "prune-stats", str(path), "--json", *flags],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - begin
    return Timing.of([seconds], [seconds])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=float, default=256e6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", default=None)
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "large.safetensors"
        size = make_file(path, int(options.weights))
        expected, counts = minimal_script(path), ours(path)
        if expected != counts:
            sys.exit(f"counts disagree: {expected}, {counts}")
        ways = {"plain read": plain_read, "minimal script": minimal_script, "our pass": ours}
        found = interleave({name: partial(run, path) for name, run in ways.items()}, options.rounds)
        found["command, --no-locality"] = command(path, "--no-locality")
        found["command"] = command(path)
    print(f"{size / 1e9:.2f} GB, {options.threads} threads, {options.rounds} rounds interleaved; commands once, "
          "wall time only\n")  # fmt: skip
    print(
        "| way | wall ms, least / median / greatest | CPU ms | GB/s | of plain reading |\n|---|---|---|---|---|"
    )
    for name, timing in found.items():
        share = found["plain read"].min_s / timing.min_s
        print(f"| {name} | {timing.cells()} | {size / timing.min_s / 1e9:.2f} | {share:.0%} |")
    write_json(options.json, {"bytes": size, "ways": found})


if __name__ == "__main__":
    main()
