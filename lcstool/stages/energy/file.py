"""A file of kind `profile`: the energies of every filter along the components, and which basis they refer to."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header, all_finite, write_checkpoint
from lcstool.energy import Band, EnergyProfile
from lcstool.errors import BadInputError
from lcstool.record import Entry
from lcstool.stages.energy.result import BankProfile, EnergyResult

PROFILE = "profile"


def is_profile(checkpoint: Checkpoint) -> bool:
    return checkpoint.header is not None and checkpoint.header.kind == PROFILE


def write_profiles(out: str, result: EnergyResult, entry: Entry) -> None:
    """Write what was measured; the history entry describes the banks.

    Tensors: `N/projections` (M, D) for bank N, `N/positions` and `N/noise` if it has them, and once for all banks
    `correlation`, `eigenvalues`, `label_correlation` and `theory`.
    """
    write_checkpoint(out, Header(kind=PROFILE, history=(entry,)), _tensors(result))


def _tensors(result: EnergyResult) -> dict[str, Tensor]:
    found = {"correlation": result.correlation_RR}
    for index, bank in enumerate(result.banks):
        found[f"{index}/projections"] = bank.profile.projections_MD.contiguous()
        if bank.profile.noise_DD is not None:
            found[f"{index}/noise"] = bank.profile.noise_DD
        if bank.positions_PQD is not None:
            found[f"{index}/positions"] = bank.positions_PQD.contiguous()
    if result.basis is not None:
        found["eigenvalues"] = result.basis.eigenvalues_D
    if result.labels_LD is not None:
        found["label_correlation"] = result.labels_LD
    if result.theory is not None and result.theory.energy_D is not None:
        found["theory"] = result.theory.energy_D
    return found


def read_profiles(checkpoint: Checkpoint) -> tuple[BankProfile, ...]:
    """Read the profiles of such a file.

    Raises:
        BadInputError: the header and the tensors do not agree.
    """
    header = checkpoint.require_kind(PROFILE)
    where = checkpoint.where
    try:
        entry = header.history[-1]
        described = [_described(bank, entry["config"]) for bank in entry["metrics"]["banks"]]
    except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadInputError(f"{where}: the header does not describe its profiles: {error}") from None
    banks = []
    for index, (basis, fields) in enumerate(described):
        name = f"{index}/projections"
        if name not in checkpoint.tensors or len(checkpoint.tensors[name].shape) != 2:
            raise BadInputError(
                f"{where} describes {len(described)} profiles, but has no fit tensor {name!r}"
            )
        projections_MD = _finite(checkpoint, name, (None, None))
        size = projections_MD.shape[1]
        noise_DD = positions_PQD = None
        if f"{index}/noise" in checkpoint.tensors:
            noise_DD = _finite(checkpoint, f"{index}/noise", (size, size))
        if f"{index}/positions" in checkpoint.tensors:
            positions_PQD = _finite(checkpoint, f"{index}/positions", (None, None, size))
        profile = EnergyProfile(
            projections_MD=projections_MD,
            basis=basis,
            unit=fields["normalise"] == "profile",
            noise_DD=noise_DD,
        )
        banks.append(BankProfile(profile=profile, positions_PQD=positions_PQD, **fields))
    if not banks:
        raise BadInputError(f"{where} holds no profiles")
    return tuple(banks)


def _described(bank: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The digest of a bank's basis, and the fields of its BankProfile."""
    own_init, random = bank.get("r_own_init"), bank.get("r_random_init")
    if random is not None:
        numbers = {name: float(random[name]) for name in ("mean", "sd", "low", "high")}
        random = Band(**numbers, num_draws=int(random["num_draws"]))
    own_init = None if own_init is None else float(own_init)
    if not all(map(math.isfinite, [own_init or 0, *(asdict(random).values() if random else ())])):
        raise ValueError("a correlation is not finite")
    return str(bank["basis"]), {
        "where": str(bank["file"]),
        "layer": str(bank["layer"]),
        "kind": str(bank["kind"]),
        "num_units": int(bank["num_units"]),
        "random": random,
        "initial_r": own_init,
        "normalise": str(bank.get("normalise", config["normalise"])),
        "subtract_initial": bool(bank.get("subtract_initial", config["subtract_initial"])),
    }


def _finite(checkpoint: Checkpoint, name: str, shape: tuple[int | None, ...]) -> Tensor:
    """A tensor of this shape, None standing for any size; BadInputError for another shape or non-finite values."""
    found = checkpoint.tensors[name].shape
    if len(found) != len(shape) or any(
        want not in (None, have) for want, have in zip(shape, found, strict=True)
    ):
        raise BadInputError(f"{checkpoint.where}: tensor {name!r} has shape {list(found)}")
    tensor = checkpoint[name].double()
    if not tensor.numel() or not all_finite(tensor):
        raise BadInputError(
            f"{checkpoint.where}: tensor {name!r} is empty or holds values that are not finite"
        )
    return tensor
