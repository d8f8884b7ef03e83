"""Measured profiles as a file of kind `profile`: the energies of every filter, and the basis they were taken in."""

from typing import TYPE_CHECKING

from torch import Tensor

from lcstool.checkpoint import Checkpoint, all_finite
from lcstool.energy import EnergyProfile
from lcstool.errors import BadInputError
from lcstool.stages.energy.measure import BankProfile

if TYPE_CHECKING:
    from lcstool.stages.energy.stage import EnergyResult

PROFILE = "profile"


def profile_tensors(result: "EnergyResult") -> dict[str, Tensor]:
    """`N/projections` (M, D) for each bank, its positions where it has them, and what belongs to all."""
    found = {"correlation": result.correlation_RR}
    for index, bank in enumerate(result.banks):
        found[f"{index}/projections"] = bank.profile.projections_MD.contiguous()
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
    """The profiles of such a file.

    Raises:
        BadInputError: the description and the tensors do not agree.
    """
    header = checkpoint.require_kind(PROFILE)
    where = checkpoint.where
    try:
        metrics = header.history[-1]["metrics"]["banks"]
        unit = header.history[-1]["config"]["normalise"] == "profile"
        described = [
            (str(b["file"]), str(b["layer"]), str(b["kind"]), int(b["num_units"]), str(b["basis"]))
            for b in metrics
        ]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{where}: the header does not describe its profiles: {error}") from None
    banks = []
    for index, (file, layer, kind, num_units, basis) in enumerate(described):
        name = f"{index}/projections"
        if name not in checkpoint.tensors or len(checkpoint.tensors[name].shape) != 2:
            raise BadInputError(
                f"{where} describes {len(described)} profiles, but has no fit tensor {name!r}"
            )
        projections_MD = checkpoint[name].double()
        if not len(projections_MD) or not all_finite(projections_MD):
            raise BadInputError(f"{where}: tensor {name!r} is empty or holds values that are not finite")
        banks.append(BankProfile(file, layer, kind, num_units, EnergyProfile(projections_MD, basis, unit)))
    if not banks:
        raise BadInputError(f"{where} holds no profiles")
    return tuple(banks)
