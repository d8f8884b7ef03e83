"""What decides a measurement of energy profiles, with the defaults and the help. No torch here."""

from dataclasses import dataclass

from lcstool.choices import LINEAR_LOSSES, PATCH_PIXELS, PROFILE_SCALES, THEORIES
from lcstool.errors import UsageError
from lcstool.options import Config, data_dir_option, dataset_option, files_argument, option, seed_option
from lcstool.parsing import parse_image_size


@dataclass(frozen=True, kw_only=True)
class EnergyConfig(Config):
    """One measurement. The same fields as the flags of `lcstool energy`; `files` is its argument."""

    files: tuple[str, ...] = files_argument(
        "Networks, or profiles already measured. PyTorch's pickled .pth files are refused: convert "
        "them with safetensors.torch.save_file(torch.load(FILE, weights_only=True), OUT).",
        optional=True,
    )
    layer: str | None = option(
        None,
        "The layer to measure [default: the first by the architecture; if that is unknown, the one whose weights have "
        "the images' channels].",
        "Network",
    )
    kernel_size: int | None = option(
        None,
        "Side of the patches if no filters give it: of a basis without networks, and of dense layers [default: that of "
        "the basis, or of the first file's filters].",
        "Network",
        at_least=1,
    )

    dataset: str | None = dataset_option(
        "Basis",
        "Data set: patches of its training images give the basis, unless --basis does; theory and label correlations "
        "use its labels [default: what the networks were trained on, or the basis is of; else leaves].",
    )
    image_size: str | None = option(
        None,
        "Size of the images, a side or HxW [default: that of the networks, or the data set's own].",
        "Basis",
    )
    classes: tuple[str, ...] = option(
        (), "Keep only these classes, by number or name; may be repeated or joined by commas.", "Basis"
    )
    data_dir: str | None = data_dir_option("Basis")
    pixels: str | None = option(
        None,
        "raw: pixels from 0 to 1; channel: mean 0 and deviation 1 in each channel [default: raw, or the basis's].",
        "Basis",
        choices=PATCH_PIXELS,
    )
    basis: str | None = option(
        None, "Use the basis in this file instead of computing one.", "Basis", recorded="name"
    )

    normalise: str = option(
        "none", "Scale each filter, or each profile, to length 1.", "Profile", choices=PROFILE_SCALES
    )
    subtract_initial: bool = option(
        False,
        "Subtract the initial filters, which the file's history must give; r with own init is then that of the change.",
        "Profile",
    )
    draws: int = option(
        2000,
        "Random draws behind each interval: pairs of random banks; at most 500 random initialisations and 1000 "
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
        "Predict the profile of a linear CNN on this data set; patches: for random labels, from single patches instead "
        "of each image's mean patch.",
        "Theory",
        choices=THEORIES,
    )
    steps: float | None = option(None, "Gradient steps of the prediction.", "Theory")
    lr: float = option(0.01, "Learning rate of the prediction.", "Theory", above=0)
    width: int | None = option(
        None, "Filters of the linear CNN [default: as many as the first file, or 1].", "Theory", at_least=1
    )
    sigma: float | None = option(
        None,
        "Standard deviation of its initial weights [default: torch's, 1/sqrt(3 fan-in)].",
        "Theory",
        at_least=0,
    )
    loss: str = option(
        "mean",
        "Squared error, summed or averaged over images, or half of that.",
        "Theory",
        choices=LINEAR_LOSSES,
    )
    fit: bool = option(False, "Find the number of steps that fits each profile best.", "Theory")
    label_correlation: bool = option(
        False,
        "Correlate each class with the projections of the images' mean patches on the components.",
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
