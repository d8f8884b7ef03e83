"""The weights of any safetensors file, a block of rows at a time: which they are, how many, and which to prune."""

from lcstool.weights.counts import LayerCounts, count_layer
from lcstool.weights.tensors import WeightTensor, find_weights

__all__ = ["LayerCounts", "WeightTensor", "count_layer", "find_weights"]
