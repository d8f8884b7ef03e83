"""What decides how a training run uses devices and files, and no number that it computes. No torch here."""

from dataclasses import dataclass

from lcstool.choices import STORAGES, WHEN
from lcstool.options import Config, option

_PANEL = "Run"


@dataclass(frozen=True, kw_only=True)
class RunOptions(Config):
    """How a run uses its GPUs, where `auto` is right for almost all, and its files."""

    storage: str = option(
        "dense",
        "How the network's weights are stored: csr keeps what is not zero, auto the smaller of both.",
        _PANEL,
        choices=STORAGES,
        recorded=False,
    )
    graph: str = option(
        "auto",
        "Capture the step in a CUDA graph and replay it; auto where the run gains from that.",
        _PANEL,
        choices=WHEN,
        recorded=False,
    )
    shard: str = option(
        "auto",
        "Split parameters and optimizer state over the ranks of torchrun; auto where one device has too little memory.",
        _PANEL,
        choices=WHEN,
        recorded=False,
    )
