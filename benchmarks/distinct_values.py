"""Time of counting non-zeros and different values, compared with numpy.unique on the same array; counts must agree.

python benchmarks/distinct_values.py [--size 1e8] [--rounds 2] [--json FILE]
"""

import argparse
import sys

import numpy as np
import torch
from measure import Ceilings, Target, add_json_option, interleave, shown_ceilings, write_json

from lcstool.codes.distinct import count_distinct


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=float, default=1e8)
    parser.add_argument("--rounds", type=int, default=2)
    add_json_option(parser)
    options = parser.parse_args()
    size, document, targets = int(options.size), {}, []
    ceilings = Ceilings(torch.device("cpu"))
    print(
        f"{size:,} weights, {torch.get_num_threads()} threads; least / median / greatest milliseconds, wall | CPU"
    )
    print("| weights | numpy.unique, wall | CPU | ours, wall | CPU | gain | read at, of plain reading |")
    print("|---|---|---|---|---|---|---|")
    for name, zeros, dtype, accept in (
        ("float32, 99 % zero", 0.99, torch.float32, 5.0),
        ("float32, dense", 0.0, torch.float32, 0.9),
        ("float16, dense", 0.0, torch.float16, None),
    ):
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(size, generator=generator)
        if zeros:
            weights[torch.rand(size, generator=generator) < zeros] = 0
        weights = weights.to(dtype)
        array = weights.numpy()
        expected, found = len(np.unique(np.append(array, 0))), count_distinct([weights]).num_distinct
        if expected != found:
            sys.exit(f"{name}: numpy.unique finds {expected} values, count_distinct {found}")
        ways = {
            "numpy.unique": lambda array=array: np.unique(array),
            "ours": lambda weights=weights: count_distinct([weights]),
        }
        timed = interleave(ways | ceilings.ways, options.rounds)
        limits, times = ceilings.of(timed), ceilings.without(timed)
        gain = times["numpy.unique"].min_s / times["ours"].min_s
        rate = weights.nbytes / times["ours"].min_s / 1e9
        share = 2 * rate / limits["copy_gb_per_s"]  # a copy writes as much as it reads
        print(f"| {name} | {times['numpy.unique'].cells()} | {times['ours'].cells()} | {gain:.1f}x "
              f"| {rate:.2f} GB/s, {share:.0%} |")  # fmt: skip
        document[name] = times | {"ceilings": limits, "bytes": weights.nbytes, "gb_per_s": rate}
        if accept is not None:
            targets.append(
                Target(
                    quantity=f"distinct values, {name}, {size:,}",
                    against="numpy.unique",
                    accept=accept,
                    ratio=gain,
                )
            )
    print(f"\n{shown_ceilings(limits)}; both ways find the same counts")
    write_json(options.json, {"size": size, "times": document}, targets)


if __name__ == "__main__":
    main()
