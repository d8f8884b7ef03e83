"""The history entries of the files that the energy stage writes."""

from collections.abc import Sequence
from pathlib import Path

from lcstool.checkpoint import Checkpoint
from lcstool.data.stream import ImageStream
from lcstool.energy import PatchBasis
from lcstool.record import Entry, history_entry, numbered_digests, portable_config
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.result import EnergyResult

_OF_BASIS = ("layer", "kernel_size", "dataset", "image_size", "classes", "pixels", "basis")


def profile_entry(
    config: EnergyConfig,
    images: ImageStream | None,
    basis: PatchBasis | None,
    checkpoints: Sequence[Checkpoint],
    result: EnergyResult,
) -> Entry:
    """The entry of a file of profiles; its metrics describe the banks."""
    metrics = result.to_json()
    del metrics["schema"]
    for bank in metrics["banks"]:
        bank["file"] = Path(bank["file"]).name
    return history_entry(
        "energy",
        _settings(config, images),
        inputs=_digests(config, images, basis, checkpoints),
        metrics=metrics,
        seed=config.seed,
    )


def basis_entry(
    config: EnergyConfig, images: ImageStream | None, basis: PatchBasis, networks: Sequence[Checkpoint]
) -> Entry:
    """The entry of a file of a basis: only what decides a basis, and of a copy only the file it was copied from."""
    if config.basis is not None:
        settings, images, networks = portable_config(config, ["basis"]), None, ()
    else:
        settings = {name: value for name, value in _settings(config, images).items() if name in _OF_BASIS}
    return history_entry("energy", settings, inputs=_digests(config, images, basis, networks), metrics={})


def _settings(config: EnergyConfig, images: ImageStream | None) -> Entry:
    """The configuration as it took effect: the pixels of a given basis, and a data set not read, are left out."""
    settings = portable_config(config)
    settings["pixels"] = None if config.basis is not None else config.pixels or "raw"
    settings["dataset"] = images.name if images is not None else None
    settings["classes"] = list(images.classes) if images is not None else []
    return settings


def _digests(
    config: EnergyConfig,
    images: ImageStream | None,
    basis: PatchBasis | None,
    checkpoints: Sequence[Checkpoint],
) -> dict[str, str]:
    """Content digests of all that was read."""
    inputs = numbered_digests(checkpoints)
    if images is not None:
        inputs["dataset"] = images.digest
    if config.basis is not None and basis is not None:
        inputs["basis"] = basis.digest
    return inputs
