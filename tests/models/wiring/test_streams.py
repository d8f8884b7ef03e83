"""Which channels move together: by hand for small networks, and by shuffling all streams of real ones."""

import copy
from typing import Any

import pytest
import torch
from models.networks import images, with_uneven_norms
from torch import Tensor, nn

from lcstool.models import ModelSpec, build_model
from lcstool.models.build import empty_model
from lcstool.models.wiring.streams import Streams, find_streams
from lcstool.paths.parts import parts


class Joined(nn.Module):
    """Two convolutions whose outputs are joined in some way, and a third."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(8 if how == "concat" else 4)
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1))
        self.last = nn.Conv2d({"concat": 8, "half": 2, "mean": 1}.get(how, 4), 3, 1)
        if how == "depthwise":
            self.b = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        elif how == "grouped":
            self.b = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        elif how == "shared":
            self.b.weight = nn.Parameter(self.b.weight)
            self.a = nn.Conv2d(4, 4, 3, padding=1)
            self.a.weight = self.b.weight

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x.repeat(1, 2, 1, 1) if self.how == "shared" else x)
        z = self.b(y)
        if self.how == "concat":
            z = self.norm(torch.cat((y, z), dim=1))
        elif self.how == "image":
            z = z + x.repeat(1, 2, 1, 1)
        elif self.how == "flipped":
            z = self.norm(z + y.flip(1))
        elif self.how == "half":
            z = z[:, :2]
        elif self.how == "mean":
            z = z.mean(dim=1, keepdim=True)
        elif self.how == "scaled":
            z = z * self.scale
        elif self.how == "product":
            z = z * y.mean(dim=(2, 3), keepdim=True).sigmoid()
        elif self.how == "added":
            z = self.norm((z + y).relu())
        elif self.how == "pairs":  # every channel counts alike at equal values, but not at others
            z = (z[:, :2] * z[:, 2:]).sum(dim=1, keepdim=True).repeat(1, 4, 1, 1)
        out: Tensor = self.last(z).mean(dim=(2, 3))
        return out


ONE_BY_ONE = "last does not take the channels of b one by one"
MANY: dict[str, tuple[list[tuple[str, ...]], dict[str, str]]] = {
    "plain": ([("a",), ("b",)], {}),
    "added": ([("a", "b")], {}),
    "product": ([("a", "b")], {}),
    "concat": ([("a",), ("b",)], {}),
    "mean": ([("a",), ("b",)], {}),
    "depthwise": ([("a", "b")], {}),
    "grouped": ([], dict.fromkeys("ab", "b is a grouped convolution")),
    "image": ([("a",)], {"b": "the channels of the image and b meet in different orders in last"}),
    "flipped": ([], dict.fromkeys("ab", "the channels of a and b meet in different orders in last")),
    "half": ([("a",)], {"b": ONE_BY_ONE}),
    "scaled": ([("a",)], {"b": "last does not treat all channels alike"}),
    "pairs": ([("a",)], {"b": "last does not treat all channels alike"}),
    "shared": ([], dict.fromkeys("ab", "a and b share their weights")),
}


@pytest.mark.parametrize("how", MANY)
def test_joined_layers(how: str) -> None:
    found = find_streams(Joined(how), (2, 5, 5))
    assert ([stream.writers for stream in found.free], found.left) == MANY[how]


def test_where_channels_stand_side_by_side() -> None:
    a, b = find_streams(Joined("concat"), (2, 5, 5)).free
    assert {name: places.tolist() for name, places in a.readers.items()} == {
        "b": [[0], [1], [2], [3]], "last": [[0], [1], [2], [3]]
    }  # fmt: skip
    assert b.readers["last"].tolist() == b.norms["norm"].tolist() == [[4], [5], [6], [7]]
    assert a.norms["norm"].tolist() == [[0], [1], [2], [3]]
    flat = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 3), nn.Linear(3, 3))
    assert find_streams(flat, (1, 2, 2)).free[0].readers["2"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_layers_of_one_channel_are_not_listed() -> None:
    thin = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten(),
                         nn.Linear(16, 2))  # fmt: skip
    assert list(find_streams(thin, (1, 2, 2)).left) == ["1", "2"]


def test_a_residual_network() -> None:
    spec = ModelSpec(arch="resnet18", image=(8, 8), channels=2, classes=3, alpha=2)
    found = find_streams(empty_model(spec), spec.in_shape)
    assert found.left == {}
    shared = [stream for stream in found.free if len(stream.writers) > 1]
    assert [stream.writers for stream in shared] == [
        ("conv1", "block1_1.conv2", "block1_2.conv2"),
        *((f"block{n}_1.conv2", f"block{n}_1.shortcut.conv", f"block{n}_2.conv2") for n in (2, 3, 4)),
    ]
    assert list(shared[0].norms) == ["bn1", "block1_1.bn2", "block1_2.bn2"]
    assert list(shared[0].readers) == ["block1_1.conv1", "block1_2.conv1", "block2_1.conv1",
                                       "block2_1.shortcut.conv"]  # fmt: skip
    assert list(shared[3].readers) == ["block4_2.conv1", "fc"]


def assert_shuffling_keeps_the_function(model: nn.Module, x: Tensor) -> Streams:
    found, twin = find_streams(model, tuple(x.shape[1:])), copy.deepcopy(model)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for stream in found.free:
            order = torch.randperm(stream.num_channels, generator=generator)
            for part in parts(twin, stream):
                part.reorder(order)
        expected = model(x)
        torch.testing.assert_close(twin(x), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    assert any(
        not torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True)
    ) == bool(found.free)
    return found


@pytest.mark.parametrize("how", MANY)
def test_shuffling_keeps_the_function_of_joined_layers(how: str) -> None:
    torch.manual_seed(0)
    assert_shuffling_keeps_the_function(with_uneven_norms(Joined(how)), torch.randn(3, 2, 5, 5).double())


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "num_left"),
    {
        "resnet18": 0, "resnet50": 0, "squeezenet1_1": 0, "densenet121": 0, "mobilenet_v2": 0,
        "mobilenet_v3_small": 0, "efficientnet_b0": 0, "mnasnet0_5": 0, "vgg11_bn": 0, "alexnet": 0,
        "shufflenet_v2_x0_5": 21, "regnet_y_400mf": 48, "resnext50_32x4d": 32,
    }.items(),
)  # fmt: skip
def test_shuffling_keeps_the_function_of_networks_of_torchvision(name: str, num_left: int) -> None:
    spec: Any = ModelSpec(arch=f"torchvision:{name}", image=(64, 64), channels=3, classes=5)
    model = with_uneven_norms(build_model(spec, torch.Generator().manual_seed(0)))
    found = assert_shuffling_keeps_the_function(model, images(spec)[:2])
    assert len(found.left) == num_left
