"""Find the first layer in any network's file: from its architecture, or else from names and shapes."""

from dataclasses import dataclass

from lcstool.checkpoint import Checkpoint
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.wiring.entrance import weights_on_image
from lcstool.stages.energy.candidates import first_by_shape
from lcstool.weights import EffectiveCheckpoint, WeightTensor, find_weights


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
        found = FirstLayer(
            _from_architecture(weights, spec) or first_by_shape(weights, channels, image), spec
        )
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
    """The layer that sees the image when the network runs; BadInputError if there are several."""
    if spec is None:
        return None
    parameters = weights_on_image(empty_model(spec), spec.in_shape)
    seeing = [weight for weight in weights if not set(_stored_names(weight)).isdisjoint(parameters)]
    if len(seeing) > 1:
        names = ", ".join(f"{weight.layer} {list(weight.shape)}" for weight in seeing)
        raise BadInputError(
            f"{seeing[0].checkpoint.where}: {len(seeing)} layers of {spec.arch} see the image: {names}",
            hint="name one with --layer",
        )
    return seeing[0] if seeing else None


def _stored_names(weight: WeightTensor) -> tuple[str, ...]:
    """The tensors of the file that the weight is made of, and its own name."""
    checkpoint = weight.checkpoint
    stored = checkpoint.stored_names(weight.name) if isinstance(checkpoint, EffectiveCheckpoint) else ()
    return (weight.name, *stored)
