"""What decides a look at a network's weights, with the defaults and the help. No torch here."""

import math
from dataclasses import dataclass

from lcstool.choices import PRUNE_SCOPES, STORAGES
from lcstool.errors import UsageError
from lcstool.options import (
    Config,
    data_dir_option,
    dataset_option,
    device_option,
    files_argument,
    option,
    seed_option,
)
from lcstool.parsing import parse_input_shape


@dataclass(frozen=True, kw_only=True)
class PruneStatsConfig(Config):
    """One look. The same fields as the flags of `lcstool prune-stats`; `files` is its argument."""

    files: tuple[str, ...] = files_argument("Networks, or snapshots of one.")
    input: str | None = option(
        None, "For a state dict lcstool did not write: the shape of its images, CxHxW.", "Network"
    )

    locality: bool = option(True, "Measure locality where a layer's input grid is known.", "Locality")
    units: int = option(
        2048, "Most units of a layer that locality is measured on; 0 for all.", "Locality", at_least=0
    )
    draws: int = option(5, "Shuffles behind each null.", "Locality", at_least=1)
    discover: bool = option(
        False,
        "Re-derive the pixels' arrangement from which share units; always done for --permute-pixels networks.",
        "Locality",
    )

    accuracy: bool = option(
        False,
        "Measure the test accuracy on the data set that the network was trained on, of embedded networks also with "
        "weights masked; check --compact on its images.",
        "Accuracy",
    )
    dataset: str | None = dataset_option("Accuracy", "The same on this data set.")
    data_dir: str | None = data_dir_option("Accuracy")

    prune: str | None = option(
        None,
        "Prune the smallest weights first: magnitude:0.9 for 90 % of them, a half of a weight rounded to even; of "
        "equal ones the first.",
        "Pruning",
    )
    scope: str = option(
        "global", "Prune over all layers together or each layer apart.", "Pruning", choices=PRUNE_SCOPES
    )
    layers: tuple[str, ...] = option(
        (), "Layers to prune, by name or pattern; may be repeated [default: all].", "Pruning"
    )
    threshold: float | None = option(None, "Prune every weight of smaller magnitude.", "Pruning", at_least=0)
    compact: bool = option(
        False,
        "Drop dead and silent units (whole channels, where an image must stay one), and check that the function "
        "did not change.",
        "Pruning",
    )
    storage: str | None = option(
        None,
        "How pruned weights are stored: csr keeps what is not zero, auto the smaller [default: as they were].",
        "Pruning",
        choices=STORAGES,
    )

    seed: int = seed_option("Run", "Seed of the nulls, the examples shown and the check's random images.")
    device: str = device_option("Run", ", for accuracies")

    def check(self) -> None:
        self.prune_fraction()
        self.input_shape()
        if self.prune is not None and self.threshold is not None:
            raise UsageError("--prune and --threshold are two ways of saying the same; give one")
        if self.storage is not None and not self.writes_model():
            raise UsageError(
                "--storage says how a pruned network is stored; add --prune, --threshold or --compact"
            )
        if self.writes_model() and len(self.files) > 1:
            raise UsageError(f"one network is pruned at a time, got {len(self.files)} files")
        if self.layers and self.prune is None and self.threshold is None:
            raise UsageError("--layers names the layers to prune; add --prune or --threshold")

    @property
    def uses_images(self) -> bool:
        """Whether any image is looked at."""
        return self.accuracy or self.dataset is not None

    def writes_model(self) -> bool:
        """Whether the result is a network rather than a look at one."""
        return self.prune is not None or self.threshold is not None or self.compact

    def deciding(self) -> set[str]:
        """The options that decide what is written: those that its history entry records."""
        if not self.writes_model():
            return {"input", "locality", "discover", "accuracy", "dataset"} | (
                {"units", "draws"} if self.locality else set()
            )
        names = {"prune", "threshold", "layers", "compact", "storage"}
        return (
            names
            | ({"scope"} if self.prune else set())
            | ({"accuracy", "dataset"} if self.compact else set())
        )

    def prune_fraction(self) -> float | None:
        """The share to prune, from `magnitude:SHARE`."""
        if self.prune is None:
            return None
        method, colon, share = self.prune.partition(":")
        try:
            fraction = float(share) if colon and method == "magnitude" else math.nan
        except ValueError:
            fraction = math.nan
        if not 0 <= fraction <= 1:
            raise UsageError(
                f"prune {self.prune!r} is not of the form magnitude:SHARE, 0 to 1",
                hint="--prune magnitude:0.9",
            )
        return fraction

    def input_shape(self) -> tuple[int, int, int] | None:
        """`input` as channels, height, width."""
        return parse_input_shape(self.input) if self.input is not None else None
