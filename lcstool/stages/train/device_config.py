"""The fields of a training run that say how devices are used. None of them changes what is computed. No torch here."""

from dataclasses import dataclass

from lcstool.options import option

WHEN = ("auto", "always", "never")
_PANEL = "Run"


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """How a run uses its GPUs; `auto` is right for almost all."""

    graph: str = option(
        "auto",
        "Capture the step in a CUDA graph and replay it; auto where the run gains from that.",
        _PANEL,
        choices=WHEN,
        unsaid_default=True,
    )
    shard: str = option(
        "auto",
        "Split parameters and optimizer state over the ranks of torchrun; auto where one device has too little memory.",
        _PANEL,
        choices=WHEN,
        unsaid_default=True,
    )
