"""Golden: the parameter counts of the papers' tables, and sizing by them.

Ref: Neyshabur 2020 (arXiv 2007.13657), Fig. 1 and Tables 1, 3, 4; d'Ascoli et al. 2019 (arXiv 1906.06766).
"""

import pytest
from torch import nn

from lcstool.errors import UsageError
from lcstool.models import ARCHITECTURES, ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import count_parameters
from lcstool.models.sizing import fc_equivalent_parameters, parse_count, sized_by_fc_params

CIFAR = {"image": (32, 32), "channels": 3, "classes": 10}


def count(arch: str, alpha: int, **changes: object) -> int:
    return count_parameters(empty_model(ModelSpec(arch=arch, alpha=alpha, **(CIFAR | changes))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arch", "alpha", "millions", "digits"),
    [("s-conv", 150, 138.3, 1), ("s-local", 150, 147.6, 1), ("s-fc", 150, 256.2, 1), ("d-conv", 15, 1.45, 2),
     ("d-fc", 15, 282, 0), ("d-local", 15, 11.71, 2)],
)  # fmt: skip
def test_printed_counts(arch: str, alpha: int, millions: float, digits: int) -> None:
    assert round(count(arch, alpha) / 1e6, digits) == millions


def test_the_true_count_of_d_local() -> None:
    """Table 3 prints 3.42 M; its own terms, summed rightly, give this."""
    s, c, a = 32, 10, 15
    assert count("d-local", 15) == 49 * s**2 * a**2 + (27 * s**2 + 64 * c) * a + c == 11_713_930


@pytest.mark.parametrize("alpha", [1, 7, 150])
@pytest.mark.parametrize("s", [16, 32])
def test_closed_forms_of_the_shallow_nets(alpha: int, s: int) -> None:
    c, a = 10, alpha
    head = 24 * a * (a * s**2 // 4) + 24 * a * c + c
    image = {"image": (s, s)}
    assert count("s-conv", a, **image) == 9 * 9 * 3 * a + head
    assert count("s-local", a, **image) == 9 * 9 * 3 * a * s**2 // 4 + head
    assert count("s-fc", a, **image) == 3 * s**2 * a * s**2 // 4 + head


def test_three_fc_is_as_large_as_s_fc() -> None:
    model = empty_model(ModelSpec(arch="3-fc", alpha=150, **CIFAR))  # type: ignore[arg-type]
    assert count_parameters(model) == pytest.approx(count("s-fc", 150), rel=1e-4)
    sized = sized_by_fc_params(ModelSpec(arch="3-fc", alpha=1, **CIFAR), 256_000_000)  # type: ignore[arg-type]
    assert sized.width == pytest.approx(14_530, abs=5)


def test_vanilla_cnn_is_three_convolutions_and_one_linear_layer() -> None:
    shapes = [(64, 3, 4, 4), (64, 64, 5, 5), (64, 64, 3, 3)]
    model = empty_model(ModelSpec(arch="vanilla-cnn", alpha=64, **CIFAR))  # type: ignore[arg-type]
    assert [tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Conv2d)] == shapes
    assert [m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d)] == [True] * 3


def test_alexnet_has_the_channels_of_the_paper() -> None:
    model = empty_model(ModelSpec(arch="alexnet", alpha=64, **CIFAR))  # type: ignore[arg-type]
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convs] == [64, 192, 384, 256, 256]
    assert [m.kernel_size[0] for m in convs] == [4, 5, 3, 3, 3]
    assert [m.out_features for m in model.modules() if isinstance(m, nn.Linear)] == [512, 512, 10]


