"""Time of one batch of the string method at 11 points, compared with a loop over networks and their parameters.

    python benchmarks/string_step.py [--points 11] [--batch 50] [--rounds 5] [--device cpu] [--json FILE]

For a batch, the loss and the gradients of every inner point are computed, then one explicit step of gradients and
springs is made. The loop works as the published script does: it takes one network after another, makes a backward pass
and a plain SGD step for each, and then pulls every parameter towards its two neighbours. `with gc and .item()` also
reads the loss and the energy of the springs back and collects garbage at every parameter, as the script does. That
takes a tenth of a second each time, so it is run for two MLPs only, at --gc-points of the inner points, and its time is
scaled to all inner points. This is fair, since it does the same for each. All ways use the neighbours as they were
before the step, so that they compute the same (in the script one neighbour has already moved). They must agree to 1e-10
after two steps in float64.
"""

import argparse
import copy
import gc
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
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.models import ModelSpec, build_model
from lcstool.models.layers.parameters import NORM_LAYERS
from lcstool.paths import BatchedNetwork, Points, StringOptions, linear_path, positions, string_step
from lcstool.paths.string import string_gradients

#: Architecture, alpha, side of the images, and whether the loop with gc runs too.
NETWORKS = (
    ("3-fc", 4, 32, True),
    ("s-fc", 2, 32, True),
    ("d-fc", 1, 16, False),
    ("vanilla-cnn", 16, 32, False),
    ("resnet18", 4, 16, False),
)
OPTIONS = StringOptions(lr=0.01, stiffness=1.0, spring="explicit")
WITH_GC, WITHOUT_GC, OURS = "loop with gc and .item()", "loop without gc and .item()", "ours"


class Loop:
    """The points, or the first few of `num_points`, as plain networks, trained one after another."""

    def __init__(self, model: nn.Module, points: Points, num_points: int, reads_back: bool = False) -> None:
        self.networks = [copy.deepcopy(model) for _ in range(points.num_points)]
        for index, network in enumerate(self.networks):
            points.load_into(network, index)
        for network in self.networks[1:-1]:
            for module in network.modules():
                if isinstance(module, NORM_LAYERS):
                    module.train()
        self.optimizers = [torch.optim.SGD(n.parameters(), lr=OPTIONS.lr) for n in self.networks]
        self.strength = OPTIONS.lr * OPTIONS.stiffness * (num_points - 1)
        self.reads_back = reads_back
        self.energy = 0.0

    def step(self, x_BCHW: Tensor, labels_B: Tensor) -> Tensor:
        """One batch; returns the inner points' losses."""
        losses = []
        before = list(self.networks[0].parameters())
        for index in range(1, len(self.networks) - 1):
            network, optimizer = self.networks[index], self.optimizers[index]
            old = [parameter.detach().clone() for parameter in network.parameters()]
            optimizer.zero_grad()
            loss = F.cross_entropy(network(x_BCHW), labels_B)
            if self.reads_back:
                self.energy += loss.item()
            losses.append(loss.detach())
            loss.backward()
            optimizer.step()
            after = list(self.networks[index + 1].parameters())
            for own in zip(network.parameters(), old, before, after, strict=True):
                self.pull(*own)
                if self.reads_back:
                    gc.collect()
            before = old
        return torch.stack(losses)

    @torch.no_grad()
    def pull(self, parameter: Tensor, old: Tensor, before: Tensor, after: Tensor) -> None:
        if self.reads_back:
            squares = (old - before).norm().pow(2) + (old - after).norm().pow(2)
            self.energy += 0.5 * OPTIONS.stiffness * squares.item()
        parameter.data += self.strength * (after.data + before.data - 2 * old)

    def tensors(self) -> dict[str, Tensor]:
        """The parameters of all points, stacked."""
        return Points.of(self.networks).parameters


class Together:
    """Ours."""

    def __init__(self, model: nn.Module, points: Points) -> None:
        self.network = BatchedNetwork(model, batch_statistics=True)
        self.points = Points(
            {name: tensor.clone() for name, tensor in points.parameters.items()}, points.buffers
        )
        self.inner = self.points.slice(1, points.num_points - 1)

    def step(self, x_BCHW: Tensor, labels_B: Tensor) -> Tensor:
        losses, gradients = string_gradients(self.network, self.inner, x_BCHW, labels_B, "cross-entropy")
        string_step(self.points, gradients, OPTIONS)
        return losses

    def tensors(self) -> dict[str, Tensor]:
        return self.points.parameters


