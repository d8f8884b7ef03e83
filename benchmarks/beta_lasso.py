"""Time of the beta-LASSO update: by a masked index, by the plain reference, and in one compiled pass.

    python benchmarks/beta_lasso.py [--sizes 1e6,10e6,25e6] [--rounds 15] [--threads 1] [--device cpu] [--json FILE]
        [--peer-dir DIR]

All ways take turns in one process, together with a copy of as many weights, which shows how fast memory is. Compare the
least times; the others show how busy the machine was. After the last round all ways must have the same weights, bit for
bit, and the same counts, or the benchmark fails. The floor is 12 bytes a weight at the speed of the copy. An update can
be faster than that: a copy also reads the memory that it overwrites, which an update in place has read already. There
are three tables:

- the update alone. `masked index` adds, takes signs, scales, adds, compares twice, combines and fills. It counts
  nothing, while `one pass` also counts the weights that became zero, that became non-zero, and that are not zero;
- the weight gradient of a square layer of as many weights, batch 512, with the update, and that matrix product alone;
- a whole S-FC step, and its forward and backward pass alone. `in backward` computes gradients a block of rows at a time
  and updates weights with each block before the next. Its products may round differently, so its weights may differ
  from the others by as much as the threshold.

`peer` is the optimizer in src/optim.py of the checkout. It takes the sign after the gradient step, which is another
update, so it is timed but not compared.
"""

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from measure import (
    Ceilings,
    Target,
    Timing,
    add_json_option,
    add_peer_option,
    interleave,
    peer_module,
    shown_ceilings,
    write_json,
)
from torch import Tensor, nn

from lcstool.models import ModelSpec, build_model
from lcstool.models.layers.parameters import weight_layers
from lcstool.models.sizing import sized_by_fc_params
from lcstool.optim import BetaLasso
from lcstool.optim.compiled import compiled_step, same_bits
from lcstool.optim.step import counting_step, step_tensor
from lcstool.optim.tiles import Tiles

LR, LAMBDA, BETA = 0.1, 7e-4, 3.0
FLOOR_BYTES = 12  # read a weight and its gradient, write the weight
# By counting what each operation reads and writes, float32; the gradient's own write is the backward pass's.
UPDATE_BYTES = {"masked index": 66, "peer": 66, "eager": 56, "eager, counting": 72, "one pass": 12}
Step = Callable[[Tensor, Tensor, float, float, float], Any]


def masked_index(theta: Tensor, gradient: Tensor, lr: float, lambda_: float, beta: float) -> None:
    """The same arithmetic as a script writes it: two passes of sums, a sign, two comparisons and a fill by index."""
    direction = torch.sign(theta).mul_(lambda_).add_(gradient)
    theta.sub_(direction.mul_(lr))
    theta[(theta < beta * lambda_) & (theta > -beta * lambda_)] = 0


def steps(device: torch.device) -> dict[str, Step]:
    begin = time.perf_counter()
    one_pass, why = compiled_step(device.type)
    if one_pass is None:
        sys.exit(f"nothing to measure: {why}")
    print(f"compiled and checked in {time.perf_counter() - begin:.2f} s")
    return {
        "masked index": masked_index,
        "eager": step_tensor,
        "eager, counting": counting_step,
        "one pass": one_pass,
    }


def must_agree(what: str, tensors: dict[str, Tensor]) -> None:
    first = next(iter(tensors.values()))
    for way, tensor in tensors.items():
        if not same_bits(
            first.detach() + 0.0, tensor.detach() + 0.0
        ):  # -0 counts as 0: the masked way may leave it
            sys.exit(f"{what}, {way}: the weights differ by {(first - tensor).abs().max().item():g}")


def peer_step(checkout: Path, theta: Tensor, gradient: Tensor) -> Callable[[], None]:
    parameter = nn.Parameter(theta)
    parameter.grad = gradient
    optimizer = peer_module(checkout, "src/optim.py").BetaLASSO([parameter], beta=BETA, lr=LR, lambda_=LAMBDA)
    return torch.no_grad()(optimizer.step)  # type: ignore[no-any-return]


def time_update(
    size: int, ways: dict[str, Step], rounds: int, device: torch.device, peer: Path | None
) -> dict[str, Timing]:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(size, generator=generator).mul_(0.01).to(device)
    gradient = torch.randn(size, generator=generator).mul_(0.01).to(device)
    weights = {way: start.clone() for way in ways}
    other = torch.empty_like(start)
    runs: dict[str, Callable[[], Any]] = {
        way: functools.partial(step, weights[way], gradient, LR, LAMBDA, BETA) for way, step in ways.items()
    }
    if peer is not None:
        runs["peer"] = peer_step(peer, start.clone(), gradient)
    found = interleave(runs | {"copy": lambda: other.copy_(start)}, rounds, device)
    must_agree(f"update of {size}", weights)
    counts = [ways[way](weights[way], gradient, LR, LAMBDA, BETA) for way in ("eager, counting", "one pass")]
    if not counts[0].equal(counts[1]):
        sys.exit(f"update of {size}: counts {counts[0].tolist()} and {counts[1].tolist()}")
    return found


