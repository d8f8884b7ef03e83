"""The weights of any file of tensors as its network applies them: which they are, how many, and which to prune."""

from lcstool.weights.counts import LayerCounts, count_layer
from lcstool.weights.effective import EffectiveCheckpoint, as_used
from lcstool.weights.outputs import num_classes
from lcstool.weights.roles import Roles, require_floating, roles_of
from lcstool.weights.tensors import WeightTensor, find_weights

__all__ = [
    "EffectiveCheckpoint",
    "LayerCounts",
    "Roles",
    "WeightTensor",
    "as_used",
    "count_layer",
    "find_weights",
    "num_classes",
    "require_floating",
    "roles_of",
]
