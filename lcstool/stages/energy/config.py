"""The options of a measurement of energy profiles, with the defaults and the help. No torch here."""

from dataclasses import dataclass

from lcstool.choices import LINEAR_LOSSES, PATCH_PIXELS, PROFILE_SCALES, THEORIES
from lcstool.errors import UsageError
from lcstool.options import (
    Config,
    data_dir_option,
    dataset_option,
    files_argument,
    key_option,
    model_option,
    option,
    seed_option,
)
from lcstool.parsing import parse_image_size


@dataclass(frozen=True, kw_only=True)
class EnergyConfig(Config):
    """One measurement. The same fields as the flags of `lcstool energy`; `files` is its argument."""

    files: tuple[str, ...] = files_argument(
        "Networks of any program, or profiles already measured.", optional=True
    )
    model: str | None = model_option("Network")
    key: str | None = key_option("Network")
    layer: str | None = option(
        None,
        "The layer to measure [default: the first of the network; if the file does not tell the architecture, the "
        "layer whose weights have as many channels as the images].",
        "Network",
    )
    kernel_size: int | None = option(
        None,
        "Side of the patches in pixels. It is needed without networks, and for dense layers, which have no filters of "
        "their own [default: that of the basis, or of the first file's filters].",
        "Network",
        at_least=1,
    )

    dataset: str | None = dataset_option(
        "Basis",
        "Data set. The basis is computed from patches of its training images, unless --basis is given; --theory and "
        "--label-correlation use its labels [default: the one that the networks were trained on or the basis was "
        "computed from; else leaves].",
    )
    image_size: str | None = option(
        None,
        "Size of the images: side in pixels, or HxW [default: that of the networks, or of the data set].",
        "Basis",
    )
    classes: tuple[str, ...] = option(
        (), "Use only these classes, by number or name, joined by commas (3,5) or repeated.", "Basis"
    )
    data_dir: str | None = data_dir_option("Basis")
    pixels: str | None = option(
        None,
        "raw: pixels from 0 to 1; channel: each channel has mean 0 and standard deviation 1 [default: raw, or as in "
        "--basis].",
        "Basis",
        choices=PATCH_PIXELS,
    )
    basis: str | None = option(
        None, "Read the basis from this file instead of computing it.", "Basis", recorded="name"
    )

    normalise: str = option(
        "none",
        "Scale to length 1: nothing (none), each filter (filters) or the whole profile (profile).",
        "Profile",
        choices=PROFILE_SCALES,
    )
    subtract_initial: bool = option(
        False,
        "First subtract the filters before training, which the file's history must tell. The column 'r with own "
        "init' is then the correlation of the change with these filters.",
        "Profile",
    )
    draws: int = option(
        2000,
        "Random draws for each interval: pairs of random sets of filters; at most 500 random initialisations and 1000 "
        "bootstrap samples.",
        "Profile",
        at_least=20,
    )
    units: int = option(
        512,
        "Measure at most this many units of a dense layer, drawn at random; 0 for all.",
        "Profile",
        at_least=0,
        recorded=False,
    )

    theory: str | None = option(
        None,
        "Predict the profile of a linear CNN on this data set: after gradient descent (linear-gd), for the best "
        "filters (optimal), or after gradient descent with random labels (random-labels; patches: the same from "
        "single patches instead of the mean patch of each image).",
        "Theory",
        choices=THEORIES,
    )
    steps: float | None = option(None, "Number of gradient steps that the linear CNN takes.", "Theory")
    lr: float = option(0.01, "Learning rate of the linear CNN.", "Theory", above=0)
    width: int | None = option(
        None,
        "Number of filters of the linear CNN [default: as in the first file, or 1].",
        "Theory",
        at_least=1,
    )
    sigma: float | None = option(
        None,
        "Standard deviation of the linear CNN's initial weights [default: torch's, 1/sqrt(3 fan-in)].",
        "Theory",
        at_least=0,
    )
    loss: str = option(
        "mean",
        "Loss of the linear CNN: the squared error averaged or summed over images, or half of it.",
        "Theory",
        choices=LINEAR_LOSSES,
    )
    fit: bool = option(
        False, "Find the number of steps at which the prediction fits each profile best.", "Theory"
    )
    label_correlation: bool = option(
        False,
        "For each class and component: correlate whether an image is of the class with the projection of its mean "
        "patch on the component.",
        "Theory",
    )

    seed: int = seed_option("Run", "Seed of the random draws.")

    def check(self) -> None:
        if self.image_size is not None and parse_image_size(self.image_size) is None:
            raise UsageError(f"image_size {self.image_size!r} is not a side or HxW")
        if "-" in self.files and self.basis == "-":
            raise UsageError("'-' stands twice, but standard input can be read once")
        if self.steps is not None and not self.steps >= 0:  # may be infinite
            raise UsageError(f"steps must be >= 0, got {self.steps}")
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
