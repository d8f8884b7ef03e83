"""Every registered architecture: shapes, initial weights, dropout, and the networks that they are known as."""

import math

import pytest
import torch
from torch import nn

from lcstool.errors import BadInputError, LcsError, UsageError
from lcstool.models import ARCHITECTURES, ModelSpec, build_model
from lcstool.models.build import empty_model
from lcstool.models.layers.local import SeededDropout
from lcstool.models.layers.parameters import weight_layers


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image", [(16, 16), (18, 11)], ids=["square", "rectangle"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_forward_and_backward(arch: str, image: tuple[int, int], channels: int) -> None:
    classes = ARCHITECTURES[arch].num_classes or 5
    model = build_model(ModelSpec(arch=arch, image=image, channels=channels, classes=classes, alpha=2))
    images = torch.randn(3, channels, *image, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):
        logits = model.train(mode)(images)
        assert logits.shape == (3, classes)
        assert torch.isfinite(logits).all()
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_smallest_image_is_taken_and_a_smaller_one_refused(arch: str) -> None:
    side = ARCHITECTURES[arch].smallest_image
    model = build_model(ModelSpec(arch=arch, image=(side, side), channels=1, classes=2, alpha=1)).eval()
    assert model(torch.zeros(2, 1, side, side)).shape == (2, 2)
    if side > 1:
        with pytest.raises(BadInputError, match=f"the image is {side - 1}x{side}, smaller than the"):
            ModelSpec(arch=arch, image=(side - 1, side), channels=1, classes=2, alpha=1)


@pytest.mark.parametrize("kernel", [5, 9])
def test_resnet18_runs_with_other_kernels(kernel: int) -> None:
    model = build_model(
        ModelSpec(arch="resnet18", image=(9, 9), channels=3, classes=4, alpha=1, kernel_size=kernel)
    ).eval()
    assert model(torch.zeros(2, 3, 9, 9)).shape == (2, 4)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_initial_weights_are_those_of_torchs_layers(arch: str) -> None:
    """Uniform in +-1/sqrt(fan-in), He's in a plain VGG's convolutions, and a function of the generator alone."""
    spec = ModelSpec(
        arch=arch, image=(16, 16), channels=3, classes=ARCHITECTURES[arch].num_classes or 5, alpha=2
    )
    plain_vgg = arch in ("vgg11", "vgg13", "vgg16", "vgg19")
    model = build_model(spec, torch.Generator().manual_seed(7))
    for layer in weight_layers(model).values():
        weight = layer.weight.detach()
        weight = weight.flatten(3).flatten(0, 2) if weight.ndim == 6 else weight.flatten(1)
        bound = math.sqrt((6 if plain_vgg and layer.is_conv_like else 1) / weight.shape[1]) * (1 + 1e-6)
        assert weight.abs().max() <= bound
        if weight.numel() > 500:
            assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    torch.manual_seed(123)
    again = build_model(spec, torch.Generator().manual_seed(7)).state_dict()
    assert all(tensor.equal(again[name]) for name, tensor in model.state_dict().items())
    other = build_model(spec, torch.Generator().manual_seed(8)).state_dict()
    assert not other[next(iter(other))].equal(again[next(iter(again))])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_dropout_stands_before_the_last_layers_and_only_there(arch: str) -> None:
    def dropouts(model: nn.Module) -> list[float]:
        return [m.p for m in model.modules() if isinstance(m, SeededDropout)]

    spec = ModelSpec(
        arch=arch,
        image=(16, 16),
        channels=3,
        classes=ARCHITECTURES[arch].num_classes or 5,
        alpha=1,
        dropout=0.25,
    )
    if arch == "linear-cnn":
        with pytest.raises(UsageError, match="linear-cnn has no layer that dropout could stand before"):
            empty_model(spec)
        return
    one = arch in ("resnet18", "vanilla-cnn") or arch.startswith("vgg")
    assert dropouts(empty_model(spec)) == [0.25] * (1 if one else 2)


