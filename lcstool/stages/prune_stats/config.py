"""The options of a measurement or pruning of weights, with the defaults and the help. No torch here."""

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
    key_option,
    model_option,
    option,
    seed_option,
)
from lcstool.parsing import parse_input_shape


@dataclass(frozen=True, kw_only=True)
class PruneStatsConfig(Config):
    """One measurement or pruning. The same fields as the flags of `lcstool prune-stats`; `files` is its argument."""

    files: tuple[str, ...] = files_argument("Networks, or snapshots of one.")
    model: str | None = model_option("Network")
    key: str | None = key_option("Network")
    input: str | None = option(
        None, "For a state dict that lcstool did not write: the shape of its images, CxHxW.", "Network"
    )

    locality: bool = option(
        True,
        "Measure locality in every layer for which the file says where on the image its inputs lie.",
        "Locality",
    )
    units: int = option(
        2048, "Measure locality on at most this many units of a layer; 0 for all.", "Locality", at_least=0
    )
    draws: int = option(
        5, "Number of random shuffles for each null (what chance alone would give).", "Locality", at_least=1
    )
    discover: bool = option(
        False,
        "Arrange the pixels in a plane by how many units they share, and compare this with the image. Always done for "
        "networks trained with --permute-pixels.",
        "Locality",
    )

    accuracy: bool = option(
        False,
        "Measure the test accuracy on the data set that the network was trained on; for embedded networks also without "
        "local and without off-local weights. --compact is then checked on these images.",
        "Accuracy",
    )
    dataset: str | None = dataset_option("Accuracy", "The same as --accuracy, on this data set.")
    data_dir: str | None = data_dir_option("Accuracy")

    prune: str | None = option(
        None,
        "Set the weights of smallest magnitude to zero: magnitude:0.9 takes 90 % of them (rounded, halves to an even "
        "number). Of equal weights the first are taken.",
        "Pruning",
    )
    scope: str = option(
        "global",
        "Take the share of --prune from all layers together (global) or from each layer (layer).",
        "Pruning",
        choices=PRUNE_SCOPES,
    )
    layers: tuple[str, ...] = option(
        (), "Layers to prune, by name or pattern; may be repeated [default: all].", "Pruning"
    )
    threshold: float | None = option(
        None, "Set every weight of smaller magnitude than this to zero.", "Pruning", at_least=0
    )
    compact: bool = option(
        False,
        "Remove dead and silent units (only whole channels where the output of a layer must stay an image), and check "
        "that the network still computes the same function.",
        "Pruning",
    )
    storage: str | None = option(
        None,
        "How pruned weights are stored. csr: the non-zero ones only (compressed sparse rows); auto: the smaller of "
        "both [default: as they were].",
        "Pruning",
        choices=STORAGES,
    )

    seed: int = seed_option(
        "Run",
        "Seed of the shuffles, of the units shown in figures, and of the random images that --compact is checked on.",
    )
    device: str = device_option("Run", ", for measuring accuracy")

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
            return {"key", "input", "locality", "discover", "accuracy", "dataset"} | (
                {"units", "draws"} if self.locality else set()
            )
        names = {"prune", "threshold", "layers", "compact", "storage", "key"}
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
