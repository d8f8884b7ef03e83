"""Which kinds of layers have weights and which normalise, and how many parameters a network has."""

from dataclasses import dataclass

from torch import Tensor, nn

from lcstool.models.layers.local import LocallyConnected2d

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, LocallyConnected2d)
NORM_LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d)


def count_parameters(model: nn.Module) -> int:
    """The parameters as the papers count them: weights and biases, without batch norm's."""
    return sum(
        parameter.numel()
        for module in model.modules()
        if not isinstance(module, NORM_LAYERS)
        for parameter in module.parameters(recurse=False)
    )


@dataclass(frozen=True)
class WeightLayer:
    """A layer's weight, and whether the layer is a convolution or stands in the place of one."""

    weight: Tensor
    is_conv_like: bool


def weight_layers(model: nn.Module) -> dict[str, WeightLayer]:
    """The layers with a weight, by name, in forward order."""
    return {
        name: WeightLayer(module.weight, _layer_class(module) is not nn.Linear)
        for name, module in model.named_modules()
        if isinstance(module, WEIGHT_LAYERS)
    }


def _layer_class(module: nn.Module) -> type:
    """The layer's own class. On a layer whose weights are split over ranks, torch's fully_shard puts two more first."""
    return type(module).__mro__[2] if hasattr(module, "unshard") else type(module)
