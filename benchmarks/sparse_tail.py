"""Time of the last steps of a beta-LASSO run, in which most first-layer weights are zero: dense steps, and sparse ones.

    python benchmarks/sparse_tail.py [--snapshot FILE] [--dataset leaves] [--steps 40] [--threads 1] [--json FILE]

The steps are the last fifth of a run of S-FC (16x16, alpha 32) with a cosine schedule; by default of a short run made
here. If you give a snapshot of a longer run, its last fifth is shortened to this many steps over the same learning
rates. In every round each way makes one step from the same state with the same batch; then all go on from the state
after the dense step. Loading and augmentation are left out, which favours the sparse ways.

- `dense`: the network as it is, with the compiled update.
- `streamed`: a sparse product in the forward pass; the gradient of the first layer is computed in blocks of rows, and
  weights are updated with each block before the next.
- `screened`: a sparse product in the forward pass; gradients only of weights that are not zero, and of the zero weights
  that could reach the threshold. A gradient is at most the norm of its row times the norm of its column.
- `layer 1 for nothing`: the outputs of layer 1 are given, and their gradient is not used. No way can be faster.

A sparse way would be worth adding to the trainer if its whole step were twice as fast as the dense one. The benchmark
fails if, in double precision and with the learning rates at the start, middle and end of these steps, a sparse step
leaves other weights non-zero than the dense one, or weights that differ by more than 1e-10 of the largest. In float32 a
sum that is rounded differently may switch a ReLU, so there one non-zero weight in a thousand may differ.
"""

import argparse
import copy
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from measure import Ceilings, Target, Timing, add_json_option, interleave, shown_ceilings, write_json
from tail.steps import TAIL, WAYS, Dense, Screened, Streamed
from torch import nn

from lcstool.checkpoint import Checkpoint, open_checkpoint
from lcstool.data.dataset import Split
from lcstool.errors import InterruptedRunError
from lcstool.images import images_of, input_map
from lcstool.models import ModelSpec, load_model
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.outputs import TrainOutputs
from lcstool.stages.train.stage import train

WORTH = 2.0
TOLERANCE = {"float64, of the weights": 1e-10, "float32, of the set of non-zeros": 1e-3}
#: lambda times epochs and beta times lambda as in the default run of 36 epochs of 20,000 images, roughly.
SHORT = {"epochs": 10, "train_size": 8192, "lambda_conv": 4.5e-3, "lambda_fc": 1.2e-3, "beta": 0.39}


def made_here(dataset: str, folder: Path) -> Checkpoint:
    """The snapshot of a short run, which then ends."""
    epochs = SHORT["epochs"]
    at = round(epochs * (1 - TAIL))
    options: dict[str, Any] = SHORT | {"dataset": dataset, "image_size": "16", "snapshots": str(at)}
    config = TrainConfig(arch="s-fc", alpha=32, optim="beta-lasso", device="cpu", **options)
    outputs = TrainOutputs(
        out=str(folder / "net"), partial=folder / "partial", snapshot=str(folder / "epoch{epoch}")
    )
    written = folder / f"epoch{at:0{len(str(epochs))}d}"
    with suppress(InterruptedRunError):
        train(config, outputs, stop_requested=written.exists)
    return open_checkpoint(written)


def config_of(snapshot: Checkpoint) -> TrainConfig:
    """What the optimizer of its run was told."""
    header = snapshot.require_kind("model")
    options = header.history[-1]["config"]
    if options.get("optim") != "beta-lasso" or (header.model or {}).get("arch") != "s-fc":
        sys.exit(f"{snapshot.where} is no beta-LASSO run of s-fc")
    names = ("lr", "lambda_conv", "lambda_fc", "beta", "batch_size")
    return TrainConfig(optim="beta-lasso", **{name: options[name] for name in names})


def batches_of(snapshot: Checkpoint, dataset: str, config: TrainConfig, num_steps: int) -> list[Split]:
    """Prepared training images, other ones in each step as long as there are some."""
    header = snapshot.require_kind("model")
    spec = ModelSpec.from_json(header.model or {}, snapshot.where)
    train_split = images_of(dataset, None, spec, header, snapshot.where).dataset.train
    prepare = input_map(header.input, spec, snapshot.where, torch.device("cpu"), torch.float32)
    order = torch.randperm(len(train_split), generator=torch.Generator().manual_seed(0))
    batches = []
    for indices in order[: num_steps * config.batch_size].split(config.batch_size):
        if len(indices) == config.batch_size:
            batch = train_split.take(indices)
            batches.append(Split(prepare(batch.images), batch.labels))
    return batches


