"""Time of evaluating pruned dense layers, by dense and by sparse products, and which of them lcstool chooses.

    python benchmarks/sparse_evaluation.py [--batch 2048] [--rounds 5] [--threads 1] [--device cpu] [--network FILE]
        [--json FILE]

The first table is about single layers with randomly placed non-zero weights. `chosen` is the way that
`lcstool.models.narrowing.sparse` takes to evaluate 10,000 images; `loss` is its time divided by that of the faster way.
Weights must be compressed once before sparse products. The time of this is given in images: how many of them the dense
product computes in the same time.

The second table is about whole evaluations of 10,000 images of noise, including compression: S-FC (16x16, alpha 32)
with the densities that a beta-LASSO run leaves, S-FC with the same density in all layers, and a network of your own
(`--network`).

Outputs must agree to 1e-5 of the largest one, losses to 1e-6 and accuracies to one image in a thousand, or the
benchmark fails.
"""

import argparse
import sys
from pathlib import Path
from typing import Any
from unittest import mock

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

from lcstool.checkpoint import open_checkpoint
from lcstool.data.dataset import Split
from lcstool.evaluation import Score, evaluate
from lcstool.models import ModelSpec, build_model, load_model
from lcstool.models.narrowing import sparse

# Shape suffixes: B images, U units, D inputs of a unit.

SIZES = ((512, 512), (2048, 768), (768, 2048), (4096, 2048))
DENSITIES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
NETWORKS = {"as beta-LASSO leaves it": (0.02, 0.44, 0.83), "all layers alike": (0.05, 0.05, 0.05)}
NUM_IMAGES = 10_000


