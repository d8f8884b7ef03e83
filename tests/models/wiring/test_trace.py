"""Tracing finds the geometry of every layer, and refuses networks that it cannot follow."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.wiring.trace import trace


def test_geometry_of_the_shallow_nets_is_one_and_the_same() -> None:
    found = [
        trace(empty_model(ModelSpec(arch=arch, image=(16, 12), channels=3, classes=4, alpha=2)), (3, 16, 12))
        for arch in ("s-conv", "s-local", "s-fc")
    ]
    assert found[0].layers == found[1].layers == found[2].layers
    assert found[0].layers == {
        "layer1": ConvGeometry(
            in_shape=(3, 16, 12), out_channels=2, kernel_size=(9, 9), stride=(2, 2), padding=(4, 4)
        )
    }
    assert found[0].classes == 4


@pytest.mark.parametrize("arch", ["d-conv", "d-local", "d-fc"])
def test_geometry_of_the_deep_nets(arch: str) -> None:
    layers = trace(
        empty_model(ModelSpec(arch=arch, image=(32, 32), channels=3, classes=4, alpha=1)), (3, 32, 32)
    ).layers
    assert list(layers) == [f"layer{index}" for index in range(1, 9)]
    assert [g.out_shape for g in layers.values()] == [
        (1, 32, 32), (2, 16, 16), (2, 16, 16), (4, 8, 8), (4, 8, 8), (8, 4, 4), (8, 4, 4), (16, 2, 2),
    ]  # fmt: skip


def test_geometry_of_resnet18() -> None:
    layers = trace(
        empty_model(ModelSpec(arch="resnet18", image=(16, 16), channels=3, classes=4, alpha=2)), (3, 16, 16)
    ).layers
    assert len(layers) == 20
    assert layers["block2_1.shortcut.conv"] == ConvGeometry(
        in_shape=(2, 16, 16), out_channels=4, kernel_size=(1, 1), stride=(2, 2)
    )
    assert layers["block4_2.conv2"].in_shape == (16, 2, 2)


def test_geometry_of_a_torch_convolution() -> None:
    with torch.device("meta"):
        conv = nn.Conv2d(4, 6, (3, 5), (2, 1), "valid", (1, 2), groups=2)
        same = nn.Conv2d(6, 2, 3, padding="same", padding_mode="reflect")
    found = trace(nn.Sequential(conv, same, nn.Flatten()), (4, 11, 12))
    assert found.layers["0"] == ConvGeometry(
        in_shape=(4, 11, 12),
        out_channels=6,
        kernel_size=(3, 5),
        stride=(2, 1),
        padding=(0, 0),
        dilation=(1, 2),
        groups=2,
    )
    assert found.layers["1"].padding == (1, 1)
    assert found.padding_modes == {"0": "zeros", "1": "reflect"}


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight).flatten(1)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x)).flatten(1)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Functional, "Functional. convolves"),
        (Unused, "'conv' is never run"),
        (Twice, "'conv' runs on images of two sizes"),
        (lambda: nn.Conv2d(1, 1, 3), "one tensor of logits"),
        (lambda: nn.Conv2d(2, 1, 3), r"does not run on \(1, 8, 8\) images"),
        (lambda: nn.Conv2d(1, 1, 2, padding="same"), "'same' padding of an even kernel"),
    ],
)
def test_networks_that_cannot_be_traced(module: Callable[[], nn.Module], said: str) -> None:
    with torch.device("meta"):
        model = module()
    with pytest.raises(BadInputError, match=said):
        trace(model, (1, 8, 8))
