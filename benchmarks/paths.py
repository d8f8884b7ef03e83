"""Time of a string epoch at 11 points and of the scores of an 11-point line, beside one network after another.

    python benchmarks/paths.py [--points 11] [--rounds 3] [--images 500] [--device cpu] [--json]

Ways are interleaved in one process and must agree: the strings' losses and weights to 1e-8 after two steps in float64
(in float32 rounding grows from step to step), the line's losses to 1e-4. The string's baseline trains plain modules
one after another, each with its own backward pass, then moves them a parameter at a time; nothing in it reads a
weight back or collects garbage. The line's baseline makes each network, loads it and evaluates it at the same batch
size; `ours` takes the points, made before, and `ours, from the ends` makes them too, but for the first layer, which
it runs on the ends only.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.data.augment import build_augmentation
from lcstool.data.dataset import Split
from lcstool.data.preprocess import Preprocess
from lcstool.evaluation import Score, evaluate
from lcstool.models import ModelSpec, build_model
from lcstool.paths import (
    BatchedNetwork,
    Blend,
    Points,
    StringOptions,
    linear_path,
    positions,
    score_points,
    train_string_epoch,
)
from lcstool.paths.one_by_one import train_string_epoch_plainly

STRINGS = (("3-fc", 4, 32), ("s-fc", 2, 32), ("d-fc", 1, 16), ("vanilla-cnn", 16, 32), ("resnet18", 4, 16))
LINES = (("3-fc", 4, 32), ("s-fc", 4, 32), ("vanilla-cnn", 16, 32))
CONSTANTS = Preprocess((0.5,) * 3, (0.25,) * 3)


def two_networks(arch: str, alpha: int, image: int, device: torch.device) -> list[nn.Module]:
    spec = ModelSpec(arch, (image, image), 3, 10, alpha)
    return [build_model(spec, torch.Generator().manual_seed(seed)).to(device).eval() for seed in (0, 1)]


def random_split(num_images: int, image: int, device: torch.device) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num_images, 3, image, image), dtype=torch.uint8, generator=generator)
    return Split(images, torch.randint(0, 10, (num_images,), generator=generator)).to(device)


def timed(run: Callable[..., Any], device: torch.device) -> tuple[Any, float]:
    if device.type == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    result = run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - begin


def must_agree(what: str, ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    difference = (ours.double().cpu() - theirs.double().cpu()).abs().max().item()
    if not difference < tolerance:
        sys.exit(f"{what}: the two ways differ by {difference}")


def medians(ways: dict[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each way; one round before the first is not counted."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, run in ways.items():
            times[way].append(timed(run, device)[1])
    return {way: statistics.median(values[1:]) for way, values in times.items()}


def time_string(arch: str, alpha: int, image: int, options: argparse.Namespace) -> dict[str, Any]:
    """An epoch of batches of 50 with crop and flip."""
    device = torch.device(options.device)
    models = two_networks(arch, alpha, image, device)
    start = linear_path([model.state_dict() for model in models], positions(options.points))
    split = random_split(options.images, image, device)
    string, augment = StringOptions(0.01, 1.0), build_augmentation("crop-flip")

    def run(
        epoch: Callable[..., Tensor], images: Split = split, dtype: torch.dtype = torch.float32
    ) -> dict[str, Tensor]:
        points = Points({name: t.to(dtype, copy=True) for name, t in start.parameters.items()}, start.buffers)
        prepare = CONSTANTS.on(device, (image, image), dtype)
        generator = torch.Generator().manual_seed(0)
        losses = epoch(
            models[0], points, images, prepare, augment, "cross-entropy", string, 50, generator=generator
        )
        return points.parameters | {"losses": losses}

    few = Split(split.images[:100], split.labels[:100])
    models[0].double()
    found = [run(epoch, few, torch.float64) for epoch in (train_string_epoch, train_string_epoch_plainly)]
    for name, tensor in found[0].items():
        must_agree(f"string of {arch}, {name}", tensor, found[1][name], 1e-8)
    models[0].float()
    del found
    weights = sum(tensor[0].numel() for tensor in start.parameters.values())
    ways = {
        "one after another": lambda: run(train_string_epoch_plainly),
        "ours": lambda: run(train_string_epoch),
    }
    return {"weights": weights} | medians(ways, options.rounds, device)


def time_line(
    arch: str, alpha: int, image: int, batch_size: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Scores of the line's points."""
    device = torch.device(options.device)
    models = two_networks(arch, alpha, image, device)
    states = [model.state_dict() for model in models]
    alphas, split = positions(options.points), random_split(options.images, image, device)
    prepare = CONSTANTS.on(device, (image, image))
    model, loss = models[0], "cross-entropy"
    host = build_model(ModelSpec(arch, (image, image), 3, 10, alpha)).to(device)
    network, points = BatchedNetwork(model), linear_path(states, alphas)

    def one_after_another() -> list[Score]:
        scores = []
        for a in alphas.tolist():
            mixed = {
                name: (1 - a) * t + a * states[1][name] if t.is_floating_point() else t
                for name, t in states[0].items()
            }
            host.load_state_dict(mixed)
            scores.append(evaluate(host, split, prepare, loss, batch_size))
        return scores

    def from_ends() -> tuple[Score, ...]:
        blend = Blend.linear(states, alphas)
        points = blend.points(without=network.first_names)
        return score_points(network, points, split, prepare, loss, batch_size, None, blend)

    ways: dict[str, Callable[[], Any]] = {
        "one after another": one_after_another,
        "ours": lambda: score_points(network, points, split, prepare, loss, batch_size),
        "ours, from the ends": from_ends,
    }
    expected = torch.tensor([score.loss for score in one_after_another()])
    for way, run in ways.items():
        must_agree(f"line of {arch}, {way}", torch.tensor([score.loss for score in run()]), expected, 1e-4)
    weights = sum(tensor[0].numel() for tensor in points.parameters.values())
    return {"weights": weights} | medians(ways, options.rounds, device)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=11)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {
        f"string epoch, {arch} alpha {alpha}, {image}x{image}, batch 50": time_string(
            arch, alpha, image, options
        )
        for arch, alpha, image in STRINGS
    }
    for batch_size in (50, 250):
        for arch, alpha, image in LINES:
            key = f"line, {arch} alpha {alpha}, {image}x{image}, batch {batch_size}"
            results[key] = time_line(arch, alpha, image, batch_size, options)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{options.points} points, {options.images} images, {options.device}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, median of {options.rounds}")  # fmt: skip
    print("| work | weights | one after another | ours | ours, from the ends |")
    print("|---|---|---|---|---|")
    for work, row in results.items():
        plain = row["one after another"]
        cells = [f"{row['weights'] / 1e6:.2f} M", f"{plain:.2f} s"]
        for way in ("ours", "ours, from the ends"):
            cells.append(f"{row[way]:.2f} s, {plain / row[way]:.1f}x" if way in row else "-")
        print(f"| {work} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
