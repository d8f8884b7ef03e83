"""What a stage writes of itself into the history of its file, and what later stages read there.

One entry a stage, oldest first: its name, its configuration, the seed if it drew anything, the versions of the
software, content digests of what it read, and its headline metrics. No clock, host, user or folder: equal runs give
equal bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcstool.choices import LOSSES
from lcstool.data import short_name
from lcstool.options import Config

if TYPE_CHECKING:
    from lcstool.checkpoint import Checkpoint

Entry = dict[str, Any]


def history_entry(
    stage: str,
    config: Mapping[str, Any],
    *,
    inputs: Mapping[str, str],
    metrics: Mapping[str, Any],
    seed: int | None = None,
    **more: Any,
) -> Entry:
    """A history entry.

    Args:
        stage: The stage's name.
        config: As `portable_config` gives it.
        inputs: Content digests by role.
        metrics: What was found, with units in the names.
        seed: Of what the stage drew; None for a stage that draws nothing, whose entry then says nothing of a seed.
        more: Further fields of this stage's entries.
    """
    made: Entry = {"stage": stage, "config": dict(config), "versions": versions()}
    made |= {"inputs": dict(inputs), "metrics": dict(metrics), **more}
    return made if seed is None else made | {"seed": seed}


def portable_config(config: Config, names: Iterable[str] | None = None) -> Entry:
    """A configuration as a history entry keeps it: what can change a result, without folders.

    Args:
        config: Of a stage; its fields say whether they are kept (`option(recorded=...)`).
        names: Keep these fields only.
    """
    kept: Entry = {}
    wanted = None if names is None else set(names)
    for own in fields(config):
        how, value = own.metadata["recorded"], getattr(config, own.name)
        is_default = own.metadata["recorded_if_set"] and value == own.default
        if not how or is_default or (wanted is not None and own.name not in wanted):
            continue
        if how == "dataset":
            value = None if value is None else short_name(value)
        elif how == "name":
            value = file_name(value)
        kept[own.name] = list(value) if isinstance(value, tuple) else value
    return kept


def file_name(file: str | None) -> str | None:
    """The last part of a path; standard input by its name."""
    return "standard input" if file == "-" else Path(file).name if file else None


def numbered_digests(checkpoints: "Sequence[Checkpoint]") -> dict[str, str]:
    """Digests of several files, by their place and name: two may have one name."""
    return {f"{index}: {Path(c.where).name}": c.digest() for index, c in enumerate(checkpoints)}


def versions() -> dict[str, str]:
    """The software that made an entry."""
    import torch

    from lcstool import __version__

    return {"lcstool": __version__, "torch": torch.__version__}


def last_training(history: Sequence[Entry]) -> Entry | None:
    """The entry of the last training in a history; None if there is none."""
    return next((own for own in reversed(history) if own["stage"] == "train"), None)


def trained_loss(history: Sequence[Entry]) -> str:
    """The loss that a network was last trained by; cross-entropy where its history does not say."""
    config = (last_training(history) or {}).get("config")
    loss = config.get("loss") if isinstance(config, dict) else None
    return loss if loss in LOSSES else "cross-entropy"
