"""Time and memory of whole commands for 10^6 to 10^8 weights, and how fast they grow.

    python benchmarks/cost_curves.py [--weights 1e6,3e6,1e7,3e7,1e8] [--stages train,embed,prune-stats,bound,count]
        [--rounds 3] [--json FILE]

Each command runs in a process of its own. Its cost is what it takes more than the same command on a network of at most
ten thousand weights or so, the least of the rounds. The slope is fitted to the logarithms of cost and size, from the
second size on; a slope of 1 means that the cost is proportional to the number of weights.

- train: S-FC on built-in images, five beta-LASSO steps of 512 images, and one evaluation of the test set;
- embed: VanillaCNN at 32x32; the size is the number of weights after embedding, all of which are written;
- prune-stats: S-FC at 32x32, 2 % of the first layer non-zero, locality of all layers on a sample of units;
- bound: S-FC at 16x16, 1 % of all layers non-zero, every code written and read back; with a third of the weights, since
  for files above 200 MiB lengths are only computed by formula;
- count: `bound` by formula alone, on a file that does not describe its network.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measure import add_json_option, peak_and_seconds, write_json

from lcstool.checkpoint import Header, StreamedTensor, write_checkpoint
from lcstool.models import ModelSpec, build_model
from lcstool.models.build import empty_model
from lcstool.models.sizing import sized_by_fc_params
from lcstool.models.wiring.trace import trace

LONG_S = 10.0  # runs that take longer are not repeated
TINY = 0  # stands for the smallest network there is


def fully_connected(side: int, num_weights: int) -> ModelSpec:
    spec = ModelSpec(arch="s-fc", image=(side, side), channels=3, classes=10, alpha=1)
    return spec if num_weights == TINY else sized_by_fc_params(spec, num_weights)


def sparse_network(
    path: Path, num_weights: int, densities: tuple[float, float], is_named: bool = True, side: int = 32
) -> None:
    """An S-FC of about so many weights, a share of the first layer's and of the others' non-zero.

    A file that `is_named` says what network it is.
    """
    spec = fully_connected(4 if num_weights == TINY else side, num_weights)
    skeleton = empty_model(spec)

    def blocks(shape: tuple[int, ...], density: float) -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        for start in range(0, shape[0], 256):
            block = torch.randn(min(256, shape[0] - start), *shape[1:], generator=generator)
            block[torch.rand(block.shape, generator=generator) >= density] = 0
            yield block

    tensors = {}
    for name, tensor in skeleton.state_dict().items():
        shape = tuple(tensor.shape)
        if len(shape) == 2:
            density = densities[0 if name.startswith("layer1") else 1]
            tensors[name] = StreamedTensor(tensor.dtype, shape, partial(blocks, shape, density))
        else:
            tensors[name] = torch.ones(shape, dtype=tensor.dtype)
    normalise = {"mean": [0.5] * 3, "std": [0.25] * 3, "permute_pixels": None}
    header = Header(kind="model")
    if is_named:
        header = Header(
            kind="model",
            model=spec.to_json(),
            input=normalise,
            layers=trace(skeleton, spec.in_shape).layers_json(),
        )
    write_checkpoint(path, header, tensors)


def train(folder: Path, num_weights: int) -> tuple[int, list[str]]:
    flags = ["--train-size", "2560", "--epochs", "1", "--augment", "none", "-q"]
    spec = fully_connected(16, num_weights)
    weights = sum(p.numel() for p in empty_model(spec).parameters())
    out = str(folder / "net.safetensors")
    return weights, ["train", "--arch", "s-fc", "--alpha", str(spec.alpha), *flags, "-o", out]


def embed(folder: Path, num_weights: int) -> tuple[int, list[str]]:
    side = 8 if num_weights == TINY else 32

    def geometry(alpha: int) -> tuple[ModelSpec, int]:
        spec = ModelSpec(arch="vanilla-cnn", image=(side, side), channels=3, classes=10, alpha=alpha)
        layers = trace(empty_model(spec), spec.in_shape).layers
        return spec, sum(layer.num_weights("fc") for layer in layers.values())

    spec, weights = min(
        (geometry(alpha) for alpha in range(1, 129)), key=lambda pair: abs(pair[1] - num_weights)
    )
    source = folder / "cnn.safetensors"
    write_checkpoint(source, Header(kind="model", model=spec.to_json()), build_model(spec).state_dict())
    return weights, ["embed", str(source), "-o", str(folder / "efcn.safetensors")]


def prune_stats(folder: Path, num_weights: int) -> tuple[int, list[str]]:
    path = folder / "sparse.safetensors"
    sparse_network(path, num_weights, (0.02, 1.0))
    return path.stat().st_size // 4, ["prune-stats", str(path), "--json"]


def bound(is_named: bool, folder: Path, num_weights: int) -> tuple[int, list[str]]:
    path = folder / "sparse.safetensors"
    sparse_network(path, num_weights, (0.01, 0.01), is_named, 16)
    flags = ["--samples", "50000", "--train-error", "0.3", "--json"]
    return path.stat().st_size // 4, ["bound", str(path), *flags]


STAGES: dict[str, Callable[[Path, int], tuple[int, list[str]]]] = {
    "train": train,
    "embed": embed,
    "prune-stats": prune_stats,
    "bound": lambda folder, num_weights: bound(True, folder, num_weights // 3),
    "count": partial(bound, False),
}


def slope(points: list[tuple[int, float]]) -> float:
    """Of the logarithms, by least squares; NaN where a cost is not above that of the tiny network."""
    if len(points) < 2 or min(cost for _, cost in points) <= 0:
        return math.nan
    return float(np.polyfit(*np.log(points).T, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default="1e6,3e6,1e7,3e7,1e8")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--rounds", type=int, default=3)
    add_json_option(parser)
    options = parser.parse_args()
    sizes, curves = [int(float(text)) for text in options.weights.split(",")], {}
    print("| command | weights | seconds above start-up | memory above start-up, GB | bytes a weight |")
    print("|---|---|---|---|---|")
    for stage in options.stages.split(","):
        rows = []
        for size in (TINY, *sizes):
            with tempfile.TemporaryDirectory() as folder:
                weights, command = STAGES[stage](Path(folder), size)
                runs = [peak_and_seconds(*command)]
                while len(runs) < options.rounds and runs[-1][1] < LONG_S:
                    runs.append(peak_and_seconds(*command))
                rows.append((weights, *map(min, zip(*runs, strict=True))))
        _, least_bytes, least_seconds = rows[0]
        points = [
            (weights, peak - least_bytes, seconds - least_seconds) for weights, peak, seconds in rows[1:]
        ]
        for weights, memory, seconds in points:
            print(f"| {stage} | {weights:,} | {seconds:.2f} | {memory / 1e9:.3f} | {memory / weights:.1f} |")
        curves[stage] = {
            "start_up_s": least_seconds,
            "start_up_bytes": least_bytes,
            "weights": [weights for weights, _, _ in points],
            "seconds": [seconds for _, _, seconds in points],
            "bytes": [memory for _, memory, _ in points],
            "slope_of_seconds": slope([(weights, seconds) for weights, _, seconds in points[1:]]),
            "slope_of_bytes": slope([(weights, memory) for weights, memory, _ in points[1:]]),
        }
    print("\n| command | start-up | slope of the seconds | slope of the memory |\n|---|---|---|---|")
    for stage, curve in curves.items():
        slopes = " | ".join(
            "-" if math.isnan(curve[name]) else f"{curve[name]:.2f}"
            for name in ("slope_of_seconds", "slope_of_bytes")
        )
        print(f"| {stage} | {curve['start_up_s']:.1f} s, {curve['start_up_bytes'] / 1e9:.2f} GB | {slopes} |")
    finite = {
        stage: {name: None if value != value else value for name, value in curve.items()}
        for stage, curve in curves.items()
    }
    write_json(options.json, {"curves": finite})


if __name__ == "__main__":
    main()
