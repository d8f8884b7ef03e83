"""Small networks of every family for tests, in float64, with batch norms that treat every unit differently."""

import torch
from torch import Tensor, nn

from lcstool.models import ModelSpec
from lcstool.models.layers.parameters import NORM_LAYERS

CHAINS = {
    "s-conv": ModelSpec(arch="s-conv", image=(12, 11), channels=3, classes=4, alpha=4),
    "s-local": ModelSpec(arch="s-local", image=(12, 11), channels=3, classes=4, alpha=4),
    "s-fc": ModelSpec(arch="s-fc", image=(12, 11), channels=3, classes=4, alpha=4),
    "3-fc": ModelSpec(arch="3-fc", image=(6, 5), channels=3, classes=4, width=20),
    "d-conv": ModelSpec(arch="d-conv", image=(8, 8), channels=3, classes=4, alpha=2),
    "d-local": ModelSpec(arch="d-local", image=(8, 8), channels=3, classes=4, alpha=2),
    "d-fc": ModelSpec(arch="d-fc", image=(8, 8), channels=3, classes=4, alpha=2),
    "vanilla-cnn": ModelSpec(arch="vanilla-cnn", image=(16, 16), channels=3, classes=4, alpha=8),
    "alexnet": ModelSpec(arch="alexnet", image=(16, 16), channels=3, classes=4, alpha=4),
    "vgg11": ModelSpec(arch="vgg11", image=(32, 32), channels=3, classes=4, alpha=4),
    "vgg11-bn": ModelSpec(arch="vgg11-bn", image=(32, 32), channels=3, classes=4, alpha=4),
}
RESNET = ModelSpec(arch="resnet18", image=(8, 8), channels=3, classes=4, alpha=4)


def with_uneven_norms(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw scales, shifts and statistics of all batch norms, in place; in float64 and evaluation mode."""
    generator = torch.Generator().manual_seed(seed + 100)
    for module in model.modules():
        if isinstance(module, NORM_LAYERS):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.double().eval()


def images(spec: ModelSpec) -> Tensor:
    """Five images that a network takes."""
    return torch.randn(5, *spec.in_shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
