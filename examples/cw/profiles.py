"""Profiles that `lcstool energy --json` printed, by the networks' names, and how they are drawn."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from recipe import Recipe, load

from lcstool.plots.style import COLOURS, COLUMN_INCHES

# Shape suffixes: D components, S seeds.

NAMES = {"vgg11": "VGG-11", "resnet18": "ResNet-18", "wide": "VGG-11, 1.5 times as wide"}
NETS = {"vgg11": COLOURS[0], "resnet18": COLOURS[1]}
SETS = {"c10": "CIFAR-10", "c100": "CIFAR-100", "faces": "faces"}
STAND_INS = {
    "c10": "leaves", "c100": "leaves 0-4", "faces": "leaves 5-9", "imagenet": "leaves, 14x14",
}  # fmt: skip
NEEDED = {
    "c100": "CIFAR100=npz:FILE", "faces": "FACES=folder:DIR", "imagenet": "IMAGENET=folder:DIR",
}  # fmt: skip
CIFAR_PAIRS = {
    "2-0": "bird / plane", "5-6": "dog / frog", "5-3": "dog / cat", "1-9": "car / truck", "8-0": "boat / plane"
}  # fmt: skip


@dataclass(frozen=True)
class Profiles:
    """One measurement: its JSON document."""

    document: dict[str, Any]

    @staticmethod
    def of(path: Path) -> "Profiles":
        return Profiles(load(path))

    @property
    def names(self) -> list[str]:
        return [Path(bank["file"]).name.removesuffix(".safetensors") for bank in self.document["banks"]]

    def group(self, kind: str) -> list[str]:
        """The networks of a kind, `vgg11-c10-true`: those of all seeds."""
        start = f"net-{kind}-"
        return [name for name in self.names if name.startswith(start) and name[len(start) :].isdecimal()]

    def bank(self, name: str) -> dict[str, Any]:
        return dict(self.document["banks"][self.names.index(name)])

    def theory(self, name: str) -> dict[str, Any]:
        return dict(self.document["theory"]["banks"][self.names.index(name)])

    def energy(self, name: str) -> np.ndarray:
        """The profile (D,) at length 1."""
        return unit(self.bank(name)["energy"])

    def energies(self, kind: str) -> np.ndarray:
        """Those of all seeds, (S, D)."""
        return np.stack([self.energy(name) for name in self.group(kind)])

    def r(self, first: str, second: str) -> float:
        """Pearson r; 0 where a layer of zeros has none."""
        places = self.names.index(first), self.names.index(second)
        return float(self.document["correlation"][places[0]][places[1]] or 0.0)

    def between(self, first: str, second: str | None = None) -> list[float]:
        """r between seeds of one kind, or of all networks of one kind with all of another."""
        if second is None:
            return [self.r(*pair) for pair in combinations(self.group(first), 2)]
        return [self.r(*pair) for pair in product(self.group(first), self.group(second))]

    def with_start(self, kind: str) -> list[float]:
        """r of each network of a kind with its own filters before training."""
        return [self.bank(name)["r_own_init"] for name in self.group(kind)]

    @property
    def chance(self) -> float:
        """|r| that unrelated random banks stay below in 95 % of cases, for the widest pair of sizes."""
        return float(max(max(-band["low"], band["high"]) for band in self.document["chance"]))

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of the patches along each component, (D,)."""
        return np.asarray(np.sqrt(self.document["basis"]["eigenvalues"]))


def of_sets(made: Recipe, what: str) -> dict[str, Profiles]:
    """The measurements of a kind, by data set: true-c10, true-c100."""
    return {
        name: Profiles.of(made.input(f"{what}-{name}")) for name in SETS if _is_there(made, f"{what}-{name}")
    }


def _is_there(made: Recipe, stem: str) -> bool:
    return any(file.stem == stem for file in made.files)


def set_name(made: Recipe, name: str) -> str:
    """What is shown of a data set: at demo scale other images stand for it."""
    return STAND_INS[name] if made.scale == "demo" else SETS[name]


def unit(energy: Iterable[float]) -> np.ndarray:
    """At length 1; zeros stay."""
    values = np.asarray(list(energy))
    return values / max(float(np.linalg.norm(values)), 1e-300)