def test_dropout_keeps_the_mean_and_draws_from_its_generator() -> None:
    dropout = SeededDropout(0.25)
    dropout.generator = torch.Generator().manual_seed(0)
    dropped = dropout(torch.ones(100, 1000))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    dropout.generator = torch.Generator().manual_seed(0)
    assert dropout(torch.ones(100, 1000)).equal(dropped)
    assert dropout.eval()(torch.ones(3)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("kernel", [2, 4, 8])
def test_an_even_kernel_is_refused_by_name(kernel: int) -> None:
    """A stride-1 block with an even kernel changes the size of its images: the shortcut no longer fits."""
    with pytest.raises(LcsError, match="kernel"):
        empty_model(
            ModelSpec(arch="resnet18", image=(16, 16), channels=3, classes=4, alpha=1, kernel_size=kernel)
        )


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 8, 11])
def test_the_linear_cnn_is_the_mean_filter_on_the_mean_patch(kernel: int) -> None:
    spec = ModelSpec(arch="linear-cnn", image=(11, 12), channels=3, classes=2, alpha=5, kernel_size=kernel)
    model = build_model(spec).double()
    images = torch.rand(4, 3, 11, 12, dtype=torch.float64)
    rows, columns = 11 - kernel + 1, 12 - kernel + 1
    patch = sum(images[:, :, i : i + kernel, j : j + kernel] for i in range(rows) for j in range(columns))
    assert isinstance(patch, torch.Tensor)
    weight = model.get_submodule("layer1").weight
    assert isinstance(weight, torch.Tensor)
    f = (patch / (rows * columns) * weight.mean(dim=0)).sum(dim=(1, 2, 3))
    torch.testing.assert_close(model(images), torch.stack([1 - f, f], dim=1), rtol=0, atol=1e-14)


def test_the_linear_cnn_is_for_two_classes_and_images_no_smaller_than_its_kernel() -> None:
    with pytest.raises(UsageError, match="linear-cnn tells 2 classes apart, not 10") as caught:
        ModelSpec(arch="linear-cnn", image=(16, 16), channels=3, classes=10)
    assert "--classes A,B" in (caught.value.hint or "")
    build_model(ModelSpec(arch="linear-cnn", image=(2, 5), channels=1, classes=2, kernel_size=2))
    with pytest.raises(BadInputError, match="the image is 7x9, smaller than the 8x8 kernel"):
        ModelSpec(arch="linear-cnn", image=(7, 9), channels=1, classes=2, kernel_size=8)


@pytest.mark.parametrize(
    "name",
    ["vgg11", *(pytest.param(name, marks=pytest.mark.long) for name in ("vgg13", "vgg16-bn", "vgg19"))],
)
def test_vggs_are_those_of_torchvision_up_to_the_linear_layer(name: str) -> None:
    """The same layers in the same order, and, given the same weights, the same maps."""
    import torchvision

    ours = build_model(ModelSpec(arch=name, image=(32, 32), channels=3, classes=10, alpha=64)).eval()
    theirs = torchvision.models.get_model(name.replace("-", "_"), weights=None).features.eval()
    kinds = [type(module) for module in ours.children()][:-3]
    assert kinds == [type(module) for module in theirs]
    for mine, other in zip(ours.children(), theirs, strict=False):
        if isinstance(mine, nn.Conv2d):
            assert mine.weight.shape == other.weight.shape
            other.weight.data = mine.weight.data
            other.bias.data = torch.zeros_like(other.bias) if mine.bias is None else mine.bias.data
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = nn.Sequential(*list(ours.children())[:-3])(images)
    assert maps.shape == (2, 512, 1, 1)
    torch.testing.assert_close(maps, theirs(images))
    assert [m.in_features for m in ours.modules() if isinstance(m, nn.Linear)] == [512]
