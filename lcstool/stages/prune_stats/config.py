"""What decides a look at a network's weights, with the defaults and the help. No torch here."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcstool.data import parse_dataset
from lcstool.errors import UsageError
from lcstool.options import STORAGES, check_choices, data_dir_option, option, parse_input_shape

SCOPES = ("global", "layer")


@dataclass(frozen=True)
class PruneStatsConfig:
    """One look. The same fields as the flags of `lcstool prune-stats`; `files` is its argument."""

    files: tuple[str, ...] = option((), "Networks, or snapshots of one.", "Network", argument=True)
    input: str | None = option(
        None, "For a state dict lcstool did not write: the shape of its images, CxHxW.", "Network"
    )

    locality: bool = option(True, "Measure locality where a layer's input grid is known.", "Locality")
    units: int = option(2048, "Most units of a layer that locality is measured on; 0 for all.", "Locality")
    draws: int = option(5, "Shuffles behind each null.", "Locality")
    discover: bool = option(
        False,
        "Re-derive the pixels' arrangement from which share units; always done for --permute-pixels networks.",
        "Locality",
    )

    dataset: str | None = option(
        None,
        "Measure the test accuracy on this data set, of embedded networks also with weights masked; the images "
        "on which --compact is checked.",
        "Accuracy",
        choices="datasets",
    )
    data_dir: str | None = data_dir_option("Accuracy")

    prune: str | None = option(
        None, "Prune the smallest weights first: magnitude:0.9 for 90 % of them.", "Pruning"
    )
    scope: str = option(
        "global", "Prune over all layers together or each layer apart.", "Pruning", choices=SCOPES
    )
    layers: tuple[str, ...] = option(
        (), "Layers to prune, by name or pattern; may be repeated [default: all].", "Pruning"
    )
    threshold: float | None = option(None, "Prune every weight of smaller magnitude.", "Pruning")
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

    seed: int = option(0, "Seed of the nulls, the examples shown and the check's random images.", "Run")
    device: str = option("auto", "auto, cpu, cuda or cuda:i, for accuracies.", "Run")

    def __post_init__(self) -> None:
        check_choices(self)
        if self.dataset is not None:
            parse_dataset(self.dataset)
        self.prune_fraction()
        self.input_shape()
        if self.units < 0 or self.draws < 1:
            raise UsageError(f"units must be >= 0 and draws >= 1, got {self.units} and {self.draws}")
        if self.threshold is not None and not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise UsageError(f"threshold must be finite and >= 0, got {self.threshold}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must be in [0, 2^32), got {self.seed}")
        if self.prune is not None and self.threshold is not None:
            raise UsageError("--prune and --threshold are two ways of saying the same; give one")
        if self.storage is not None and not self.writes_model():
            raise UsageError(
                "--storage says how a pruned network is stored; add --prune, --threshold or --compact"
            )
        if self.files.count("-") > 1:
            raise UsageError("'-' stands twice, but standard input can be read once")
        if self.writes_model() and len(self.files) > 1:
            raise UsageError(f"one network is pruned at a time, got {len(self.files)} files")
        if self.layers and self.prune is None and self.threshold is None:
            raise UsageError("--layers names the layers to prune; add --prune or --threshold")

    def writes_model(self) -> bool:
        """Whether the result is a network rather than a look at one."""
        return self.prune is not None or self.threshold is not None or self.compact

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

    def portable(self) -> dict[str, Any]:
        """The configuration as a history entry keeps it: what can change a number, without folders."""
        fields = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}
        for name in ("files", "data_dir", "seed"):
            del fields[name]
        source, colon, path = (self.dataset or "").partition(":")
        return fields | {"dataset": (source + colon + Path(path).name if colon else source) or None}
