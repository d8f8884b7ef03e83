"""Pruned networks for tests, and whether a compacted one computes the same."""

import dataclasses

import torch
from embedded import embedded_model
from torch import Tensor, nn

from lcstool.models import Embedding, ModelSpec, build_model
from lcstool.models.build import empty_model
from lcstool.models.embedding.tensors import convolution_layers
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d
from lcstool.models.layers.parameters import WEIGHT_LAYERS
from lcstool.models.narrowing.compact import CompactResult
from lcstool.models.wiring.trace import trace

NORMS = nn.BatchNorm1d | nn.BatchNorm2d


SMALL = {
    "s-conv": ModelSpec(arch="s-conv", image=(9, 10), channels=2, classes=3, alpha=5),
    "s-local": ModelSpec(arch="s-local", image=(9, 10), channels=2, classes=3, alpha=4),
    "s-fc": ModelSpec(arch="s-fc", image=(9, 10), channels=2, classes=3, alpha=4),
    "d-conv": ModelSpec(arch="d-conv", image=(16, 16), channels=2, classes=3, alpha=3),
    "d-local": ModelSpec(arch="d-local", image=(8, 8), channels=2, classes=3, alpha=3),
    "d-fc": ModelSpec(arch="d-fc", image=(8, 8), channels=1, classes=3, alpha=3),
    "3-fc": ModelSpec(arch="3-fc", image=(4, 4), channels=2, classes=3, width=9),
    "vanilla-cnn": ModelSpec(arch="vanilla-cnn", image=(16, 16), channels=2, classes=3, alpha=6),
    "alexnet": ModelSpec(arch="alexnet", image=(16, 16), channels=2, classes=3, alpha=2),
    "resnet18": ModelSpec(arch="resnet18", image=(8, 8), channels=2, classes=3, alpha=4),
}


EMBEDDED = [
    ("vanilla-cnn", "fc", "units", True),
    ("vanilla-cnn", "fc", "units", False),
    ("vanilla-cnn", "local", "units", False),
    ("d-conv", "local", "channels", False),
    ("s-conv", "fc", "folded", False),
    ("resnet18", "fc", "units", False),
]


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """In float64, with biases and batch-norm statistics that matter."""
    model, generator = model.double(), torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, NORMS):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.25)
        elif isinstance(module, WEIGHT_LAYERS) and module.bias is not None:
            module.bias.data.copy_(torch.randn(module.bias.shape, generator=generator))
    return model.eval()


def by_channel(module: nn.Module) -> tuple[Tensor, Tensor]:
    """A layer's weight with the output channels first, and with the inputs first; views."""
    weight = module.weight.data
    assert isinstance(weight, Tensor)
    if isinstance(module, LocallyConnected2d):
        return weight.movedim(2, 0), weight.movedim(3, 0)
    if isinstance(module, FullyConnected2d):
        g = module.geometry
        return weight.view(g.out_channels, -1), weight.view(len(weight), g.in_shape[0], -1).movedim(1, 0)
    return weight, weight.movedim(1, 0)


def prune(model: nn.Module, dead: float, silent: float, zeros: float = 0.3, seed: int = 0) -> nn.Module:
    """Zero a share of the channels of every layer, of the inputs (of the first layer's too), and of the weights."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, WEIGHT_LAYERS):
            outs, ins = by_channel(module)
            outs[torch.rand(len(outs), generator=generator) < dead] = 0
            ins[torch.rand(len(ins), generator=generator) < silent] = 0
            module.weight.data *= torch.rand(module.weight.shape, generator=generator) >= zeros
    return model


def pruned_model(
    name: str, to: str = "", norm: str = "units", pad: bool = False, **sparsity: float
) -> tuple[nn.Module, ModelSpec]:
    spec = SMALL[name]
    if to:
        model = embedded_model(spec, to, norm, pad)
        kinds = convolution_layers(build_model(spec), trace(empty_model(spec), spec.in_shape))
        embedding = Embedding(tuple((layer, to) for layer in sorted(kinds)), pad, norm)
        spec = dataclasses.replace(spec, embedding=embedding)
    else:
        model = build_model(spec)
    return prune(randomise(model), **sparsity), spec  # type: ignore[arg-type]


@torch.no_grad()
def assert_same_function(model: nn.Module, result: CompactResult, tolerance: float = 1e-10) -> None:
    generator = torch.Generator().manual_seed(9)
    images = torch.randn(6, *result.spec.in_shape, dtype=torch.float64, generator=generator)
    expected = model(images)
    torch.testing.assert_close(result.model.eval()(images), expected, rtol=0, atol=tolerance)
    for name, layer in result.layers.items():
        assert layer.num_kept == layer.num_before - layer.num_dead - layer.num_silent > 0, name
        assert dict(result.spec.widths).get(name, layer.num_before) == layer.num_kept
        assert sum(layer.kept.values()) <= layer.num_kept