def time_gradient(
    size: int, batch: int, ways: dict[str, Step], rounds: int, device: torch.device, ceilings: Ceilings
) -> dict[str, Timing]:
    side = math.isqrt(size)
    generator = torch.Generator().manual_seed(0)
    inputs, errors = (torch.randn(batch, side, generator=generator).to(device) for _ in range(2))
    start = torch.randn(side, side, generator=generator).mul_(0.01).to(device)
    errors /= 100 * batch
    weights = {way: start.clone() for way in ways}
    weights["one pass, gradient reused"] = start.clone()
    buffer = torch.empty_like(start)

    def run(way: str) -> None:
        ways[way](weights[way], errors.T @ inputs, LR, LAMBDA, BETA)

    def reused() -> None:
        torch.mm(errors.T, inputs, out=buffer)
        ways["one pass"](weights["one pass, gradient reused"], buffer, LR, LAMBDA, BETA)

    runs: dict[str, Callable[[], Any]] = {way: functools.partial(run, way) for way in ways}
    runs |= {
        "one pass, gradient reused": reused,
        "product alone": lambda: errors.T @ inputs,
        "product alone, reused": lambda: torch.mm(errors.T, inputs, out=buffer),
    }
    found = interleave(runs | ceilings.ways, rounds, device)
    must_agree("weight gradient + update", weights)
    return found


