"""Linear CNNs on pairs of classes, trained as the paper says, and in closed form under other settings (CW Table 3).

    python pairs.py --dataset npz:cifar10.npz --pairs 2-0 5-6 --seeds 0 1 2 -o OUT/linear.json

The text does not say which class has label 1, nor whether the start was subtracted; the correlation of true with random
labels depends on both, and on the pixels and the number of filters.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mean_patches import (
    Patches,
    Setting,
    change,
    closed_form,
    initial_filters,
    optimum,
    pearson,
    random_labels,
)

from lcstool.data import load_dataset
from lcstool.energy import Descent, LinearProblem
from lcstool.parsing import parse_image_size

# Shape suffixes: N images, M filters, D components; E directions: eigenvectors of K^T K, where K has the mean patches.


def trained_pair(patches: Patches, setting: Setting, seeds: list[int]) -> dict[str, Any]:
    """Profiles of networks of every seed, with true and random labels, and their correlations."""
    best_D = patches.energy(optimum(patches, setting)[None])
    found: dict[str, list[Any]] = {name: [] for name in ("initial", "true", "random", "closed form")}
    for seed in seeds:
        initial_MD = initial_filters(patches.average_ND.shape[1], setting.num_filters, seed)
        drawn_N = random_labels(len(patches.labels_N), seed)
        found["initial"].append(patches.energy(initial_MD).tolist())
        for how, labels_N in (("true", patches.labels_N), ("random", drawn_N)):
            moved = change(patches, labels_N, setting, initial_MD, seed)
            found[how].append(patches.energy(initial_MD + moved).tolist())
        exact = closed_form(patches, patches.labels_N, setting, initial_MD)
        found["closed form"].append(patches.energy(initial_MD + exact).tolist())
    r = {
        name: [pearson(*both) for both in zip(found["true"], found[name], strict=True)]
        for name in ("initial", "random", "closed form")
    }
    r["optimal"] = [pearson(one, best_D) for one in found["true"]]
    return {
        "profiles": found | {"optimal": best_D.tolist()},
        "r": r,
        "steps": setting.steps(len(patches.labels_N)),
    }


def compared(patches: Patches, setting: Setting, seeds: list[int], start: str) -> dict[str, list[float]]:
    """r of true with random labels, and with the optimum, by the closed form.

    Args:
        patches, setting, seeds: As trained; a seed draws initial filters and random labels.
        start: `kept`; `subtracted`: of the changes alone; `expected`: of the changes from 0, and for random labels of
            the square root of the expected squared energy, which is one number for all seeds.
    """
    best_D = patches.energy(optimum(patches, setting)[None])
    if start == "expected":
        true_D, random_D = _expected(patches, setting)
        return {"random": [pearson(true_D, random_D)], "optimal": [pearson(true_D, best_D)]}
    found: dict[str, list[float]] = {"random": [], "optimal": []}
    for seed in seeds:
        initial_MD = initial_filters(patches.average_ND.shape[1], setting.num_filters, seed)
        both = []
        for labels_N in (patches.labels_N, random_labels(len(patches.labels_N), seed)):
            moved_D = closed_form(patches, labels_N, setting, initial_MD)
            both.append(patches.energy(moved_D[None] if start == "subtracted" else initial_MD + moved_D))
        found["random"].append(pearson(*both))
        found["optimal"].append(pearson(both[0], best_D))
    return found


def _expected(patches: Patches, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """The profiles of true and of random labels."""
    size, columns = patches.average_ND.shape[1], torch.from_numpy(patches.columns(setting))
    problem = LinearProblem.of(columns, torch.from_numpy(setting.targets(patches.labels_N)))
    descent = Descent(
        steps=setting.steps(len(columns)), lr=setting.lr, width=setting.num_filters, loss="mean"
    )
    _, rest_E = problem.powers(descent)
    gain_E = torch.where(problem.roots_E > 0, rest_E / problem.roots_E.clamp(min=1e-300), 0)
    turned_DE = patches.components_DD @ problem.directions_DE[:size].numpy()
    variance_D = turned_DE**2 @ (gain_E**2).numpy() / 4
    true_D, mean_D = (
        patches.components_DD @ problem.filter_after(descent, expected=expected)[:size].numpy()
        for expected in (False, True)
    )
    return np.abs(true_D), np.sqrt(mean_D**2 + variance_D)


def variants(stated: Setting) -> dict[str, tuple[Setting, str]]:
    """Settings by name, each with what becomes of the start: rate, epochs and batches are those stated."""
    found = {}
    stated = Setting(lr=stated.lr, epochs=stated.epochs, batch_size=stated.batch_size)
    for pixels, words in (("raw", "raw pixels"), ("channel", "standardised pixels")):
        base = replace(stated, pixels=pixels)
        for first, order in ((False, "second class is 1"), (True, "first class is 1")):
            some = replace(base, first_is_one=first)
            found[f"{words}, {order}"] = (some, "kept")
            found[f"{words}, {order}, start subtracted"] = (some, "subtracted")
            found[f"{words}, {order}, from 0, expected"] = (some, "expected")
            found[f"{words}, {order}, 1 filter"] = (replace(some, num_filters=1), "kept")
            found[f"{words}, {order}, bias"] = (replace(some, bias=True), "kept")
        found[f"{words}, labels -1 and 1"] = (replace(base, low=-1.0), "kept")
        found[f"{words}, labels -1 and 1, start subtracted"] = (replace(base, low=-1.0), "subtracted")
    code = replace(stated, lr=0.01, epochs=100, pixels="channel")
    found["the code's: lr 0.01, 100 epochs, standardised"] = (code, "kept")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Train linear CNNs on pairs of classes.")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--image-size")
    parser.add_argument("--pairs", nargs="+", required=True, help="classes by number, 2-0")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--pixels", choices=("raw", "channel"), default="raw")
    parser.add_argument("--first-is-one", action="store_true", help="label 1 is the class named first")
    parser.add_argument("--low", type=float, default=0.0, help="the other label")
    parser.add_argument("--bias", action="store_true")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = ("lr", "epochs", "batch_size", "pixels", "first_is_one", "low", "bias")
    stated = Setting(**{name: getattr(options, name) for name in names})
    size = parse_image_size(options.image_size) if options.image_size else None
    dataset = load_dataset(options.dataset, size)
    document: dict[str, Any] = {"setting": asdict(stated), "classes": {}, "trained": {}, "settings": {}}
    for pair in options.pairs:
        two = dataset.with_classes(tuple(pair.split("-")))
        by_pixels = {pixels: Patches.of(two, pixels) for pixels in ("raw", "channel")}
        document["classes"][pair] = list(two.class_names)
        document["trained"][pair] = trained_pair(by_pixels[stated.pixels], stated, options.seeds)
        for name, (setting, start) in variants(stated).items():
            r = compared(by_pixels[setting.pixels], setting, options.seeds, start)
            document["settings"].setdefault(name, {})[pair] = r
    part = options.out.with_name(options.out.name + ".part")
    part.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(options.out)


if __name__ == "__main__":
    main()
