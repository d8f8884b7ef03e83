"""Time of counting non-zeros and different values, beside numpy.unique on the same array; the counts must agree.

python benchmarks/distinct_values.py [--size 1e8] [--rounds 2] [--json FILE]
"""

import argparse
import sys

import numpy as np
import torch
from measure import add_json_option, interleave, write_json

from lcstool.codes.distinct import count_distinct


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=float, default=1e8)
    parser.add_argument("--rounds", type=int, default=2)
    add_json_option(parser)
    options = parser.parse_args()
    size, document = int(options.size), {}
    print(
        f"{size:,} weights, {torch.get_num_threads()} threads; least / median / greatest milliseconds, wall | CPU"
    )
    print("| weights | numpy.unique, wall | CPU | ours, wall | CPU | gain |")
    print("|---|---|---|---|---|---|")
    for name, zeros, dtype in (
        ("float32, 99 % zero", 0.99, torch.float32),
        ("float32, dense", 0.0, torch.float32),
        ("float16, dense", 0.0, torch.float16),
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
        times = interleave(ways, options.rounds)
        gain = times["numpy.unique"].min_s / times["ours"].min_s
        print(f"| {name} | {times['numpy.unique'].cells()} | {times['ours'].cells()} | {gain:.1f}x |")
        document[name] = times
    write_json(options.json, {"size": size, "times": document})


if __name__ == "__main__":
    main()
