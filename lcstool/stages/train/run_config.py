"""Options of a training run that say how it uses devices and files, not what it computes. No torch here."""

from dataclasses import dataclass

from lcstool.choices import STORAGES, WHEN
from lcstool.options import Config, data_dir_option, device_option, option

_PANEL = "Run"


@dataclass(frozen=True, kw_only=True)
class RunOptions(Config):
    """How a run uses its devices and files; a resumed run may change any of it."""

    device: str = device_option(_PANEL)
    data_dir: str | None = data_dir_option(_PANEL)
    save_interval: float = option(
        60.0,
        "Seconds between saves of the state that --resume goes on from.",
        _PANEL,
        at_least=0,
        recorded=False,
    )
    storage: str = option(
        "dense",
        "How weights are stored. csr: the non-zero ones only (compressed sparse rows); auto: the smaller of both.",
        _PANEL,
        choices=STORAGES,
        recorded=False,
    )
    graph: str = option(
        "auto",
        "On a GPU, record a training step in a CUDA graph and replay it. auto: if that makes the run faster.",
        _PANEL,
        choices=WHEN,
        recorded=False,
    )
    shard: str = option(
        "auto",
        "Split parameters and optimizer state over torchrun's processes. auto: if one device has too little memory.",
        _PANEL,
        choices=WHEN,
        recorded=False,
    )
