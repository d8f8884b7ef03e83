"""Is a layer local? Scores beside their nulls, pair counts by displacement, receptive fields, and the grid itself."""

from lcstool.locality.discovery import Discovery, discover_grid
from lcstool.locality.displacement import DisplacementMap, displacement_map
from lcstool.locality.receptive_field import ReceptiveField, receptive_fields
from lcstool.locality.scores import Locality, LocalityScores, measure_locality, units_on_grid
from lcstool.locality.shifts import ShiftMatch, shift_match

__all__ = [
    "Discovery",
    "DisplacementMap",
    "Locality",
    "LocalityScores",
    "ReceptiveField",
    "ShiftMatch",
    "discover_grid",
    "displacement_map",
    "measure_locality",
    "receptive_fields",
    "shift_match",
    "units_on_grid",
]
