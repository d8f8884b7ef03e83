"""Which layer of a network sees the images, told from the names and shapes of its weights alone.

They do not always tell. A layer that only may be the first is never taken for it: it is offered by name.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from lcstool.errors import BadInputError
from lcstool.weights import WeightTensor
from lcstool.weights.roles import layer_name
from lcstool.weights.tensors import natural_key

_SHOWN = 6  # candidates that an error lists
# Parts of names of networks that see an image in patches: none of their dense layers sees it whole.
_SEES_PATCHES = re.compile(r"patch|embed|token|atte?n|qkv|[qkv]_proj|mixer|mixing", re.IGNORECASE)
_PATCHES = re.compile(r"patch|embed", re.IGNORECASE)
_WORDS = re.compile(r"token|pos|word|text|vocab|label|class", re.IGNORECASE)


def first_by_shape(
    weights: Sequence[WeightTensor], channels: int, image: tuple[int, int] | None
) -> WeightTensor:
    """The layer whose filters have the images' channels; in a network of dense layers, that with an image's inputs.

    Args:
        weights: Of all layers of a network.
        channels: Channels of the images.
        image: Height and width of the images, if known.

    Raises:
        BadInputError: nothing fits, several layers may be the first, or the first has no filters on images.
    """
    filters = [weight for weight in weights if _in_channels(weight) == channels]
    films = [weight for weight in weights if len(weight.shape) == 5 and weight.shape[1] == channels]
    if channels == 1 and filters:  # each depthwise convolution looks like a layer on grey images
        _refuse_colour([weight for weight in weights if _in_channels(weight) == 3])
    if filters:
        later = [other for other in filters[1:] if _comes_after(other, filters[0], weights)]
        if films or len(later) < len(filters) - 1:
            raise _several([weight for weight in filters + films if weight not in later] + later, channels)
        _refuse_transposed(filters[0], weights)
        return filters[0]
    if films:
        raise _video(films[0])
    if image is not None:
        dense = _first_dense(weights, channels * math.prod(image))
        if dense is not None:
            return dense
    _refuse_patches(weights[0], channels)
    raise BadInputError(
        f"{weights[0].checkpoint.where}: no layer looks like a first layer on {channels}-channel images; it has "
        f"{_listed(sorted(_rare_first(weights), key=lambda weight: weight.kind == 'fc'))}",
        hint="name it with --layer",
    )


def _in_channels(weight: WeightTensor) -> int | None:
    """Channels of a filter on images (of one group); None for other layers."""
    if weight.is_local:
        return weight.shape[3]
    return weight.shape[1] if len(weight.shape) == 4 else None


def _comes_after(other: WeightTensor, first: WeightTensor, weights: Iterable[WeightTensor]) -> bool:
    """Whether a layer that could see the image comes after another one for certain, and does not see the image too.

    Numbers in their names give their order, and some convolution writes as many channels as it takes: otherwise they
    would come from the image. Layers of one kind (`embed.0.proj` and `embed.1.proj`) may be branches.
    """
    if not _is_numbered_before(first.layer, other.layer) or _are_alike(first.layer, other.layer):
        return False
    writers = [weight.num_outputs for weight in weights if weight is not other and weight.kind != "fc"]
    channels = _in_channels(other)
    if channels == 1:  # it may also be depthwise, with one or more filters for each channel
        return any(width and other.shape[0] % width == 0 for width in writers)
    return channels in writers


def _refuse_transposed(first: WeightTensor, weights: Iterable[WeightTensor]) -> None:
    """BadInputError for a filter that makes an image instead of seeing one, as the last of a generator does.

    Its bias is as long as its second axis, or the names put it after all other convolutions.
    """
    if first.is_local:
        return
    bias = first.checkpoint.tensors.get(f"{first.layer}.bias")
    outs, ins = first.shape[:2]
    is_turned = bias is not None and bias.shape == (ins,) and outs != ins
    others = [weight for weight in weights if weight is not first and weight.kind != "fc"]
    before = [_is_numbered_before(other.layer, first.layer) for other in others]
    after = [_is_numbered_before(first.layer, other.layer) for other in others]
    if is_turned or (any(before) and not any(after)):
        raise BadInputError(
            f"{first.checkpoint.where}: {first.layer} {list(first.shape)} looks like the last layer of a network that "
            "makes images (a transposed convolution), not like one that sees them",
            hint="name the first layer with --layer",
        )


def _are_alike(first: str, other: str) -> bool:
    """Whether two names differ only in numbers, and not only in the number at their end."""
    return _pattern(first) == _pattern(other) and not _pattern(first).endswith("#")


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _first_dense(weights: Sequence[WeightTensor], inputs: int) -> WeightTensor | None:
    """The dense layer that sees all pixels of an image, in a network that has only dense layers; None if unknown.

    Its inputs are written by no other layer, or its name comes before all the others'.
    """
    names = weights[0].checkpoint.tensors
    if any(weight.kind != "fc" for weight in weights) or any(map(_SEES_PATCHES.search, names)):
        return None
    fitting = [weight for weight in weights if weight.fan_in == inputs]
    unwritten = [
        weight
        for weight in fitting
        if not any(other.num_outputs == inputs for other in weights if other is not weight)
    ]
    if len(unwritten) == 1:
        (first,) = unwritten
        is_first = not any(_is_numbered_before(other.layer, first.layer) for other in weights)
        return first if is_first else None
    for weight in fitting:
        if all(_is_numbered_before(weight.layer, other.layer) for other in weights if other is not weight):
            return weight
    return None


def _is_numbered_before(first: str, other: str) -> bool:
    """Whether the names say so: where they first differ, both have a number, and the first one's is smaller."""
    parts = zip(natural_key(first), natural_key(other), strict=False)
    number, other_number = next(((a[0], b[0]) for a, b in parts if a != b), (-1, -1))
    return 0 <= number < other_number


