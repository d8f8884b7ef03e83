"""Time of a training step of an S-FC by beta-LASSO, through the loop of `lcstool train`, loader included.

    python benchmarks/train_step.py [--alpha 10] [--memory-alpha 40] [--batch 512] [--steps 4] [--rounds 5]
        [--augment crop-flip] [--precision fp32] [--device cpu] [--threads 1] [--inductor] [--json FILE]

On CUDA the defaults are alpha 150 (256 M weights), bf16 and 40 steps a round. Each way runs an epoch of that many
steps. All ways take turns in one process, together with two limits: the matrix products of one step alone, with its
shapes and precision; and forward and backward pass without an update. On a CPU all ways must agree to the last bit,
except for `in backward`, whose products in blocks may round differently.

- `plain`: one step after another under autocast, as with `--graph never`;
- `shadows`: the update also writes bfloat16 copies of the weights, with which the network computes (bf16 on a GPU);
- `graph`: the same, recorded in a CUDA graph and replayed;
- `in backward`: weights updated as their gradients appear, large layers a block of rows at a time
  (`--step-in-backward`);
- `batch at hand`: the best of these, with the same batch in every step and no loading;
- `inductor`: plain steps of the network compiled by torch.compile (it rounds differently, so it is not compared).

Peak memory is that of a process that makes a few steps. On a CPU it is the resident memory above that after a run of
alpha 1, on a GPU the most that tensors took. `lcstool train` also keeps a copy of its last good weights, which is not
counted here.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
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

from lcstool.models.layers.parameters import weight_layers
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.extras import shadows as weight_copies
from lcstool.stages.train.loop import Loop
from lcstool.stages.train.setup import prepare

GOAL_S = 2.5e-3  # a step of 256 M weights, batch 512, on an H200
GOAL_WEIGHTS, GOAL_BATCH = 2.5e8, 512
LOADER_SHARE = 0.1
EPOCHS = 1000  # none of them the last: the learning rate stays near its start
MEMORY_STEPS = 6  # enough for a graph to be recorded and replayed


class Way:
    """A run whose epochs are timed."""

    def __init__(self, config: TrainConfig, shadows: bool, batch_at_hand: bool = False) -> None:
        devices = weight_copies.SHADOWED_DEVICES
        weight_copies.SHADOWED_DEVICES = devices if shadows else ()
        self.loop = Loop(prepare(config))
        weight_copies.SHADOWED_DEVICES = devices
        self.loop.checks_each_step = False
        if batch_at_hand:
            self.loop.feed.start(0)
            batch = self.loop.feed.batch(0)
            self.loop.feed.start = lambda epoch: None  # type: ignore[method-assign]
            self.loop.feed.batch = lambda step: batch  # type: ignore[method-assign]

    def epoch(self) -> None:
        self.loop.run_epoch(lambda _: None)
        self.loop.position.next_epoch()

    def gradients(self) -> None:
        """The same steps without an update, on a batch at hand."""
        self.loop.feed.start(0)
        batch = self.loop.feed.batch(0)
        for _ in range(self.loop.steps_per_epoch):
            self.loop.step.backward(batch.images, batch.labels)

    def loader(self) -> None:
        self.loop.feed.start(0)
        for index in range(self.loop.steps_per_epoch):
            self.loop.feed.batch(index)


def configs(options: argparse.Namespace, data: Path) -> dict[str, tuple[TrainConfig, bool]]:
    """The configuration of each way, and whether it keeps shadows."""
    plain = TrainConfig(
        arch="s-fc", alpha=options.alpha, dataset=f"npz:{data}", batch_size=options.batch, epochs=EPOCHS,
        augment=options.augment, precision=options.precision, device=options.device, optim="beta-lasso",
        graph="never",
    )  # fmt: skip
    found = {"plain": (plain, False), "in backward": (replace(plain, step_in_backward=True), False)}
    if plain.device != "cpu":
        graph = replace(plain, graph="always")
        shadowed = {"shadows": (plain, True)} if plain.precision == "bf16" else {}
        found |= shadowed | {"graph": (graph, True)}
        found["graph, in backward"] = (replace(graph, step_in_backward=True), True)
    return found


def products(loop: Loop, dtype: torch.dtype) -> tuple[Callable[[], None], int]:
    """All matrix products of a step: outputs, weight gradients, and but for the first layer input gradients."""
    device, runs, flop = loop.setup.device, [], 0
    for index, layer in enumerate(weight_layers(loop.setup.model).values()):
        units, inputs = layer.weight.shape
        x, d, w = (
            torch.randn(shape, device=device).to(dtype)
            for shape in ((loop.batch_size, inputs), (loop.batch_size, units), (units, inputs))
        )
        pairs = [(x, w.T), (d.T, x)] + ([(d, w)] if index else [])
        for a, b in pairs:
            runs.append((a, b, torch.empty(a.shape[0], b.shape[1], device=device, dtype=dtype)))
            flop += 2 * a.shape[0] * a.shape[1] * b.shape[1]

    def run() -> None:
        for _ in range(loop.steps_per_epoch):
            for a, b, out in runs:
                torch.mm(a, b, out=out)

    return run, flop


def make_data(folder: Path, images: int) -> Path:
    """Noise in ten classes at 32x32; what it shows costs no time."""
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", images), ("test", 64)):
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 10
    np.savez(folder / "noise.npz", **arrays)
    return folder / "noise.npz"


def peak(way: str, options: argparse.Namespace) -> dict[str, float]:
    """Bytes and seconds a step of one way, in a process of its own."""
    command = [sys.executable, __file__, "--peak-of", way]
    command += ["--alpha", str(options.memory_alpha)]
    for name in ("batch", "augment", "precision", "device", "threads"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"peak memory of {way}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def resident(kind: str) -> int:
    """Bytes of this process, now (VmRSS) or at most so far (VmHWM; getrusage would show the parent's)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def print_peak(way: str, options: argparse.Namespace, data: Path) -> None:
    config, shadows = configs(options, data)[way]
    Way(replace(config, alpha=1), shadows).epoch()  # loads whatever libraries a run loads
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    before = resident("VmRSS")
    run = Way(config, shadows)
    seconds = interleave({way: run.epoch}, 1, run.loop.setup.device)[way].min_s / run.loop.steps_per_epoch
    on_gpu = run.loop.setup.device.type == "cuda"
    weights = sum(p.nbytes for p in run.loop.setup.model.parameters())
    most = torch.cuda.max_memory_allocated() if on_gpu else resident("VmHWM") - before
    print(json.dumps({"peak_bytes": most, "weight_bytes": weights, "step_s": seconds}))


def per_step(timing: Timing, steps: int) -> Timing:
    return Timing(**{name: seconds / steps for name, seconds in vars(timing).items()})


def check_same(ways: dict[str, Way], to_the_bit: bool) -> None:
    first = next(iter(ways.values())).loop.setup.model.state_dict()
    for name, way in ways.items():
        tolerance = 0.0 if to_the_bit and "in backward" not in name else 1e-2
        for key, tensor in way.loop.setup.model.state_dict().items():
            must_agree(f"{name}, {key}", tensor, first[key], tolerance)


def targets(
    found: dict[str, Timing], options: argparse.Namespace, weights: int, flop_s: float
) -> list[Target]:
    loader, at_hand = found["loader alone"].min_s, found["batch at hand"].min_s
    alone = found["forward + backward"].min_s
    best = min(
        found[way].min_s for way in found if way in ("plain", "in backward", "shadows") or "graph" in way
    )
    quantity = (
        f"S-FC training step, {weights / 1e6:.0f} M weights, batch {options.batch}, {options.precision}"
    )
    wanted = [
        Target(
            quantity=quantity,
            against="forward + backward alone",
            accept=1.1,
            ratio=at_hand / alone,
            at_most=True,
        )
    ]
    if options.device != "cpu":
        wanted.append(
            Target(
                quantity=f"loader, {options.augment}",
                against="the step",
                accept=LOADER_SHARE,
                ratio=loader / at_hand,
                at_most=True,
            )
        )
        if weights >= GOAL_WEIGHTS and options.batch == GOAL_BATCH:
            wanted.append(
                Target(
                    quantity=quantity,
                    against=f"{1e3 * GOAL_S:g} ms",
                    accept=1,
                    ratio=best / GOAL_S,
                    at_most=True,
                )
            )
    print(
        f"\n{1e3 * best:.2f} ms a step, {flop_s / best / 1e12:.3g} TFLOP/s; without the loader {1e3 * at_hand:.2f} ms"
    )
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--alpha", type=int, help="base channels [10; 150 on CUDA]")
    parser.add_argument(
        "--memory-alpha", type=int, help="that whose memory is told [4 times alpha; alpha on CUDA]"
    )
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, help="a round [4; 40 on CUDA]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--augment", default="crop-flip")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="[fp32; bf16 on CUDA]")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--inductor", action="store_true", help="time torch.compile too")
    parser.add_argument("--peak-of", metavar="WAY", help=argparse.SUPPRESS)
    add_json_option(parser)
    options = parser.parse_args()
    on_gpu = options.device != "cpu"
    options.alpha = options.alpha or (150 if on_gpu else 10)
    options.memory_alpha = options.memory_alpha or options.alpha * (1 if on_gpu else 4)
    options.steps = options.steps or (40 if on_gpu else 4)
    options.precision = options.precision or ("bf16" if on_gpu else "fp32")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        steps = MEMORY_STEPS if options.peak_of else options.steps
        data = make_data(Path(folder), steps * options.batch)
        if options.peak_of:
            print_peak(options.peak_of, options, data)
        else:
            report(options, data)