def check_steps(model: nn.Module, config: TrainConfig, batches: list[Split], num_steps: int) -> float:
    """Steps of the sparse ways in float64; the greatest difference of a weight, beside the largest."""
    wide, largest = copy.deepcopy(model).double(), 0.0
    batches = [Split(batch.images.double(), batch.labels) for batch in batches[:1]]
    for done in (0, num_steps // 2, num_steps - 1):
        ways = [kind(wide, config, batches, num_steps) for kind in (Dense, Streamed, Screened)]
        for way in ways:
            way.done = done
            way()
        expected = ways[0].weight()
        for way in ways[1:]:
            difference = float((expected - way.weight()).abs().amax() / expected.abs().amax())
            differing = int(((expected != 0) != (way.weight() != 0)).sum())
            if differing or not difference <= TOLERANCE["float64, of the weights"]:
                sys.exit(
                    f"{type(way).__name__}, step {done + 1}: {differing} non-zeros, the weights by {difference:g}"
                )
            largest = max(largest, difference)
    return largest


class Check:
    """After each round: compare all ways with the dense one, and let them go on from its state.

    Attributes:
        differing: Non-zeros that differ, over all steps, by way.
    """

    def __init__(self, ways: dict[str, Dense]) -> None:
        self.dense, self.others = ways["dense"], {way: o for way, o in ways.items() if way != "dense"}
        self.differing = {way: 0 for way, other in self.others.items() if isinstance(other, Streamed)}

    def __call__(self) -> None:
        expected = self.dense.weight() != 0
        at_most = TOLERANCE["float32, of the set of non-zeros"] * int(expected.sum())
        for way, other in self.others.items():
            if way in self.differing:
                differing = int((expected != (other.weight() != 0)).sum())
                self.differing[way] += differing
                if differing > at_most:
                    sys.exit(f"{way}, step {other.done}: {differing} non-zeros differ")
            other.adopt(self.dense)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--snapshot", type=Path, metavar="FILE", help="of a run of s-fc, after four fifths")
    parser.add_argument("--dataset", default="leaves", help="that it was trained on")
    parser.add_argument("--steps", type=int, default=40, help="steps of the tail")
    parser.add_argument("--threads", type=int, default=1)
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.snapshot is None:
            snapshot = made_here(options.dataset, Path(folder))
        else:
            snapshot = open_checkpoint(options.snapshot)
        config, model = config_of(snapshot), load_model(snapshot)
    batches = batches_of(snapshot, options.dataset, config, options.steps)

    difference = check_steps(model, config, batches, options.steps)
    ways = {way: kind(model, config, batches, options.steps) for way, kind in WAYS.items()}
    begin, check, ceilings = densities(model), Check(ways), Ceilings(torch.device("cpu"))
    found = interleave(ways | {"check": check} | ceilings.ways, options.steps - 1)
    limits, found = ceilings.of(found), ceilings.without(found)
    del found["check"]
    end, screened = densities(ways["dense"].model), ways["screened"]
    assert isinstance(screened, Screened)
    report(options, found, ways, begin, end, screened.shares, check.differing, limits)
    gains = {way: ways["dense"].cpu_s / other.cpu_s for way, other in ways.items()}
    best = max(("streamed", "screened"), key=gains.__getitem__)
    why = (
        f"layer 2 stays {end[1]:.0%} dense: with layer 1 for nothing the step gains "
        f"{gains['layer 1 for nothing']:.2f}x"
    )
    targets = [
        Target(
            quantity=f"S-FC step in the tail, CPU, layer 1 {begin[0]:.1%} dense, {best}",
            against="the dense step",
            accept=WORTH,
            ratio=gains[best],
            why=why,
        )
    ]
    write_json(
        options.json,
        {"threads": options.threads, "steps": options.steps, "batch_size": config.batch_size, "ways": found,
         "cpu_s": {way: other.cpu_s for way, other in ways.items()}, "gain": gains, "density_begin": begin,
         "density_end": end, "zero_gradients_frac": screened.shares, "weight_difference": difference,
         "differing_nonzeros": check.differing, "ceilings": limits},
        targets,
    )  # fmt: skip


def densities(model: nn.Module) -> list[float]:
    layers = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    return [int(torch.count_nonzero(weight)) / weight.numel() for weight in layers]


def report(
    options: argparse.Namespace,
    found: dict[str, Timing],
    ways: dict[str, Dense],
    begin: list[float],
    end: list[float],
    shares: list[float],
    differing: dict[str, int],
    limits: dict[str, float],
) -> None:
    print(
        f"{options.steps} steps, {options.threads} threads; densities {' '.join(f'{d:.2%}' for d in begin)} at the "
        f"start, {' '.join(f'{d:.2%}' for d in end)} at the end; {shown_ceilings(limits)}\n"
    )
    print("| way | wall ms a step, min / median / max | CPU ms | the tail, CPU s | gain | other non-zeros |")
    print("|---|---|---|---|---|---|")
    for way, timing in found.items():
        gain = ways["dense"].cpu_s / ways[way].cpu_s
        print(
            f"| {way} | {timing.cells()} | {ways[way].cpu_s:.2f} | {gain:.2f}x | {differing.get(way, '-')} |"
        )
    fifths = [shares[len(shares) * i // 5 : len(shares) * (i + 1) // 5] for i in range(5)]
    print("\nshare of the gradients of zeros that `screened` computes, by fifths of the tail: "
          + ", ".join(f"{sum(part) / max(1, len(part)):.1%}" for part in fifths))  # fmt: skip


if __name__ == "__main__":
    main()