@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
def test_resnet18_with_every_kernel_size(kernel: int) -> None:
    model = empty_model(ModelSpec(arch="resnet18", alpha=64, kernel_size=kernel, **CIFAR))  # type: ignore[arg-type]
    sizes = [m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert sizes.count((kernel, kernel)) == 17
    assert sizes.count((1, 1)) == 3
    square = 3 * 64 + 4 * 64**2 + 64 * 128 + 3 * 128**2 + 128 * 256 + 3 * 256**2 + 256 * 512 + 3 * 512**2
    shortcuts = 64 * 128 + 128 * 256 + 256 * 512
    assert count_parameters(model) == kernel**2 * square + shortcuts + 512 * 10 + 10


def test_resnet18_has_the_well_known_size() -> None:
    assert round(count("resnet18", 64) / 1e6, 2) == 11.16  # 11.17 M with batch norm


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_vggs_with_and_without_batch_norm(depth: int) -> None:
    """By hand: 9 in out weights a convolution, a bias for each channel only without batch norm, 512 x 10 + 10."""
    channels = {
        11: [64, 128, 256, 256, 512, 512, 512, 512],
        13: [64, 64, 128, 128, 256, 256, 512, 512, 512, 512],
        16: [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
        19: [64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512, 512],
    }[depth]
    weights = sum(9 * a * b for a, b in zip([3, *channels], channels, strict=False))
    assert count(f"vgg{depth}-bn", 64) == weights + 5130
    assert count(f"vgg{depth}", 64) == weights + sum(channels) + 5130
    if depth == 16:
        assert weights + 5120 == 14_715_584
        assert weights + sum(channels) == 14_714_688  # torchvision's vgg16().features


@pytest.mark.parametrize("image", [3, 4, 7, 16, 33, 64])
def test_vggs_pool_what_there_is(image: int) -> None:
    """Five halvings, none below one pixel."""
    side = max(1, image // 32)
    linear = 8 * 4 * side**2 * 10 + 10
    model = empty_model(ModelSpec(arch="vgg11-bn", image=(image, image), channels=3, classes=10, alpha=4))
    convs = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    assert count_parameters(model) == convs + linear


@pytest.mark.parametrize("kernel", [1, 4, 11])
def test_the_linear_cnn_is_its_filters(kernel: int) -> None:
    assert count("linear-cnn", 7, kernel_size=kernel, classes=2) == 7 * 3 * kernel**2


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("256M", 256_000_000),
        ("1.5g", 1_500_000_000),
        (" 300K ", 300_000),
        ("12", 12),
        ("2B", 2 * 10**9),
        ("1.M", 10**6),
    ],
)
def test_parse_count(text: str, number: int) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "M", "0", "0.0M", "-1M", "1e6", "1T", "1,000", "nan", "٣M"])
def test_parse_count_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number of parameters"):
        parse_count(text)


@pytest.mark.parametrize("arch", ["s-conv", "s-local", "s-fc"])
def test_256_million_is_alpha_150(arch: str) -> None:
    spec = sized_by_fc_params(ModelSpec(arch=arch, alpha=1, **CIFAR), parse_count("256M"))  # type: ignore[arg-type]
    assert spec.alpha == 150
    assert fc_equivalent_parameters(spec) == count("s-fc", 150)


@pytest.mark.parametrize("arch", [name for name, entry in ARCHITECTURES.items() if entry.fc_counterpart])
@pytest.mark.parametrize("target", [300_000, 1_000_000, 7_654_321])
def test_sizing_finds_the_nearest(arch: str, target: int) -> None:
    spec = ModelSpec(arch=arch, image=(16, 16), channels=3, classes=10, alpha=1)
    found = sized_by_fc_params(spec, target)
    away = abs(fc_equivalent_parameters(found) - target)
    knob = "width" if arch == "3-fc" else "alpha"
    for step in (-1, 1):
        value = getattr(found, knob) + step
        if value >= 1:
            other = ModelSpec(
                arch=arch, image=(16, 16), channels=3, classes=10, **({"alpha": 1} | {knob: value})
            )  # type: ignore[arg-type]
            assert abs(fc_equivalent_parameters(other) - target) >= away


def test_no_counterpart_is_an_error() -> None:
    with pytest.raises(UsageError, match="resnet18 has no fully-connected counterpart"):
        sized_by_fc_params(ModelSpec(arch="resnet18", alpha=1, **CIFAR), 1000)  # type: ignore[arg-type]
