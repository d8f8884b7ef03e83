"""Paths between networks: points in weight space, run and trained together, and averages of outputs."""

from lcstool.paths.blend import Blend, curvilinear_path, linear_path, positions
from lcstool.paths.forward import BatchedNetwork
from lcstool.paths.norms import reestimate_norms
from lcstool.paths.points import Points, path_length, straight_length
from lcstool.paths.score import barrier, best_point, score_outputs, score_points
from lcstool.paths.string import StringOptions, string_step, train_string_epoch

__all__ = [
    "BatchedNetwork",
    "Blend",
    "Points",
    "StringOptions",
    "barrier",
    "best_point",
    "curvilinear_path",
    "linear_path",
    "path_length",
    "positions",
    "reestimate_norms",
    "score_outputs",
    "score_points",
    "straight_length",
    "string_step",
    "train_string_epoch",
]