class MaskedIndexOptimizer(torch.optim.Optimizer):
    """The masked-index step on weights, plain steps on the rest."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {"lambda_": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for theta in group["params"]:
                if group["lambda_"]:
                    masked_index(theta, theta.grad, LR, group["lambda_"], BETA)
                else:
                    theta.sub_(theta.grad * LR)


def time_network(
    size: int, batch: int, rounds: int, device: torch.device, ceilings: Ceilings
) -> tuple[dict[str, Timing], int, str]:
    spec = sized_by_fc_params(ModelSpec(arch="s-fc", image=(32, 32), channels=3, classes=10, alpha=32), size)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, 32, 32, generator=generator).to(device)
    labels = torch.randint(0, 10, (batch,), generator=generator).to(device)
    models, runs = {}, {}

    def prepared(way: str, step: bool = True) -> Callable[[], None]:
        model = build_model(spec, torch.Generator().manual_seed(0)).to(device).train()
        weights = [layer.weight for layer in weight_layers(model).values()]
        known = {id(weight) for weight in weights}
        groups = [
            {"params": weights, "lambda_": LAMBDA},
            {"params": [p for p in model.parameters() if id(p) not in known]},
        ]
        optimizer: torch.optim.Optimizer = (
            MaskedIndexOptimizer(groups)
            if way == "masked index"
            else BetaLasso(groups, lr=LR, beta=BETA, track_support=True, compiled=not way.startswith("eager"))
        )
        around: AbstractContextManager[object] = nullcontext()
        if "in backward" in way:
            optimizer.step_in_backward()  # type: ignore[attr-defined]
            around = Tiles(optimizer)  # type: ignore[arg-type]
        models[way] = model

        def run() -> None:
            optimizer.zero_grad()
            with around:
                logits = model(images)
            nn.functional.cross_entropy(logits, labels).backward()
            if step:
                optimizer.step()

        return run

    for way in ("masked index", "eager", "one pass", "one pass, in backward"):
        runs[way] = prepared(way)
    runs["forward + backward"] = prepared("forward + backward", step=False)
    found = interleave(runs | ceilings.ways, rounds, device)
    del models["forward + backward"]
    names = dict(models["eager"].named_parameters())
    in_backward = models.pop("one pass, in backward")
    for name in names:  # products in blocks may round otherwise, and then a weight at the threshold may go
        difference = (
            (in_backward.get_parameter(name) - models["eager"].get_parameter(name)).abs().max().item()
        )
        if not difference <= 1.01 * BETA * LAMBDA:
            sys.exit(f"S-FC, {name}, in backward: the weights differ by {difference:g}")
        must_agree(f"S-FC, {name}", {way: model.get_parameter(name) for way, model in models.items()})
    return found, sum(p.numel() for p in names.values()), f"alpha {spec.alpha}"


def show(
    title: str, found: dict[str, Timing], against: str, ceiling: str, num_weights: int | None = None
) -> None:
    print(f"\n{title}\n")
    extra = " B/weight | of the floor |" if num_weights else ""
    what = "floor" if num_weights else ceiling
    rule = "---|---|" if num_weights else ""
    print(f"| way | wall ms, min / median / max | CPU ms | against {against} | times {what} |{extra}")
    print(f"|---|---|---|---|---|{rule}")
    scale = FLOOR_BYTES / 8 if num_weights else 1.0  # a copy moves 8 bytes a weight
    for way, timing in found.items():
        floor = found[ceiling].min_s * scale
        row = f"| {way} | {timing.cells()} | {found[against].min_s / timing.min_s:.2f}x | {timing.min_s / floor:.2f} |"
        if num_weights:
            row += (
                f" {UPDATE_BYTES.get(way, 8)} | {'-' if way == 'copy' else f'{floor / timing.min_s:.0%}'} |"
            )
        print(row)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1e6,10e6,25e6", help="weights, of the update alone")
    parser.add_argument("--layer", type=float, default=10e6, help="weights of the layer and of the S-FC")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    add_peer_option(parser, "gojkoc54/convolutions_from_scratch")
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    gpu = device.type == "cuda"
    print(f"{device.type}, {options.threads} threads, torch {torch.__version__}, {options.rounds} rounds")
    ways, ceilings = steps(device), Ceilings(device)
    document: dict[str, Any] = {"threads": options.threads, "device": device.type, "rounds": options.rounds}
    document["differing_bits"] = 0  # else there is no document
    targets: list[Target] = []
    for size in (int(float(text)) for text in options.sizes.split(",")):
        found = time_update(size, ways, options.rounds, device, options.peer_dir)
        bandwidth = 8e-9 * size / found["copy"].min_s
        show(f"update of {size:,} weights; copy {bandwidth:.1f} GB/s, the floor is {FLOOR_BYTES} B/weight of it",
             found, "masked index", "copy", size)  # fmt: skip
        document[f"update, {size}"] = {"copy_gb_per_s": bandwidth, "bytes": UPDATE_BYTES, "ways": found}
        if size >= 10**7:
            least, floor = found["one pass"].min_s, found["copy"].min_s * (FLOOR_BYTES / 8)
            gain, times = found["masked index"].min_s / least, least / floor
            quantity = f"beta-LASSO update, {size / 1e6:g} M weights"
            targets.append(
                Target(quantity=quantity, against="masked index", accept=4 if gpu else 10, ratio=gain)
            )
            against = f"{FLOOR_BYTES} B a weight at the speed of a copy"
            targets.append(
                Target(
                    quantity=quantity, against=against, accept=1.3 if gpu else 2, ratio=times, at_most=True
                )
            )

    found = time_gradient(int(options.layer), options.batch, ways, options.rounds, device, ceilings)
    limits, found = ceilings.of(found), ceilings.without(found)
    layer = f"{options.layer:,.0f} weights, batch {options.batch}"
    show(
        f"weight gradient + update, {layer}; {shown_ceilings(limits)}", found, "masked index", "product alone"
    )
    document["weight gradient + update"] = {"ways": found, "ceilings": limits}
    ours = found["one pass, gradient reused"].min_s
    quantity = f"weight gradient + update, {layer}"
    alone, masked = found["product alone, reused"].min_s, found["masked index"].min_s
    accept = 2.5 if gpu else 1.7
    why = (
        f"the product alone leaves {masked / alone:.2f}x, since it takes {alone / masked:.0%} of the baseline's "
        f"time, at {limits['gemm_gflop_per_s']:.0f} GFLOP/s; ours adds {ours / alone - 1:.0%} to it"
    )
    targets.append(
        Target(
            quantity=quantity,
            against="mm, then the masked index",
            accept=accept,
            ratio=masked / ours,
            why=why,
        )
    )
    targets.append(
        Target(quantity=quantity, against="the product alone", accept=1.15, ratio=ours / alone, at_most=True)
    )

    found, num_weights, what = time_network(
        int(options.layer), options.batch, max(3, options.rounds // 3), device, ceilings
    )
    limits, found = ceilings.of(found), ceilings.without(found)
    quantity = f"S-FC step, {what}, {num_weights:,} weights, batch {options.batch}"
    show(f"{quantity}; {shown_ceilings(limits)}", found, "masked index", "forward + backward")
    document["S-FC step"] = {"ways": found, "ceilings": limits}
    ours = min(found[way].min_s for way in ("one pass", "one pass, in backward"))
    alone, masked = found["forward + backward"].min_s, found["masked index"].min_s
    why = f"forward and backward alone leave {masked / alone:.2f}x"
    targets.append(
        Target(quantity=quantity, against="the masked index", accept=1.15, ratio=masked / ours, why=why)
    )
    targets.append(
        Target(
            quantity=quantity,
            against="forward + backward alone",
            accept=1.1,
            ratio=ours / alone,
            at_most=True,
        )
    )
    write_json(options.json, document, targets, device)


if __name__ == "__main__":
    main()
