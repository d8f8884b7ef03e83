"""The fields of a training run that belong to linear convolutional networks (`--arch lcn`) alone. No torch here."""

import math
from dataclasses import dataclass, fields

from lcstool.errors import UsageError
from lcstool.options import option
from lcstool.parsing import parse_architecture, parse_filter

LCN = "lcn"
METHODS = ("descent", "flow")
_PANEL = "Linear convolutional network (--arch lcn)"


@dataclass(frozen=True, kw_only=True)
class LcnOptions:
    """What a run of linear convolutional networks needs beside the seed, the learning rate and the training size."""

    kernels: str | None = option(None, "Kernel size of each layer: 3,2,2.", _PANEL, unsaid_default=True)
    strides: str | None = option(None, "Stride of each layer [default: all 1].", _PANEL, unsaid_default=True)
    target: str | None = option(
        None, "The filter to learn, highest power of x first: 1,0.3,1.", _PANEL, unsaid_default=True
    )
    regression: str | None = option(
        None,
        "Instead: an npz file of inputs x (samples, length) and targets y (samples, outputs).",
        _PANEL,
        path=True,
        unsaid_default=True,
    )
    noise: float = option(
        0.0,
        "Standard deviation of the targets' noise; needs --train-size, random inputs instead of all.",
        _PANEL,
        unsaid_default=True,
    )
    runs: int = option(1, "Initialisations trained side by side.", _PANEL, unsaid_default=True)
    init_scale: float = option(1.0, "Standard deviation of the initial entries.", _PANEL, unsaid_default=True)
    method: str = option(
        "descent",
        "Gradient descent, or gradient flow by an adaptive integrator.",
        _PANEL,
        choices=METHODS,
        unsaid_default=True,
    )
    steps: int = option(200_000, "Most steps of a run; converged ones stop.", _PANEL, unsaid_default=True)

    def check_lcn(self, is_lcn: bool) -> None:
        """UsageError where a field is wrong, or given for another architecture."""
        given = [entry.name for entry in fields(LcnOptions) if getattr(self, entry.name) != entry.default]
        if not is_lcn:
            if given:
                raise UsageError(f"{given[0]} is for linear convolutional networks", hint="add --arch lcn")
            return
        if self.kernels is None:
            raise UsageError("--arch lcn needs the layers' kernel sizes", hint="--kernels 2,2")
        parse_architecture(self.kernels, self.strides)
        if self.target is not None:
            parse_filter(self.target, "target")
        if (self.target is None) == (self.regression is None):
            raise UsageError("--arch lcn learns a filter: give one of --target and --regression")
        for name in ("runs", "steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise UsageError(f"noise must be finite and >= 0, got {self.noise}")
        if not (math.isfinite(self.init_scale) and self.init_scale > 0):
            raise UsageError(f"init_scale must be finite and > 0, got {self.init_scale}")
