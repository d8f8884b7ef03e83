"""Small networks, images and batches for the tests of paths, in float64."""

import torch
from torch import Tensor, nn

from lcstool.data.dataset import Split
from lcstool.models import ModelSpec, build_model
from lcstool.models.layers.parameters import NORM_LAYERS
from lcstool.paths import Points

CLASSES, SIDE = 3, 6


def prepare(images: Tensor) -> Tensor:
    return images.double() / 255 - 0.5


def unchanged(images: Tensor, _: torch.Generator) -> Tensor:
    return images


def random_split(num_images: int = 24, side: int = SIDE, classes: int = CLASSES, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (num_images, 3, side, side), dtype=torch.uint8, generator=generator)
    return Split(images, torch.randint(0, classes, (num_images,), generator=generator))


def mlp(seed: int, norm: bool = True) -> nn.Module:
    """Flatten, dense, batch norm, ReLU, dense; statistics and scales of the norm away from their defaults."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(3 * SIDE**2, 5)]
    layers += [nn.BatchNorm1d(5)] if norm else []
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(5, CLASSES)).double()
    return shaken(model, seed)


def shaken(model: nn.Module, seed: int) -> nn.Module:
    """The model with all its tensors drawn anew, statistics included."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(seed)
        elif name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, dtype=torch.float64, generator=generator))
        else:
            tensor.copy_(0.5 * torch.randn(tensor.shape, dtype=torch.float64, generator=generator))
    return model.eval()


def of_registry(arch: str, seed: int) -> nn.Module:
    """An architecture at its smallest, in float64, with statistics that are not the defaults."""
    model = build_model(tiny_spec(arch), torch.Generator().manual_seed(seed)).double()
    generator = torch.Generator().manual_seed(seed + 1)
    for module in model.modules():
        if isinstance(module, NORM_LAYERS):
            assert module.running_mean is not None
            assert module.running_var is not None
            shape = module.running_mean.shape
            module.running_mean.copy_(0.1 * torch.randn(shape, dtype=torch.float64, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(shape, dtype=torch.float64, generator=generator))
    return model.eval()


def tiny_spec(arch: str) -> ModelSpec:
    side = 32 if arch.startswith("vgg") else 9
    return ModelSpec(
        arch=arch, image=(side, side), channels=3, classes=2 if arch == "linear-cnn" else CLASSES, alpha=1
    )


def equal(left: Points, right: Points) -> bool:
    """Whether two paths are the same bits."""
    mine, others = left.parameters | left.buffers, right.parameters | right.buffers
    return mine.keys() == others.keys() and all(bits(mine[name], others[name]) for name in mine)


def bits(left: Tensor, right: Tensor) -> bool:
    """Equal bit for bit: -0.0 is not 0.0."""
    return left.dtype == right.dtype and left.numpy().tobytes() == right.numpy().tobytes()
