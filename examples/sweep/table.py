"""A sweep's runs as one Markdown table, a row for each lambda and beta: mean and standard deviation over the seeds.

python3 table.py RUN.json...   reads what `lcstool info --json` says of each run
"""

import json
import statistics
import sys
from pathlib import Path

COLUMNS = {
    "test accuracy, %": lambda metrics: 100 * metrics["test_accuracy_frac"],
    "density of the first layer, %": lambda metrics: 100 * first_layer(metrics)["density"],
    "radius beside shuffled weights": lambda metrics: metrics["locality"]["radius_ratio"],
}


def first_layer(metrics: dict) -> dict:
    return next(iter(metrics["layers"].values()))


def cell(values: list) -> str:
    """Mean and spread, `-` where no run has a value: a net whose weights are all zero has no radius."""
    found = [value for value in values if value is not None]
    if not found:
        return "-"
    spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):.3f}{spread}"


def main(paths: list[Path]) -> None:
    rows: dict[tuple[float, float], list[dict]] = {}
    for path in paths:
        last = json.loads(path.read_text(encoding="utf-8"))["history"][-1]
        rows.setdefault((last["config"]["lambda_conv"], last["config"]["beta"]), []).append(last["metrics"])
    print(f"| lambda | beta | seeds | {' | '.join(COLUMNS)} |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    for (lambda_, beta), runs in sorted(rows.items()):
        cells = (cell([column(metrics) for metrics in runs]) for column in COLUMNS.values())
        print(f"| {lambda_:g} | {beta:g} | {len(runs)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
