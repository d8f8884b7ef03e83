"""What the figures of n20 share: what a file's name says of its network, and the numbers to compare it with."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe import Recipe, trained

from lcstool.checkpoint import open_checkpoint
from lcstool.plots.style import COLOURS

BY_SECTION = "What stands under this number follows from the paper's section, not from its caption."
NAMES = {
    "s-conv": "S-CONV", "s-local": "S-LOCAL", "s-fc": "S-FC", "3-fc": "3-FC", "resnet18": "ResNet18",
    "d-conv": "D-CONV", "d-local": "D-LOCAL", "d-fc": "D-FC",
}  # fmt: skip
DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN"}
CONV, FC, LOCAL, LASSO, GREY = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[3], "0.45"
COLOUR = {"conv": CONV, "local": LOCAL, "fc": FC}
# Test accuracy of S-FC by beta-LASSO (beta 50) in the arXiv text; the NeurIPS abstract has 84.50, 57.76, 93.84.
PAPER_LASSO = {"cifar10": 85.19, "cifar100": 59.56, "svhn": 94.07}


@dataclass(frozen=True)
class Net:
    """A file, DATA.ARCH.ALPHA.SEED.HOW and suffixes: `leaves.s-fc.16.0.b3.lasso.stats.safetensors`."""

    path: Path

    @property
    def parts(self) -> list[str]:
        return self.path.name.split(".")

    @property
    def data(self) -> str:
        return self.parts[0]

    @property
    def arch(self) -> str:
        return self.parts[1]

    @property
    def alpha(self) -> int:
        return int(self.parts[2])

    @property
    def seed(self) -> int:
        return int(self.parts[3])

    @property
    def how(self) -> str:
        """`sgd`, `lasso` or `permuted`."""
        return next(part for part in self.parts if part in ("sgd", "lasso", "permuted"))

    @property
    def kernel(self) -> int:
        return int(self.parts[4].removeprefix("k"))

    @property
    def beta(self) -> int | None:
        return int(self.parts[4].removeprefix("b")) if self.arch == "s-fc" and self.how != "sgd" else None

    @property
    def name(self) -> str:
        """`S-FC` and, where it was not SGD, how it was trained."""
        by = {"sgd": "", "lasso": f", β-LASSO, β = {self.beta}", "permuted": ", β-LASSO, pixels permuted"}
        return NAMES[self.arch] + by[self.how]

    @property
    def colour(self) -> str:
        if self.how != "sgd":
            return LASSO
        return COLOUR.get(self.arch.split("-")[-1] if self.arch[0] in "sd" else "", GREY)

    @property
    def accuracy(self) -> float:
        """On the test images, in percent."""
        return 100 * float(trained(self.path)["metrics"]["test_accuracy_frac"])

    @property
    def density(self) -> float:
        """Share of the first layer's weights that are not zero, in percent."""
        weight = open_checkpoint(str(self.path))["layer1.weight"]
        return 100 * float(weight.count_nonzero()) / weight.numel()

    def report(self) -> dict[str, Any]:
        """What `prune-stats` found, of a file of statistics."""
        header = open_checkpoint(str(self.path)).header
        assert header is not None
        return dict(header.history[-1]["metrics"]["files"][0])

    def first_layer(self) -> dict[str, Any]:
        return dict(self.report()["layers"][0])


def nets(files: Iterable[Path]) -> list[Net]:
    return [Net(file) for file in files if file.suffix == ".safetensors"]


def groups(found: Sequence[Net]) -> list[list[Net]]:
    """Networks that differ in their seeds only, in the order of their first ones."""
    made: dict[tuple[str, ...], list[Net]] = {}
    for net in found:
        made.setdefault((net.data, net.arch, str(net.alpha), *net.parts[4:]), []).append(net)
    return list(made.values())


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def remark(self) -> str:
        """`± 0.4, 3 seeds`, or `one seed`."""
        if len(self.values) == 1:
            return "one seed"
        deviation = f"{self.deviation:,.0f}" if self.deviation >= 10 else f"{self.deviation:.2g}"
        return f"± {deviation}, {len(self.values)} seeds"


def spread(values: Iterable[float]) -> Spread:
    return Spread(tuple(values))


def setting(made: Recipe, alpha: int) -> str:
    """What a number does not share with the paper's, in a few words; nothing at its own settings."""
    if made.scale == "paper":
        return "" if alpha in (15, 64, 150) else f"alpha {alpha}"
    return f"{'CIFAR-10' if made.scale == 'small' else 'built-in images'}, 16x16, alpha {alpha}"


def joined(*remarks: str) -> str:
    return "; ".join(remark for remark in remarks if remark)


def dataset(tag: str) -> str:
    return DATA.get(tag, tag)


def scale_note(made: Recipe) -> str:
    """What every note on trained networks ends with."""
    if made.scale == "paper":
        return ""
    images = "other, simpler images" if made.scale == "demo" else "CIFAR-10 at 16x16"
    return (
        f"Small networks and few epochs on {images}: orders can be compared with the paper's, values cannot."
    )
