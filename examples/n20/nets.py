"""What the figures of n20 share: what a file's name says of its network, and what was measured."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from recipe import Recipe, trained

from lcstool.checkpoint import open_checkpoint
from lcstool.models import ModelSpec
from lcstool.plots.style import COLOURS

NAMES = {
    "s-conv": "S-CONV", "s-local": "S-LOCAL", "s-fc": "S-FC", "3-fc": "3-FC", "resnet18": "ResNet18",
    "d-conv": "D-CONV", "d-local": "D-LOCAL", "d-fc": "D-FC",
}  # fmt: skip
# The paper's data sets, and the built-in ones that stand for the second and third at SCALE=demo.
SLOTS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN"}
STAND_INS = {"leaves5": "cifar100", "leaves3": "svhn"}
DATA = SLOTS | {"leaves5": "leaves, 5 classes", "leaves3": "leaves, 3 classes"}
NEEDS = {slot: f"needs {slot.upper()}=npz:FILE" for slot in SLOTS} | {"cifar10": "needs DATASET=npz:FILE"}
TEST_IMAGES = {"leaves": 4_000, "leaves5": 2_000, "leaves3": 1_200, "svhn": 26_032}  # others: 10,000
CONV, FC, LOCAL, LASSO, RESNET, LIGHT, GREY = (*COLOURS[:6], "0.45")
COLOUR = {"conv": CONV, "local": LOCAL, "fc": FC}


@dataclass(frozen=True)
class Net:
    """A file, DATA.ARCH.ALPHA.SEED.EPOCHS[.MORE].OPTIMIZER and suffixes:

    `leaves.s-fc.16.0.e12.b3.lasso.stats.safetensors`.
    """

    path: Path

    @property
    def parts(self) -> list[str]:
        return self.path.name.split(".")

    @property
    def stem(self) -> str:
        """Of the file of the network itself."""
        return ".".join(self.parts[: self.parts.index(self.how) + 1])

    @property
    def data(self) -> str:
        return self.parts[0]

    @property
    def slot(self) -> str:
        """Which of the paper's data sets this one is, or stands for."""
        return STAND_INS.get(self.data, self.data if self.data in SLOTS else "cifar10")

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
    def epochs(self) -> int:
        return int(self.parts[4].removeprefix("e"))

    @property
    def how(self) -> str:
        """`sgd` or `lasso`."""
        return next(part for part in self.parts[5:] if part in ("sgd", "lasso"))

    @property
    def more(self) -> list[str]:
        return self.parts[5 : self.parts.index(self.how)]

    def _number(self, letter: str) -> int | None:
        return next((int(part[1:]) for part in self.more if part[0] == letter and part[1:].isdecimal()), None)

    @property
    def kernel(self) -> int:
        return self._number("k") or 3

    @property
    def beta(self) -> int | None:
        return self._number("b")

    @property
    def name(self) -> str:
        """`S-FC` and, where it was not SGD, how it was trained."""
        by = "" if self.how == "sgd" else f", β-LASSO, β = {self.beta}"
        return f"{NAMES[self.arch]}{by}{', pixels permuted' if 'permuted' in self.more else ''}"

    @property
    def colour(self) -> str:
        if self.how != "sgd":
            return LASSO
        if self.arch == "resnet18":
            return RESNET
        return COLOUR[self.arch.split("-")[-1]] if self.arch[0] in "sd" else GREY

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """Of the epochs, from the metrics beside the network."""
        path = self.path.with_name(f"{self.stem}.metrics.jsonl")
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    @property
    def accuracy(self) -> float:
        """On the test images after the last epoch, in percent."""
        return 100 * float(self.records[-1]["test_accuracy_frac"])

    @property
    def train_accuracy(self) -> float:
        """On the training images as they are, in percent."""
        return 100 * float(trained(self.path)["metrics"]["train_accuracy_frac"])

    @property
    def density(self) -> float:
        """Share of the first layer's weights that are not zero, in percent."""
        return 100 * float(self.records[-1]["density"]["layer1"])

    @cached_property
    def spec(self) -> ModelSpec | None:
        """None where only the metrics are there."""
        path = self.path.with_name(f"{self.stem}.safetensors")
        header = open_checkpoint(str(path)).header if path.exists() else None
        return ModelSpec.from_json(header.model, path.name) if header and header.model else None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The image's side, base channels and classes; those of the paper's data where only the metrics are there."""
        if self.spec is not None:
            return self.spec.in_shape[-1], self.alpha, self.spec.classes
        return 32, self.alpha, 100 if self.slot == "cifar100" else 10

    def report(self) -> dict[str, Any]:
        """What `prune-stats` found, of a file of statistics."""
        header = open_checkpoint(str(self.path)).header
        assert header is not None
        return dict(header.history[-1]["metrics"]["files"][0])

    def first_layer(self) -> dict[str, Any]:
        return dict(self.report()["layers"][0])


def nets(files: Iterable[Path], suffix: str = ".safetensors") -> list[Net]:
    """One for each file with this ending; statistics are no networks."""
    return [
        Net(file)
        for file in files
        if file.name.endswith(suffix)
        and (suffix != ".safetensors" or not file.name.endswith(".stats.safetensors"))
    ]


def groups(found: Sequence[Net]) -> list[list[Net]]:
    """Networks that differ in their seeds only, in the order of their first ones."""
    made: dict[tuple[str, ...], list[Net]] = {}
    for net in found:
        made.setdefault((*net.parts[:3], *net.parts[4:]), []).append(net)
    return list(made.values())


def joined(*remarks: str) -> str:
    return "; ".join(remark for remark in remarks if remark)


def dataset(tag: str) -> str:
    return DATA.get(tag, tag)


def setting(made: Recipe, net: Net) -> str:
    """What a number does not share with the paper's, in a few words; nothing at its own settings."""
    if made.scale == "paper":
        return "" if net.alpha in (15, 64, 150) else f"α = {net.alpha}"
    return f"{dataset(net.data)}, α = {net.alpha}, {net.epochs} epochs"


def absent(made: Recipe, present: Iterable[str], *kinds: str) -> None:
    """Say of the paper's data sets that are not here what would draw them; of several kinds of panels, of each."""
    for slot in SLOTS.keys() - set(present):
        for name in [f"{kind}-{slot}" for kind in kinds] or [slot]:
            if name in made.content.panels:
                made.without(name, NEEDS[slot])


def scale_note(made: Recipe) -> str:
    """What every note on trained networks ends with."""
    if made.scale == "paper":
        return ""
    images = "built-in, simpler images" if made.scale == "demo" else "images of 16x16 pixels"
    return (
        f"Small networks and few epochs on {images}: orders can be compared with the paper's, values cannot."
    )