def thinned(weight: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """The weight with exactly so many non-zeros."""
    kept = torch.randperm(weight.numel(), generator=generator)[: int(density * weight.numel())]
    return torch.zeros_like(weight).view(-1).index_copy(0, kept, weight.flatten()[kept]).view_as(weight)


def time_layer(
    size: tuple[int, int], density: float, batch: int, rounds: int, device: torch.device, ceilings: Ceilings
) -> tuple[dict[str, Timing], str, dict[str, float]]:
    """The ways' times, the one that is chosen, and the machine's limits."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(size[1], size[0], bias=False)
    layer.weight = nn.Parameter(thinned(torch.randn(size, generator=generator), density, generator))
    layer.to(device)
    x_BD = torch.randn(batch, size[1], generator=generator).to(device)
    weight_UD = layer.weight.detach()
    csr_UD = sparse.compress(weight_UD)
    block = sparse.BLOCK if device.type == "cpu" else batch
    ways = {
        "dense": lambda: F.linear(x_BD, weight_UD),
        "sparse": lambda: sparse.linear(x_BD, csr_UD, block=block),
        "compress": lambda: (torch.count_nonzero(weight_UD), sparse.compress(weight_UD)),
    }
    dense_BU = ways["dense"]()
    tolerance = 1e-5 * dense_BU.abs().amax().item()
    must_agree(f"{size}, density {density:g}", ways["sparse"](), dense_BU, tolerance)
    found = interleave(ways | ceilings.ways, rounds, device)
    chosen = "sparse" if sparse.compressible(layer, NUM_IMAGES) else "dense"
    return ceilings.without(found), chosen, ceilings.of(found)


def time_network(
    model: nn.Module, image: tuple[int, ...], rounds: int, device: torch.device, what: str
) -> Any:
    """The times of dense and chosen evaluation, and the score, which names the layers that were sparse."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (NUM_IMAGES, *image), dtype=torch.uint8, generator=generator).to(device)
    model.to(device)

    def prepare(x: Tensor) -> Tensor:
        return (x.float() - 128) / 64

    with torch.no_grad():
        num_classes = model.eval()(prepare(images[:2])).shape[1]
    split = Split(images, torch.randint(0, num_classes, (NUM_IMAGES,), generator=generator).to(device))
    scores: dict[str, Score] = {}

    def chosen() -> None:
        scores["chosen"] = evaluate(model, split, prepare)

    def dense() -> None:
        with mock.patch.object(sparse, "MAX_DENSITY", {}):
            scores["dense"] = evaluate(model, split, prepare)

    found = interleave({"dense": dense, "chosen": chosen}, rounds, device)
    ours, theirs = scores["chosen"], scores["dense"]
    if abs(ours.loss - theirs.loss) > 1e-6 * theirs.loss or abs(ours.accuracy - theirs.accuracy) > 1e-3:
        sys.exit(f"{what}: the two evaluations give {ours} and {theirs}")
    return found, ours


def pruned_s_fc(densities: tuple[float, ...]) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = build_model(ModelSpec(arch="s-fc", image=(16, 16), channels=3, classes=10, alpha=32), generator)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    for layer, density in zip(layers, densities, strict=True):
        layer.weight = nn.Parameter(thinned(layer.weight.detach(), density, generator))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--network", type=Path, metavar="FILE", help="evaluate this one too")
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    targets: list[Target] = []
    layers = layer_table(options, device, targets)
    networks = network_table(options, device, targets)
    write_json(
        options.json,
        {"threads": options.threads, "batch_size": options.batch, "layers": layers, "networks": networks},
        targets,
        device,
    )


def layer_table(options: argparse.Namespace, device: torch.device, targets: list[Target]) -> list[Any]:
    ceilings, rows, worst = Ceilings(device), [], 1.0
    print(f"One layer, {options.batch} images, {options.threads} threads; ms, least / median / greatest\n")
    print(
        "| units x inputs | density | dense, wall | CPU | sparse, wall | CPU | gain | chosen | loss | compression |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for size in SIZES:
        for density in DENSITIES:
            found, chosen, limits = time_layer(size, density, options.batch, options.rounds, device, ceilings)
            dense, fast = found["dense"], found["sparse"]
            loss = found[chosen].min_s / min(dense.min_s, fast.min_s)
            images = found["compress"].min_s / dense.min_s * options.batch
            worst = max(worst, loss)
            print(f"| {size[0]}x{size[1]} | {density:g} | {dense.cells()} | {fast.cells()} "
                  f"| {dense.min_s / fast.min_s:.2f}x | {chosen} | {loss:.2f}x | {images:.0f} images |")  # fmt: skip
            rows.append(
                {"size": size, "density": density, "ways": found, "chosen": chosen, "ceilings": limits}
            )
    print(f"\n{shown_ceilings(limits)}")
    quantity = "evaluation of a pruned layer, the way that is chosen, worst of all"
    targets.append(
        Target(quantity=quantity, against="the faster way", accept=1.25, ratio=worst, at_most=True)
    )
    return rows


def network_table(options: argparse.Namespace, device: torch.device, targets: list[Target]) -> list[Any]:
    networks = {
        f"s-fc, {what}, densities {densities}": (pruned_s_fc(densities), (3, 16, 16))
        for what, densities in NETWORKS.items()
    }
    if options.network is not None:
        checkpoint = open_checkpoint(options.network)
        spec = ModelSpec.from_json(checkpoint.require_kind("model").model or {}, checkpoint.where)
        networks[options.network.name] = (load_model(checkpoint), spec.in_shape)
    rows = []
    print(f"\nWhole evaluations, {NUM_IMAGES:,} images\n")
    print("| network | dense, wall ms | CPU | chosen, wall ms | CPU | gain | sparse layers |")
    print("|---|---|---|---|---|---|---|")
    for what, (model, image) in networks.items():
        found, score = time_network(model, image, options.rounds, device, what)
        gain = found["dense"].min_s / found["chosen"].min_s
        names = ", ".join(score.sparse_layers) or "none"
        print(f"| {what} | {found['dense'].cells()} | {found['chosen'].cells()} | {gain:.2f}x | {names} |")
        rows.append({"network": what, "ways": found, "sparse_layers": score.sparse_layers})
        if device.type == "cpu" and what.startswith("s-fc, "):
            targets.append(
                Target(
                    quantity=f"evaluation of {what}",
                    against="dense",
                    accept=2.0 if "alike" in what else 1.3,
                    ratio=gain,
                )
            )
    return rows


if __name__ == "__main__":
    main()
