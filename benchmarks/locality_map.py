"""Time of the locality map, compared with a loop over all pairs of a unit's non-zero weights.

    python benchmarks/locality_map.py [--nonzeros 1e6] [--units 1024] [--image 32] [--rounds 3] [--json FILE]

For every displacement on the image, the map counts the pairs of inputs of a unit that are this far apart, separately
for pairs within a channel and across channels. Ours computes autocorrelations by FFT, and also what chance would give.
The loop counts one pair at a time; `numpy` computes the displacements of all pairs of a unit at once and counts them.
Both baselines run on a few units only, and their time is scaled by the number of pairs. This is fair, since they do the
same for each pair. On these units all counts must be equal; over all units ours must count as many pairs as there are.
"""

import argparse
import sys
from typing import Any

import numpy as np
import torch
from measure import Target, Timing, add_json_option, interleave, must_agree, write_json
from torch import Tensor

from lcstool.locality import displacement_map

# Shape suffixes: U units, C channels, H W input grid, Y X displacements (2 H - 1, 2 W - 1), D = C H W inputs.

CHANNELS = 3
KINDS = ("one channel", "different channels")


def random_supports(num_units: int, side: int, num_nonzeros: int) -> Tensor:
    """Weights (U, C, H, W) of which so many in all are not zero, at random places, as many a unit but for one."""
    generator = torch.Generator().manual_seed(0)
    counts_U = torch.full((num_units,), num_nonzeros // num_units)
    counts_U[: num_nonzeros % num_units] += 1
    rank_UD = torch.rand(num_units, CHANNELS * side**2, generator=generator).argsort(dim=1)
    kept_UD = torch.zeros_like(rank_UD, dtype=torch.float32).scatter_(
        1, rank_UD, (torch.arange(rank_UD.shape[1]) < counts_U[:, None]).float()
    )
    return kept_UD.view(num_units, CHANNELS, side, side)


def by_pairs(weight_UCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Counts of the pairs of one channel and of different ones, pair by pair."""
    _, _, height, width = weight_UCHW.shape
    same, different = ([[0] * (2 * width - 1) for _ in range(2 * height - 1)] for _ in range(2))
    for unit_CHW in weight_UCHW:
        places = unit_CHW.nonzero().tolist()
        for i, (c, y, x) in enumerate(places):
            for j, (d, v, u) in enumerate(places):
                if i != j:
                    counts = same if c == d else different
                    counts[v - y + height - 1][u - x + width - 1] += 1
    return torch.tensor(same), torch.tensor(different)


def by_numpy(weight_UCHW: Tensor) -> tuple[Tensor, Tensor]:
    """The same, all pairs of a unit at once."""
    _, _, height, width = weight_UCHW.shape
    shape = (2, 2 * height - 1, 2 * width - 1)
    counts = np.zeros(shape, dtype=np.int64)
    for unit_CHW in weight_UCHW.numpy():
        c, y, x = np.nonzero(unit_CHW)
        where = (c[None] != c[:, None], y[None] - y[:, None] + height - 1, x[None] - x[:, None] + width - 1)
        index = np.ravel_multi_index((where[0].astype(int), *where[1:]), shape)
        counts += np.bincount(index.ravel(), minlength=counts.size).reshape(shape)
        counts[0, height - 1, width - 1] -= len(c)  # an input is no pair with itself
    return torch.from_numpy(counts[0]), torch.from_numpy(counts[1])


def pairs_of(weight_UCHW: Tensor) -> int:
    counts_U = torch.count_nonzero(weight_UCHW.flatten(1), dim=1)
    return int((counts_U * (counts_U - 1)).sum())


def scale(timing: Timing, factor: float) -> Timing:
    return Timing(**{name: seconds * factor for name, seconds in vars(timing).items()})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nonzeros", type=float, default=1e6, help="of all units together")
    parser.add_argument("--units", type=int, default=1024)
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--loop-units", type=int, default=2, help="units of the loop over pairs")
    parser.add_argument("--numpy-units", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    num_nonzeros = int(options.nonzeros)
    if not 0 < num_nonzeros <= options.units * CHANNELS * options.image**2:
        sys.exit(
            f"--nonzeros: {num_nonzeros:,} do not fit {options.units} units of {options.image}x{options.image}"
        )
    weight_UCHW = random_supports(options.units, options.image, num_nonzeros)
    parts = {
        "loop over pairs": weight_UCHW[: options.loop_units],
        "numpy": weight_UCHW[: options.numpy_units],
    }
    differences = {}
    for way, count in (("loop over pairs", by_pairs), ("numpy", by_numpy)):
        found, expected = displacement_map(parts[way]), count(parts[way])
        for kind, ours, theirs in zip(KINDS, (found.same_YX, found.different_YX), expected, strict=True):
            differences[f"{way}, {kind}"] = must_agree(f"{way}, pairs of {kind}", ours, theirs, 0.0)
    whole, num_pairs = displacement_map(weight_UCHW), pairs_of(weight_UCHW)
    counted = int(whole.same_YX.sum() + whole.different_YX.sum())
    if counted != num_pairs:
        sys.exit(f"ours counts {counted:,} pairs where there are {num_pairs:,}")
    runs: dict[str, Any] = {
        "loop over pairs": lambda: by_pairs(parts["loop over pairs"]),
        "numpy": lambda: by_numpy(parts["numpy"]),
        "ours": lambda: displacement_map(weight_UCHW),
    }
    timed = interleave(runs, options.rounds)
    measured = {way: pairs_of(part) for way, part in parts.items()} | {"ours": num_pairs}
    scaled = {way: scale(timing, num_pairs / measured[way]) for way, timing in timed.items()}
    print(f"{num_nonzeros:,} non-zeros in {options.units:,} units of {CHANNELS}x{options.image}x{options.image}, "
          f"{num_pairs:,} pairs, {options.threads} threads\n")  # fmt: skip
    print("| way | pairs measured | wall ms for all of them, least / median / greatest | CPU ms | ours against it "
          "| ns a pair |\n|---|---|---|---|---|---|")  # fmt: skip
    for way, timing in scaled.items():
        share = "all" if measured[way] == num_pairs else f"{measured[way]:,}, scaled to all"
        gain = timing.min_s / scaled["ours"].min_s
        print(f"| {way} | {share} | {timing.cells()} | {gain:,.1f}x | {1e9 * timing.min_s / num_pairs:.3g} |")
    print("\nall counts are equal")
    gain = scaled["loop over pairs"].min_s / scaled["ours"].min_s
    quantity = f"locality map, {num_nonzeros:,} non-zeros"
    targets = [
        Target(quantity=quantity, against="loop over pairs, timed on a part", accept=1000.0, ratio=gain)
    ]
    document = {"nonzeros": num_nonzeros, "units": options.units, "pairs": num_pairs, "differences": differences,
                "pairs_measured": measured, "measured": timed, "ways": scaled}  # fmt: skip
    write_json(options.json, document, targets)


if __name__ == "__main__":
    main()
