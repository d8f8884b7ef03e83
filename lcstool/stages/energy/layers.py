"""Find the first layer in any network's file: from its architecture, or else from tensor shapes and names."""

import math
from dataclasses import dataclass

from lcstool.checkpoint import Checkpoint
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import WEIGHT_LAYERS
from lcstool.weights import WeightTensor, find_weights
from lcstool.weights.tensors import natural_key


@dataclass(frozen=True)
class FirstLayer:
    """The layer of a file that is measured; its weights are not read yet.

    Attributes:
        weight: The layer's weights.
        spec: The network, if the file says what it is.
    """

    weight: WeightTensor
    spec: ModelSpec | None

    @property
    def name(self) -> str:
        """File and layer, for errors."""
        return f"{self.weight.checkpoint.where}: {self.weight.layer}"

    @property
    def kernel_size(self) -> tuple[int, int] | None:
        """Rows and columns of its filters, or of those of the convolution it was made from; None if unknown."""
        if self.weight.kind != "fc":
            return self.weight.shape[-2], self.weight.shape[-1]
        return self.weight.geometry.kernel_size if self.weight.geometry else None


def find_first_layer(
    checkpoint: Checkpoint, channels: int, image: tuple[int, int] | None, layer: str | None
) -> FirstLayer:
    """The layer of a network that sees the images.

    Args:
        checkpoint: A file of any network.
        channels: Channels of the images.
        image: Height and width of the images, if known; a dense layer with that many inputs may be the first.
        layer: The layer's name, or None to find it.

    Raises:
        BadInputError: no such layer, none that fits, several that fit in no known order, or a layer that has no filters
            on images.
    """
    header = checkpoint.header
    if header is not None and header.kind != "model":
        raise BadInputError(f"{checkpoint.where} is of kind {header.kind!r}; expected 'model' or 'profile'")
    spec = None
    if header is not None and header.model is not None:
        spec = ModelSpec.from_json(header.model, checkpoint.where)
    weights = find_weights(checkpoint)
    if layer is None:
        found = FirstLayer(_from_architecture(weights, spec) or _by_shape(weights, channels, image), spec)
    else:
        named = next((weight for weight in weights if weight.layer == layer), None)
        if named is None:
            names = ", ".join(weight.layer for weight in weights)
            raise BadInputError(f"{checkpoint.where} has no layer {layer!r}; it has {names}")
        found = FirstLayer(named, spec)
    if found.weight.kind != "fc" and len(found.weight.shape) not in (4, 6):
        raise BadInputError(f"{found.name} of shape {list(found.weight.shape)} has no filters on images")
    return found


def _from_architecture(weights: list[WeightTensor], spec: ModelSpec | None) -> WeightTensor | None:
    if spec is None:
        return None
    modules = empty_model(spec).named_modules()
    first = next(name for name, module in modules if isinstance(module, WEIGHT_LAYERS))
    return next((weight for weight in weights if weight.layer == first), None)


def _by_shape(weights: list[WeightTensor], channels: int, image: tuple[int, int] | None) -> WeightTensor:
    """The layer whose filters have the images' channels; if there is none, the dense one with an image's inputs."""
    fitting = [
        weight
        for weight in weights
        if (weight.kind == "conv" and len(weight.shape) == 4 and weight.shape[1] == channels)
        or (weight.is_local and weight.shape[3] == channels)
    ]
    if not fitting and image is not None:
        inputs = channels * math.prod(image)
        fitting = [weight for weight in weights if weight.kind == "fc" and weight.fan_in == inputs]
    where = weights[0].checkpoint.where
    if not fitting:
        shapes = ", ".join(f"{weight.layer} {list(weight.shape)}" for weight in weights[:6])
        raise BadInputError(
            f"{where}: no layer looks like a first layer on {channels}-channel images; it has {shapes}",
            hint="name it with --layer",
        )
    first, *others = fitting
    if not all(_comes_before(first.name, other.name) for other in others):
        shapes = ", ".join(f"{weight.layer} {list(weight.shape)}" for weight in fitting[:6])
        raise BadInputError(
            f"{where}: {len(fitting)} layers could be the first on {channels}-channel images: {shapes}",
            hint="name it with --layer",
        )
    return first


def _comes_before(first: str, other: str) -> bool:
    """Whether the names say so: where they first differ, both have a number, and the first one's is smaller."""
    parts = zip(natural_key(first), natural_key(other), strict=False)
    number, other_number = next((a[0], b[0]) for a, b in parts if a != b)
    return 0 <= number < other_number