def batch_of(size: int, image: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x_BCHW = torch.randn(size, 3, image, image, generator=generator).to(device)
    return x_BCHW, torch.randint(0, 10, (size,), generator=generator).to(device)


def in_float64(points: Points) -> Points:
    return Points(
        {name: tensor.double() for name, tensor in points.parameters.items()},
        {name: t.double() if t.is_floating_point() else t for name, t in points.buffers.items()},
    )


def check(what: str, model: nn.Module, points: Points, batch: tuple[Tensor, Tensor], with_gc: bool) -> float:
    """The greatest difference of a weight or a loss between the ways after two steps in float64."""
    model, points, num_points = copy.deepcopy(model).double(), in_float64(points), points.num_points
    x_BCHW, labels_B = batch[0].double(), batch[1]
    loop, ours = Loop(model, points, num_points), Together(model, points)
    worst = 0.0
    for step in range(2):
        losses = [way.step(x_BCHW, labels_B) for way in (ours, loop)]
        worst = max(worst, must_agree(f"{what}, losses", *losses, 1e-10))
        if step == 0 and with_gc:
            slow = Loop(model, points.slice(0, 3), num_points, reads_back=True)
            slow.step(x_BCHW, labels_B)
            for name, tensor in slow.tensors().items():  # the first inner point
                own = ours.tensors()[name][1]
                worst = max(worst, must_agree(f"{what}, {name}, {WITH_GC}", own, tensor[1], 1e-10))
    for name, expected in loop.tensors().items():
        worst = max(worst, must_agree(f"{what}, {name}", ours.tensors()[name], expected, 1e-10))
    return worst


def measure(
    model: nn.Module,
    points: Points,
    batch: tuple[Tensor, Tensor],
    gc_points: int,
    rounds: int,
    ceilings: Ceilings,
) -> tuple[dict[str, Timing], dict[str, float]]:
    """Each way's times, scaled to all points, and the machine's limits."""
    num_points = points.num_points
    steppers: dict[str, Loop | Together] = {
        WITHOUT_GC: Loop(model, points, num_points),
        OURS: Together(model, points),
    }
    if gc_points:
        some = points.slice(0, gc_points + 2)
        steppers = {WITH_GC: Loop(model, some, num_points, reads_back=True)} | steppers
    ways: dict[str, Callable[[], Any]] = {
        way: lambda stepper=stepper: stepper.step(*batch).sum().item() for way, stepper in steppers.items()
    }
    found = interleave(ways | ceilings.ways, rounds, batch[0].device)
    limits, found = ceilings.of(found), ceilings.without(found)
    if gc_points:
        factor = (num_points - 2) / gc_points
        found[WITH_GC] = Timing(**{name: factor * seconds for name, seconds in vars(found[WITH_GC]).items()})
    return found, limits


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=11)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--networks", default=",".join(arch for arch, *_ in NETWORKS))
    parser.add_argument(
        "--gc-points", type=int, default=1, help="points of the loop with gc; 0 leaves it out"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, targets = torch.device(options.device), []
    gpu, ceilings = device.type == "cuda", Ceilings(device)
    document: dict[str, Any] = {"points": options.points, "batch": options.batch, "device": device.type}
    document |= {"threads": options.threads, "gc_points": options.gc_points}
    print(
        f"one batch of {options.batch} at {options.points} points, {device.type}, {options.threads} threads\n"
    )
    print(
        "| network | way | wall ms, least / median / greatest | CPU ms | ours against it |\n|---|---|---|---|---|"
    )
    chosen, differences = options.networks.split(","), []
    for arch, alpha, image, with_gc in (row for row in NETWORKS if row[0] in chosen):
        spec, gc_points = (
            ModelSpec(arch=arch, image=(image, image), channels=3, classes=10, alpha=alpha),
            options.gc_points * with_gc,
        )
        models = [build_model(spec, torch.Generator().manual_seed(seed)).to(device).eval() for seed in (0, 1)]
        points = linear_path([model.state_dict() for model in models], positions(options.points))
        batch = batch_of(options.batch, image, device)
        differences.append(check(f"string of {arch}", models[0], points, batch, gc_points > 0))
        found, limits = measure(models[0], points, batch, gc_points, options.rounds, ceilings)
        num_weights = sum(parameter.numel() for parameter in models[0].parameters())
        what, ours = f"{arch} alpha {alpha}, {num_weights / 1e6:.2f} M weights", found[OURS].min_s
        for way, timing in found.items():
            part = f" ({gc_points} of {options.points - 2} points, scaled)" if way == WITH_GC else ""
            print(f"| {what} | {way}{part} | {timing.cells()} | {timing.min_s / ours:.2f}x |")
        document[arch] = {"alpha": alpha, "weights": num_weights, "difference": differences[-1],
                          "ceilings": limits, "ways": found}  # fmt: skip
        quantity = f"string, a batch at {options.points} points, {what}"
        if gc_points:
            targets.append(
                Target(quantity=quantity, against=WITH_GC, accept=20.0, ratio=found[WITH_GC].min_s / ours)
            )
        targets.append(
            Target(
                quantity=quantity,
                against=WITHOUT_GC,
                accept=2.0 if gpu else 0.75,
                ratio=found[WITHOUT_GC].min_s / ours,
            )
        )
    print(f"\n{shown_ceilings(limits)}; after two steps in float64 weights and losses differ by "
          f"{max(differences):.0e}")  # fmt: skip
    write_json(options.json, document, targets, device)


if __name__ == "__main__":
    main()
