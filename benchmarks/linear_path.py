"""Time to compute loss and accuracy at 11 points of a line between two networks, compared with one network at a time.

    python benchmarks/linear_path.py [--points 11] [--images 2000] [--batch 200] [--rounds 3] [--device cpu]

The baseline makes one network after another (a copy of the first, into which the interpolated weights are loaded) and
evaluates it in batches of 50, as the published script does. Ours runs the first layer only at the two ends and
interpolates its outputs, since these are linear in its weights. The other layers run at one point after another on a
CPU, as in `lcstool interpolate`, and at all points at once on a GPU (`ours, all points at once` does this on any
device). Interpolating weights is part of every time. Losses must agree to 1e-4 of their value, and accuracies to a
thousandth or one image.

The limit of the gain follows from the multiply-adds: ours runs the first layer at 2 points instead of 11, the other
layers at 11. That is 4.8 times fewer for the S-FC, and 2.8 times fewer for the 3-FC with as many weights, of which the
second layer has 21 %. The rest of the gain comes from larger batches: products over 200 images run at nine tenths of
the machine's limit, products over 50 at three quarters. So the S-FC reaches 5 to 6x. The 3-FC cannot: it stops at 3 to
3.5x, with over four fifths of its time in products. The CNN gains next to nothing, since half of its time is max
pooling and its first layer has few of the weights.
"""

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
from measure import (
    Ceilings,
    Target,
    add_json_option,
    interleave,
    must_agree,
    shown_ceilings,
    write_json,
)
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lcstool.data.dataset import Split
from lcstool.data.preprocess import Preprocess
from lcstool.evaluation import Score, evaluate
from lcstool.models import ModelSpec, build_model
from lcstool.paths import BatchedNetwork, Blend, positions, score_points

#: Architecture, alpha, and what the line is to gain; None for a network that is no MLP.
LINES = (("s-fc", 4, 5.0), ("3-fc", 4, 5.0), ("vanilla-cnn", 16, None))
WHY = {
    "s-fc": "4.8 times fewer multiply-adds; four fifths of the time are products, at nine tenths of the limit",
    "3-fc": "2.8 times fewer multiply-adds, since layer 2 has 21 % of the weights and runs at every point; over four "
    "fifths of the time are products, at nine tenths of the limit",
}
BATCH = 50  # of the baseline
CONSTANTS = Preprocess((0.5,) * 3, (0.25,) * 3)


def random_split(num_images: int, image: int, device: torch.device) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num_images, 3, image, image), dtype=torch.uint8, generator=generator)
    return Split(images, torch.randint(0, 10, (num_images,), generator=generator)).to(device)


def ways_of(models: list[nn.Module], options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    device = torch.device(options.device)
    states = [model.state_dict() for model in models]
    alphas, split = positions(options.points), random_split(options.images, options.image, device)
    prepare = CONSTANTS.on(device, (options.image, options.image))
    loss = "cross-entropy"

    def one_after_another() -> list[Score]:
        scores = []
        for alpha in alphas.tolist():
            made = copy.deepcopy(models[0])
            made.load_state_dict({
                name: (1 - alpha) * tensor + alpha * states[1][name] if tensor.is_floating_point() else tensor
                for name, tensor in states[0].items()
            })  # fmt: skip
            scores.append(evaluate(made, split, prepare, loss, BATCH))
        return scores

    def from_the_ends(batched: bool) -> tuple[Score, ...]:
        network, blend = BatchedNetwork(models[0], batched=batched), Blend.linear(states, alphas)
        points = blend.points(without=network.first_names)
        return score_points(network, points, split, prepare, loss, options.batch, None, blend)

    ways: dict[str, Callable[[], Any]] = {
        "one after another": one_after_another,
        "ours": lambda: from_the_ends(device.type != "cpu"),
    }
    if device.type == "cpu":
        ways["ours, all points at once"] = lambda: from_the_ends(True)
    return ways


def check(
    what: str, ways: dict[str, Callable[[], Any]], num_images: int
) -> tuple[dict[str, float], dict[str, int]]:
    """The greatest difference in loss from the baseline's, and the multiply-adds of every way, twice."""
    found, flop = {}, {}
    for way, run in ways.items():
        with FlopCounterMode(display=False) as counter:
            found[way] = run()
        flop[way] = counter.get_total_flops()
    expected, *_ = found.values()
    losses = torch.tensor([score.loss for score in expected])
    accuracies = torch.tensor([score.accuracy for score in expected])
    differences = {}
    for way, scores in found.items():
        own = torch.tensor([score.loss for score in scores])
        differences[way] = must_agree(f"{what}, {way}, losses", own, losses, 1e-4 * losses.abs().max().item())
        own = torch.tensor([score.accuracy for score in scores])
        must_agree(f"{what}, {way}, accuracies", own, accuracies, max(1e-3, 1.001 / num_images))
    return differences, flop


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=11)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--image", type=int, default=32, help="their side")
    parser.add_argument("--batch", type=int, default=200, help="images that ours takes at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, targets = torch.device(options.device), []
    ceilings = Ceilings(device)
    document: dict[str, Any] = {"points": options.points, "images": options.images, "batch": options.batch}
    document |= {"device": device.type, "threads": options.threads}
    print(f"{options.points} points, {options.images} images of {options.image}x{options.image}, batches of {BATCH} "
          f"one after another and of {options.batch} in ours, {device.type}, {options.threads} threads\n")  # fmt: skip
    print("| network | way | wall ms, least / median / greatest | CPU ms | against one after another | GFLOP "
          "| GFLOP/s, of a product |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for arch, alpha, accept in LINES:
        spec = ModelSpec(arch=arch, image=(options.image, options.image), channels=3, classes=10, alpha=alpha)
        models = [build_model(spec, torch.Generator().manual_seed(seed)).to(device).eval() for seed in (0, 1)]
        num_weights = sum(parameter.numel() for parameter in models[0].parameters())
        ways = ways_of(models, options)
        differences, flop = check(f"line of {arch}", ways, options.images)
        found = interleave(ways | ceilings.ways, options.rounds, device)
        limits, found = ceilings.of(found), ceilings.without(found)
        plain = found["one after another"].min_s
        for way, timing in found.items():
            speed = 1e-9 * flop[way] / timing.min_s
            print(f"| {arch}, {num_weights / 1e6:.2f} M weights | {way} | {timing.cells()} "
                  f"| {plain / timing.min_s:.2f}x | {1e-9 * flop[way]:.1f} "
                  f"| {speed:.0f}, {speed / limits['gemm_gflop_per_s']:.0%} |")  # fmt: skip
        document[arch] = {"alpha": alpha, "weights": num_weights, "flop": flop, "differences": differences,
                          "ceilings": limits, "ways": found}  # fmt: skip
        if accept is not None:
            quantity = f"{options.points}-point line, {arch} alpha {alpha}, {num_weights / 1e6:.2f} M weights"
            gain = plain / found["ours"].min_s
            targets.append(
                Target(
                    quantity=quantity,
                    against=f"one network after another, batch {BATCH}",
                    accept=accept,
                    ratio=gain,
                    why=WHY[arch],
                )
            )
    worst = max(max(document[arch]["differences"].values()) for arch, _, _ in LINES)
    print(f"\n{shown_ceilings(limits)}; losses differ by at most {worst:.1e}")
    write_json(options.json, document, targets, device)


if __name__ == "__main__":
    main()
