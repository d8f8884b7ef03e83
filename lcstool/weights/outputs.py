"""How many classes a network tells apart, from the shapes and names of its weights alone."""

import re
from collections.abc import Sequence

from lcstool.errors import BadInputError
from lcstool.weights.compositions import name_parts
from lcstool.weights.tensors import WeightTensor

#: What the last layer of a classifier is called.
_HEAD = re.compile(
    r"(last_?|final_?)?(fc|linear|dense|classifier|heads?|out|output|logits|predictions|score)(_?\d+)?", re.I
)
#: Weights whose outputs the network itself takes: of recurrent layers, and of the inputs of attention.
_INNER = re.compile(r"weight_(ih|hh|hr)_l\d+(_reverse)?|in_proj_weight")


def num_classes(weights: Sequence[WeightTensor]) -> int:
    """The width of the layer whose output no other layer takes.

    Args:
        weights: Of all layers of a network.

    Raises:
        BadInputError: the shapes leave several widths, and no name says which layer is the last; or shapes and names
            contradict each other.
    """
    layers = [
        weight for weight in weights if weight.shape[0] and not _INNER.fullmatch(name_parts(weight.name)[-1])
    ]
    free = [
        weight
        for weight in layers
        if not any(_takes(other, weight) for other in weights if other is not weight)
    ]
    heads = {weight.num_outputs for weight in layers if _is_head(weight)}
    widths, named = ({weight.num_outputs for weight in own} for own in (free, filter(_is_head, free)))
    if len(widths) == 1 and (not heads or widths <= heads):
        return widths.pop()
    for found in (named, heads):
        if len(found) == 1 and (widths <= heads or len(widths) > 1 or not widths):
            return found.pop()
    where = weights[0].checkpoint.where
    shown = ", ".join(f"{weight.layer} {weight.num_outputs}" for weight in free[:6]) or "none"
    raise BadInputError(
        f"{where}: nothing says which layer is the last, so the number of classes is not known; layers whose output no "
        f"other layer takes, with their widths: {shown}",
        hint="say it with --num-classes",
    )


def _takes(consumer: WeightTensor, producer: WeightTensor) -> bool:
    """Whether the inputs of one layer may be the outputs of another: as many, or so many maps laid out flat.

    A convolution takes no dense layer's output, which is no image, unless that layer stands in a convolution's place.
    """
    width = producer.num_outputs
    if consumer.kind == "fc" and consumer.geometry is None:
        return consumer.fan_in == width or (len(producer.shape) > 2 and consumer.fan_in % width == 0)
    if producer.kind == "fc":
        is_image = producer.geometry is not None and consumer.geometry is not None
        return is_image and producer.geometry.out_shape == consumer.geometry.in_shape  # type: ignore[union-attr]
    channels = consumer.geometry.in_shape[0] if consumer.geometry is not None else consumer.shape[1]
    return channels == width or (channels == 1 and consumer.shape[0] == width and producer.shape[1] != 1)


def _is_head(weight: WeightTensor) -> bool:
    parts = [part for part in name_parts(weight.layer) if not part.isdecimal()]
    return bool(parts) and _HEAD.fullmatch(parts[-1]) is not None