def curve(
    axis: Any, energies: np.ndarray, label: str | None, colour: str, dashes: str = "-", width: float = 1.2
) -> None:
    """Mean over seeds, and their range as a shade; one profile is a line."""
    energies = np.atleast_2d(energies)
    places = np.arange(energies.shape[1])
    axis.plot(places, energies.mean(axis=0), dashes, color=colour, linewidth=width, label=label)
    if len(energies) > 1:
        axis.fill_between(
            places, energies.min(axis=0), energies.max(axis=0), color=colour, alpha=0.2, linewidth=0
        )


def over_components(axis: Any, title: str = "", ylabel: str = "") -> None:
    axis.set_xlabel("principal component")
    axis.set_ylabel(ylabel)
    axis.set_title(title)
    axis.set_ylim(bottom=0)


def row(made: Recipe, what: str, values: Sequence[float], remark: str = "") -> None:
    """A row of the mean of some r, and in full among the numbers; none where there are no values."""
    if not values:
        return
    made.numbers.setdefault("r", {})[what] = list(values)
    made.row(what, statistics.mean(values), remark="; ".join(filter(None, (_spread(values), remark))))


def _spread(values: Sequence[float]) -> str:
    return f"± {statistics.stdev(values):.3f}, {len(values)} values" if len(values) > 1 else "one value"


def written(values: Sequence[float]) -> str:
    """`0.95 ± 0.01`."""
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def beyond(values: Sequence[float], limit: float, sign: int = 1) -> bool | None:
    """Whether values lie above a limit (with sign -1: below).

    None where their mean is nearer to the limit than they are spread: then they do not tell.
    """
    if not values:
        return None
    distance = sign * (statistics.mean(values) - limit)
    if len(values) > 1 and abs(distance) < statistics.stdev(values):
        return None
    return bool(distance > 0)


def every(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether all hold: False if one does not, None if nothing was found, or if one cannot be told."""
    found = [verdict if verdict is None else bool(verdict) for verdict in verdicts]
    if False in found:
        return False
    return None if None in found or not found else True


def judge(made: Recipe, name: str, holds: bool | None, measured: str) -> None:
    """The verdict on a claim; at demo scale none, whether it would hold or not.

    There, networks have a few epochs on drawn images, and random labels are not learned to the end.
    """
    untold = holds is None or made.scale == "demo"
    made.claim(name, None if untold else bool(holds), measured)


def is_middle(energy_D: np.ndarray) -> bool:
    """Whether a profile is lower in its first component and its last quarter than at its peak between."""
    tail = max(1, len(energy_D) // 4)
    peak = energy_D[1:-tail].max()
    return bool(peak > energy_D[0] and peak > 1.25 * energy_D[-tail:].mean())


def dots(made: Recipe, chance: float, part: str = "") -> None:
    """The rows' r as points, all of them and their mean, beside the band of chance."""
    groups: dict[str, list[float]] = made.numbers["r"]
    with made.figure(COLUMN_INCHES, 0.55 + 0.19 * len(groups), part) as fig:
        axis = fig.subplots()
        axis.axvspan(-chance, chance, color="0.9", linewidth=0)
        for place, values in enumerate(groups.values()):
            axis.plot(values, [place] * len(values), "o", color=COLOURS[0], alpha=0.4, markeredgewidth=0)
            axis.plot(
                [statistics.mean(values)], [place], "|", color=COLOURS[0], markersize=9, markeredgewidth=1.5
            )
        axis.set_yticks(range(len(groups)), list(groups))
        axis.set_ylim(len(groups) - 0.5, -0.5)
        axis.set_xlim(min(-0.5, *(min(values) - 0.05 for values in groups.values())), 1.05)
        axis.set_xticks([-0.5, 0, 0.5, 1])
        axis.set_xlabel("r (grey: chance)")


def scaled_down(made: Recipe) -> str:
    """The sentence on what the scale changes."""
    return {
        "demo": "Demo scale: built-in images, leaves, at 16x16, small networks, a few epochs; leaves 0-4 and 5-9, at "
        "14x14 and with five classes each, stand for other data sets.",
        "small": "Small scale: CIFAR-10 at 16x16, 10,000 images, narrow networks.",
    }.get(made.scale, "")


def note(made: Recipe, *sentences: str) -> None:
    made.note = " ".join(filter(None, (*sentences, scaled_down(made))))
