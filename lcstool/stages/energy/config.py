"""What decides a measurement of energy profiles, with the defaults and the help. No torch here."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lcstool.data import parse_dataset
from lcstool.errors import UsageError
from lcstool.options import check_choices, data_dir_option, option, parse_image_size

THEORIES = ("linear-gd", "optimal", "random-labels", "patches")
NORMALISE = ("none", "filters", "profile")
PIXELS = ("raw", "channel")
LINEAR_LOSSES = ("mean", "sum", "half-mean", "half-sum")


@dataclass(frozen=True)
class EnergyConfig:
    """One measurement. The same fields as the flags of `lcstool energy`; `files` is its argument."""

    files: tuple[str, ...] = option(
        (),
        "Networks, or profiles already measured. PyTorch's pickled .pth files are refused: convert "
        "them with safetensors.torch.save_file(torch.load(FILE, weights_only=True), OUT).",
        "Network",
        argument=True,
        optional=True,
    )
    layer: str | None = option(
        None,
        "The layer [default: the first by the architecture; else the one whose weights have the images' channels].",
        "Network",
    )
    kernel_size: int | None = option(
        None,
        "Side of the patches of dense layers [default: that of the basis, or of the first file's filters], or of the "
        "basis where no file has filters.",
        "Network",
    )

    dataset: str = option(
        "leaves",
        "Data set whose training images' patches give the basis, and theory and labels; with --basis only those.",
        "Basis",
        choices="datasets",
    )
    image_size: str | None = option(
        None, "Side or HxW [default: that of the networks, or the data set's own].", "Basis"
    )
    classes: tuple[str, ...] = option(
        (), "Keep only these classes, by number or name; may be repeated or joined by commas.", "Basis"
    )
    data_dir: str | None = data_dir_option("Basis")
    pixels: str | None = option(
        None,
        "Pixels in [0, 1], or each channel standardised over the training images [default: raw, or the basis's].",
        "Basis",
        choices=PIXELS,
    )
    basis: str | None = option(None, "Use the basis in this file instead of measuring one.", "Basis")

    normalise: str = option(
        "none", "Scale each filter, or each profile, to length 1.", "Profile", choices=NORMALISE
    )
    subtract_initial: bool = option(
        False,
        "Subtract the initial filters, which the file's history must give; r with own init is then that of the change.",
        "Profile",
    )
    draws: int = option(
        2000,
        "Draws behind each band: pairs of random banks; at most 500 random initialisations and 1000 resamplings.",
        "Profile",
    )
    units: int = option(
        512, "Most units of a dense layer that are measured, drawn at random; 0 for all.", "Profile"
    )

    theory: str | None = option(
        None,
        "Predict the profile of a linear CNN on this data set; patches: under random labels, from the patches "
        "themselves instead of each image's mean patch.",
        "Theory",
        choices=THEORIES,
    )
    steps: float | None = option(None, "Gradient steps of the prediction.", "Theory")
    lr: float = option(0.01, "Learning rate of the prediction.", "Theory")
    width: int | None = option(
        None, "Filters of the linear CNN [default: as many as the first file, or 1].", "Theory"
    )
    sigma: float | None = option(
        None, "Standard deviation of its initial weights [default: torch's, 1/sqrt(3 fan-in)].", "Theory"
    )
    loss: str = option(
        "mean",
        "Squared error summed or averaged over images, or half of it.",
        "Theory",
        choices=LINEAR_LOSSES,
    )
    fit: bool = option(False, "Find the number of steps that best explains each profile.", "Theory")
    label_correlation: bool = option(
        False, "Correlate each class with the images' mean projections on the components.", "Theory"
    )

    seed: int = option(0, "Seed of the bands and bootstraps.", "Run")

    def __post_init__(self) -> None:
        check_choices(self)
        parse_dataset(self.dataset)
        if self.image_size is not None and parse_image_size(self.image_size) is None:
            raise UsageError(f"image_size {self.image_size!r} is not a side or HxW")
        if [*self.files, self.basis].count("-") > 1:
            raise UsageError("'-' stands twice, but standard input can be read once")
        for name, least in (("kernel_size", 1), ("width", 1), ("draws", 20)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be >= {least}, got {value}")
        if self.units < 0:
            raise UsageError(f"units must be >= 0, got {self.units}")
        if self.steps is not None and not self.steps >= 0:
            raise UsageError(f"steps must be >= 0, got {self.steps}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise UsageError(f"lr must be finite and > 0, got {self.lr}")
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise UsageError(f"sigma must be finite and >= 0, got {self.sigma}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must be in [0, 2^32), got {self.seed}")
        if self.theory not in (None, "optimal") and self.steps is None and not self.fit:
            raise UsageError(f"--theory {self.theory} needs --steps, or --fit to find them")
        if self.fit and (self.theory in (None, "optimal") or not self.files):
            raise UsageError("--fit needs files, and --theory linear-gd, random-labels or patches")
        if not self.files and self.kernel_size is None and self.basis is None:
            raise UsageError("without files, --kernel-size says what patches the basis is of")
        if self.theory is None:
            self.refuse(("steps", "lr", "width", "sigma", "loss"), "without --theory")
        if self.theory == "optimal":
            self.refuse(("steps", "lr", "width", "loss"), "with --theory optimal")
        if not self.files and self.basis is not None:
            self.refuse(("kernel_size",), "with --basis")
        if self.basis is not None and not self.uses_labels:
            self.refuse(("classes",), "with --basis")

    @property
    def uses_labels(self) -> bool:
        """Whether images are needed beside their basis."""
        return self.theory is not None or self.label_correlation

    @property
    def dataset_name(self) -> str:
        """The data set without folders."""
        source, colon, path = self.dataset.partition(":")
        return source + colon + Path(path).name if colon else source

    def refuse(self, names: tuple[str, ...], why: str) -> None:
        """UsageError naming the first of these options that was set, although it has no effect."""
        for entry in fields(self):
            if entry.name in names and getattr(self, entry.name) != entry.default:
                raise UsageError(f"--{entry.name.replace('_', '-')} has no effect {why}", hint="leave it out")

    def portable(self) -> dict[str, Any]:
        """The configuration as a history entry keeps it: what can change a number, without folders."""
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}
        for name in ("files", "data_dir", "seed"):
            del values[name]
        basis = Path(self.basis).name if self.basis else None
        pixels = self.pixels or ("raw" if self.basis is None else None)
        return values | {"dataset": self.dataset_name, "basis": basis, "pixels": pixels}