def _several(candidates: Sequence[WeightTensor], channels: int) -> BadInputError:
    return BadInputError(
        f"{candidates[0].checkpoint.where}: {len(candidates)} layers could be the first on {channels}-channel images: "
        f"{_listed(_rare_first(candidates))}",
        hint="name it with --layer",
    )


def _rare_first(weights: Sequence[WeightTensor]) -> list[WeightTensor]:
    """Layers of which there are few of a kind come first: the first layer is one, depthwise convolutions are many."""
    patterns = Counter(_pattern(weight.layer) for weight in weights)
    return sorted(weights, key=lambda weight: patterns[_pattern(weight.layer)])


def _video(weight: WeightTensor) -> BadInputError:
    _, _, frames, height, width = weight.shape
    return BadInputError(
        f"{weight.checkpoint.where}: the first layer seems to be {_listed([weight])}, a convolution on video: "
        f"its filters are {frames}x{height}x{width} (frames, rows, columns)",
        hint="save its filters on one frame t, weight[:, :, t], as a weight of four axes and name it with --layer",
    )


def _refuse_colour(colour: Sequence[WeightTensor]) -> None:
    """BadInputError if there are filters on three channels, where the images are grey."""
    if colour:
        raise BadInputError(
            f"{colour[0].checkpoint.where}: the first layer seems to be {_listed(colour[:1])}, on images of 3 "
            "channels; the images here have 1",
            hint="measure it on colour images, or name another layer with --layer",
        )


def _refuse_patches(any_weight: WeightTensor, channels: int) -> None:
    """BadInputError if a dense layer on patches of the image stands in place of a convolution.

    Whether the numbers of a patch lie in the order (C, I, J) or (I, J, C) is not known, and both are in use.
    """
    checkpoint = any_weight.checkpoint
    for name, info in sorted(checkpoint.tensors.items(), key=lambda item: natural_key(item[0])):
        if len(info.shape) != 2 or not _PATCHES.search(name) or _WORDS.search(name):
            continue
        units, inputs = info.shape
        side = math.isqrt(inputs // channels)
        if side > 1 and channels * side**2 == inputs:
            raise BadInputError(
                f"{checkpoint.where}: the first layer seems to be {layer_name(name)} [{units}, {inputs}], a dense "
                f"layer on patches of {channels} channels by {side}x{side} pixels, in an order that nothing says",
                hint="save it as filters and name it with --layer; if channels come first, they are "
                f"weight.view(-1, {channels}, {side}, {side}), if they come last, "
                f"weight.view(-1, {side}, {side}, {channels}).permute(0, 3, 1, 2)",
            )


def _listed(weights: Sequence[WeightTensor]) -> str:
    shown = ", ".join(f"{weight.layer} {list(weight.shape)}" for weight in weights[:_SHOWN])
    return shown + (f" and {len(weights) - _SHOWN} more" if len(weights) > _SHOWN else "")