def report(options: argparse.Namespace, data: Path) -> None:
    settings = configs(options, data)
    ways = {name: Way(*setting) for name, setting in settings.items()}
    same = dict(ways)
    last = list(settings)[-1] if options.device != "cpu" else "plain"
    ways["batch at hand"] = Way(*settings[last], batch_at_hand=True)
    if options.inductor:
        ways["inductor"] = Way(*settings["plain"])
        ways["inductor"].loop.step.network = torch.compile(ways["inductor"].loop.setup.model)
    other = Way(*settings.get("shadows", settings["plain"]))  # never updated
    loop = other.loop
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    run_products, flop = products(loop, dtype)
    ceilings = Ceilings(loop.setup.device, dtype)
    runs = {name: way.epoch for name, way in ways.items()}
    runs |= {
        "forward + backward": other.gradients,
        "loader alone": other.loader,
        "products alone": run_products,
    }
    device = loop.setup.device
    timings = interleave(runs | ceilings.ways, options.rounds, device)
    limits = ceilings.of(timings)
    found = {name: per_step(timing, options.steps) for name, timing in ceilings.without(timings).items()}
    check_same(same, device.type == "cpu")
    weights = sum(layer.weight.numel() for layer in weight_layers(loop.setup.model).values())
    print(
        f"{device.type}, {options.threads} threads, torch {torch.__version__}, {options.rounds} rounds of "
        f"{options.steps} steps; {shown_ceilings(limits)}"
    )
    for warning in {warning for way in ways.values() for warning in way.loop.warnings}:
        print(f"note: {warning}")
    print(f"\nS-FC, alpha {options.alpha}, {weights:,} weights, batch {options.batch}, {options.precision}, "
          f"{options.augment}: {flop / 1e9:.1f} GFLOP a step\n")  # fmt: skip
    alone, floor = found["forward + backward"].min_s, found["products alone"].min_s
    print("| way | wall ms a step, min / median / max | CPU ms | of forward + backward | of the products |")
    print("|---|---|---|---|---|")
    for name, timing in found.items():
        print(f"| {name} | {timing.cells()} | {timing.min_s / alone:.2f} | {timing.min_s / floor:.2f} |")
    wanted = targets(found, options, weights, flop)
    del ways, same, other, loop, runs, run_products
    memory = {way: peak(way, options) for way in settings}
    print(f"\nA process, alpha {options.memory_alpha}\n")
    print("| way | peak memory, MB | copies of the weights | ms a step |\n|---|---|---|---|")
    for name, numbers in memory.items():
        most = numbers["peak_bytes"]
        copies = most / numbers["weight_bytes"]
        print(f"| {name} | {most / 1e6:.0f} | {copies:.2f} | {1e3 * numbers['step_s']:.2f} |")
    document: dict[str, Any] = {"ways": found, "ceilings": limits, "memory": memory, "flop": flop}
    document |= {
        name: getattr(options, name)
        for name in ("alpha", "memory_alpha", "batch", "precision", "augment", "steps")
    }
    write_json(options.json, document | {"weights": weights}, wanted, device)


if __name__ == "__main__":
    main()
