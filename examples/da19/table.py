"""The numbers behind Figs. 2, 3, 4, 7 and 9 of d'Ascoli et al. 2019 as two Markdown tables.

python3 table.py OUT TIME...   reads OUT/{cnn.epochTIME,efcn.TIME,fcn}.safetensors and OUT/sharpness.TIME.json
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def last_metrics(path: Path) -> dict:
    """The headline metrics that a file's history ends with."""
    command = [*os.environ.get("LCSTOOL", "lcstool").split(), "info", str(path), "--json"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    trained = [entry for entry in json.loads(shown.stdout)["history"] if entry["stage"] == "train"]
    return trained[-1]["metrics"]


def share(part: float, metrics: dict) -> str:
    in_all = metrics["subspace"]["in_all"]
    return f"{100 * part / (in_all['conv'] + in_all['unshared_local'] + in_all['off_local']):.3f} %"


def main(out: Path, times: list[str]) -> None:
    fcn = last_metrics(out / "fcn.safetensors")
    print(f"FCN from scratch: test accuracy {100 * fcn['test_accuracy_frac']:.2f} %, "
          f"delta {fcn['subspace']['off_local_frac']:.4f}\n")  # fmt: skip
    columns = [
        "t_w",
        "CNN at t_w",
        "eFCN",
        "without off-local",
        "without local",
        "delta",
        "conv",
        "unshared local",
        "off-local",
    ]
    columns += [
        f"{name} {at}" for name in ("gradient norm", "lambda_max", "lambda_min") for at in ("at t_w", "after")
    ]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for time in times:
        cnn = last_metrics(out / f"cnn.epoch{time}.safetensors").get("test_accuracy_frac")
        efcn = last_metrics(out / f"efcn.{time}.safetensors")
        before, after = (
            json.loads((out / f"sharpness.{at}.{time}.json").read_text()) for at in ("start", "efcn")
        )
        parts = efcn["subspace"]["in_all"]
        cells = [
            str(int(time)),
            "-" if cnn is None else f"{100 * cnn:.2f} %",
            f"{100 * efcn['test_accuracy_frac']:.2f} %",
            *(f"{100 * efcn[f'test_accuracy_frac_without_{part}']:.2f} %" for part in ("off_local", "local")),
            f"{efcn['subspace']['off_local_frac']:.4f}",
            *(share(parts[name], efcn) for name in ("conv", "unshared_local", "off_local")),
            *(f"{sharp['gradient_norm']:.3g}" for sharp in (before, after)),
            *(f"{sharp['largest']['value']:.3g}" for sharp in (before, after)),
            *(f"{sharp['smallest']['value']:.3g}" for sharp in (before, after)),
        ]
        print(f"| {' | '.join(cells)} |")
    by_layer(out, times)


def by_layer(out: Path, times: list[str]) -> None:
    """Per layer: the root mean square of the off-local weights over that of the local ones."""
    layers = {time: last_metrics(out / f"efcn.{time}.safetensors")["subspace"]["layers"] for time in times}
    names = list(layers[times[0]])
    print(f"\n| t_w | {' | '.join(f'{name}: RMS off-local / local' for name in names)} |")
    print("|---" * (1 + len(names)) + "|")
    for time, found in layers.items():
        ratios = (found[name]["rms_off_over_local"] for name in names)
        print(f"| {int(time)} | {' | '.join('-' if r is None else f'{r:.4f}' for r in ratios)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
