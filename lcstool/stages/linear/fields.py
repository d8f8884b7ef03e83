"""The fields that several `lcstool linear` configurations share. No torch here."""

from dataclasses import MISSING
from typing import Any

from lcstool.options import option


def kernels_option() -> Any:
    """The kernel sizes of the layers; must be given."""
    return option(
        MISSING, "Kernel sizes of the layers, in the order in which they are applied: 3,2,2.", "Network"
    )


def strides_option() -> Any:
    """The strides of the layers."""
    return option(None, "Stride of each layer: 2,1,1 [default: all 1].", "Network")


def target_option(default: Any, panel: str) -> Any:
    """The filter that networks learn."""
    return option(
        default,
        "The filter to learn, read as a polynomial with the highest power of x first: 1,0.3,1.",
        panel,
    )


def noise_option(default: float, panel: str) -> Any:
    """How exactly filters are known."""
    help = "Relative uncertainty of a filter; roots that may be equal within it count as one."
    return option(default, help, panel, at_least=0)


def starts_option(default: int, panel: str, help: str) -> Any:
    """How many random starts a search or a training has."""
    return option(default, help, panel, at_least=1)


def init_scale_option(panel: str) -> Any:
    """How large the initial entries of the layers are."""
    return option(1.0, "Standard deviation of the initial entries.", panel, above=0)
