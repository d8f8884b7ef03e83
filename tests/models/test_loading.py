"""A model file is taken only if it is exactly the model its header describes; tracing finds what is in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.models import ARCHITECTURES, ModelSpec, build_model, load_model
from lcstool.models.build import empty_model
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.wiring.trace import trace

SPEC = ModelSpec("s-conv", (9, 9), 1, 2, 1)
State = dict[str, Tensor]


def saved(path: Path, change: Callable[[State], Any] = lambda state: None, spec: Any = None) -> Path:
    state = dict(build_model(SPEC).state_dict())
    change(state)
    write_checkpoint(path, Header(kind="model", model=spec or SPEC.to_json()), state)
    return path


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_was_saved_is_loaded(tmp_path: Path, arch: str) -> None:
    spec = ModelSpec(arch, (9, 10), 1, 2, 1)
    model = build_model(spec, torch.Generator().manual_seed(3))
    write_checkpoint(tmp_path / "a", Header(kind="model", model=spec.to_json()), model.state_dict())
    found = load_model(open_checkpoint(tmp_path / "a"))
    x_BCHW = torch.randn(2, 1, 9, 10)
    assert found.eval()(x_BCHW).equal(model.eval()(x_BCHW))


def set_value(name: str, index: Any, value: float) -> Callable[[State], Any]:
    def change(state: State) -> None:
        state[name] = state[name].clone()
        state[name][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("layer2.weight"), "has no tensor 'layer2.weight', which the architecture needs"),
        (lambda s: s.pop("bn1.running_var"), "has no tensor 'bn1.running_var'"),
        (lambda s: s.update(more=torch.ones(1)), "has a tensor 'more', which the architecture does not know"),
        (
            lambda s: s.update({"layer3.bias": torch.ones(3)}),
            r"'layer3.bias' has shape \[3\], expected \[2\]",
        ),
        (
            lambda s: s.update({"layer3.bias": torch.ones(2, 1)}),
            r"'layer3.bias' has shape \[2, 1\], expected \[2\]",
        ),
        (lambda s: s.update({"layer3.bias": torch.ones(2).int()}), "'layer3.bias' has dtype torch.int32"),
        (
            lambda s: s.update({"bn1.num_batches_tracked": torch.tensor(1.0)}),
            "'bn1.num_batches_tracked' has dtype",
        ),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, change: Callable[[State], Any], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        load_model(open_checkpoint(saved(tmp_path / "a", change)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["layer1.weight", "bn1.running_mean", "layer3.bias"])
def test_values_that_are_not_finite(tmp_path: Path, name: str, value: float) -> None:
    path = saved(tmp_path / "a", set_value(name, (-1,), value))
    with pytest.raises(NonFiniteError, match=f"'{name}' holds NaN or infinite values"):
        load_model(open_checkpoint(path))


def test_another_kind_and_no_architecture(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", Header(kind="stats"), {})
    with pytest.raises(BadInputError, match="of kind 'stats'; expected 'model'"):
        load_model(open_checkpoint(tmp_path / "a"))
    write_checkpoint(tmp_path / "a", Header(kind="model"), {})
    with pytest.raises(BadInputError, match="names no architecture"):
        load_model(open_checkpoint(tmp_path / "a"))


def test_the_spec_of_another_network(tmp_path: Path) -> None:
    other = ModelSpec("s-conv", (9, 9), 1, 2, 2).to_json()
    with pytest.raises(BadInputError, match="has shape"):
        load_model(open_checkpoint(saved(tmp_path / "a", spec=other)))
    with pytest.raises(BadInputError, match="cannot be built: unknown architecture 'x'"):
        load_model(open_checkpoint(saved(tmp_path / "a", spec={"arch": "x", "args": {"image": [9, 9], "channels": 1,
                                         "classes": 2, "alpha": 1}})))  # fmt: skip


# --- tracing ----------------------------------------------------------------------------------------------


def test_geometry_of_the_shallow_nets_is_one_and_the_same() -> None:
    found = [
        trace(empty_model(ModelSpec(arch, (16, 12), 3, 4, 2)), (3, 16, 12))
        for arch in ("s-conv", "s-local", "s-fc")
    ]
    assert found[0].layers == found[1].layers == found[2].layers
    assert found[0].layers == {"layer1": ConvGeometry((3, 16, 12), 2, (9, 9), (2, 2), (4, 4))}
    assert found[0].classes == 4


@pytest.mark.parametrize("arch", ["d-conv", "d-local", "d-fc"])
def test_geometry_of_the_deep_nets(arch: str) -> None:
    layers = trace(empty_model(ModelSpec(arch, (32, 32), 3, 4, 1)), (3, 32, 32)).layers
    assert list(layers) == [f"layer{index}" for index in range(1, 9)]
    assert [g.out_shape for g in layers.values()] == [
        (1, 32, 32), (2, 16, 16), (2, 16, 16), (4, 8, 8), (4, 8, 8), (8, 4, 4), (8, 4, 4), (16, 2, 2),
    ]  # fmt: skip


def test_geometry_of_resnet18() -> None:
    layers = trace(empty_model(ModelSpec("resnet18", (16, 16), 3, 4, 2)), (3, 16, 16)).layers
    assert len(layers) == 20
    assert layers["block2_1.shortcut.conv"] == ConvGeometry((2, 16, 16), 4, (1, 1), (2, 2))
    assert layers["block4_2.conv2"].in_shape == (16, 2, 2)


def test_geometry_of_a_torch_convolution() -> None:
    with torch.device("meta"):
        conv = nn.Conv2d(4, 6, (3, 5), (2, 1), "valid", (1, 2), groups=2)
        same = nn.Conv2d(6, 2, 3, padding="same", padding_mode="reflect")
    found = trace(nn.Sequential(conv, same, nn.Flatten()), (4, 11, 12))
    assert found.layers["0"] == ConvGeometry((4, 11, 12), 6, (3, 5), (2, 1), (0, 0), (1, 2), 2)
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
