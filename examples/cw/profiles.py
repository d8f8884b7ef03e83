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

BY_SECTION = "What stands under this number follows from the paper's section, not from its caption."
NAMES = {"vgg11-bn": "VGG-11-BN", "resnet18": "ResNet-18", "alexnet": "AlexNet", "vanilla-cnn": "VanillaCNN"}
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
        """The networks of a kind: its name and a seed."""
        return [name for name in self.names if name.startswith(kind) and name[len(kind) :].isdecimal()]

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
        return self.document["correlation"][places[0]][places[1]] or 0.0

    def between(self, first: str, second: str | None = None) -> list[float]:
        """r between seeds of one kind, or of all networks of one kind with all of another."""
        if second is None:
            return [self.r(*pair) for pair in combinations(self.group(first), 2)]
        return [self.r(*pair) for pair in product(self.group(first), self.group(second))]

    @property
    def chance(self) -> float:
        """|r| that unrelated random banks stay below in 95 % of cases, for the widest pair of sizes."""
        return max(max(-band["low"], band["high"]) for band in self.document["chance"])

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of the patches along each component, (D,)."""
        return np.sqrt(self.document["basis"]["eigenvalues"])


def unit(energy: Iterable[float]) -> np.ndarray:
    """At length 1; zeros stay."""
    values = np.asarray(list(energy))
    return values / max(float(np.linalg.norm(values)), 1e-300)


def arch(kind: str) -> str:
    """`vgg11-bn` -> `VGG-11-BN`."""
    return NAMES.get(kind, kind.replace("vgg", "VGG-").replace("-bn", "-BN"))


def curve(
    axis: Any, energies: np.ndarray, label: str, colour: str, dashes: str = "-", width: float = 1.2
) -> None:
    """Mean over seeds, and their range as a shade; one profile is a line."""
    energies = np.atleast_2d(energies)
    places = np.arange(energies.shape[1])
    axis.plot(places, energies.mean(axis=0), dashes, color=colour, linewidth=width, label=label)
    if len(energies) > 1:
        axis.fill_between(
            places, energies.min(axis=0), energies.max(axis=0), color=colour, alpha=0.2, linewidth=0
        )


def over_components(axis: Any, ylabel: str = "energy (length 1)") -> None:
    axis.set_xlabel("principal component")
    axis.set_ylabel(ylabel)
    axis.set_ylim(bottom=0)


def row(made: Recipe, what: str, values: Sequence[float], paper: str | None = None, remark: str = "") -> None:
    """A row of the mean of some r, and in full among the numbers."""
    made.numbers.setdefault("r", {})[what] = list(values)
    spread = f"± {statistics.stdev(values):.2f}, {len(values)} pairs" if len(values) > 1 else ""
    made.row(what, statistics.mean(values), paper, remark="; ".join(filter(None, (spread, remark))))


def dots(made: Recipe, chance: float, colours: Sequence[int] | None = None, part: str = "") -> None:
    """The rows' r as points, all of them and their mean, beside the band of chance."""
    groups: dict[str, list[float]] = made.numbers["r"]
    with made.figure(COLUMN_INCHES, 0.55 + 0.19 * len(groups), part) as fig:
        axis = fig.subplots()
        axis.axvspan(-chance, chance, color="0.9", linewidth=0)
        for place, (_, values) in enumerate(groups.items()):
            colour = COLOURS[0 if colours is None else colours[place]]
            axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.4, markeredgewidth=0)
            axis.plot(
                [statistics.mean(values)], [place], "|", color=colour, markersize=9, markeredgewidth=1.5
            )
        axis.set_yticks(range(len(groups)), list(groups))
        axis.set_ylim(len(groups) - 0.5, -0.5)
        axis.set_xlim(min(-0.5, *(min(values) - 0.05 for values in groups.values())), 1.05)
        axis.set_xlabel("Pearson r (grey: chance)")


def scaled_down(made: Recipe) -> str:
    """The sentence on what the scale changes."""
    return {
        "demo": "Demo scale: built-in images at 16x16, a few epochs, so the paper's numbers need not come out.",
        "small": "Small scale: CIFAR-10 at 16x16, 10,000 images, narrow networks.",
    }.get(made.scale, "")


def note(made: Recipe, *sentences: str) -> None:
    made.note = " ".join(filter(None, (*sentences, scaled_down(made))))
