"""Networks of torchvision and timm: built without memory and without their weights, whatever their constructors do."""

import contextlib
import logging
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.foreign import build_foreign
from lcstool.models.layers.local import SeededDropout
from lcstool.models.wiring.draws import require_seeded
from lcstool.models.wiring.trace import trace

CLASSIFIERS = torchvision.models.list_models(module=torchvision.models)
SIDES = (32, 64, 75, 96, 224)


def specification(name: str, side: int = 32, **arguments: Any) -> ModelSpec:
    return ModelSpec(
        arch=name, image=(side, side), channels=3, classes=1000, model_args=tuple(arguments.items())
    )


def zeros(spec: ModelSpec) -> dict[str, Tensor]:
    """A state dict of the right names and shapes."""
    state = empty_model(spec).state_dict()
    return {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in state.items()}


@pytest.mark.parametrize(
    "name", ["regnet_x_400mf", "mnasnet0_5"]
)  # one computes with tensors, one asks for its version
def test_constructors_and_loaders_with_code_of_their_own(name: str) -> None:
    spec = specification(f"torchvision:{name}")
    found, model = build_foreign(spec.arch, (3, 32, 32), zeros(spec), "net.pth")
    assert found == spec
    assert not any(tensor.is_meta for tensor in model.state_dict().values())


def test_heads_that_only_training_runs_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    spec = specification("torchvision:googlenet")
    heads = {f"{head}.fc2.bias": torch.zeros(1000) for head in ("aux1", "aux2")}
    with caplog.at_level(logging.INFO, "lcstool"):
        _, model = build_foreign(spec.arch, (3, 32, 32), zeros(spec) | heads, "net.pth")
    assert not any(name.startswith("aux") for name in model.state_dict())
    assert [record.getMessage() for record in caplog.records] == [
        "net.pth: the 2 tensors of aux1, aux2 are left out: only training runs them"
    ]


def test_a_size_that_does_not_fit_is_named() -> None:
    small = specification("torchvision:vit_b_32")
    said = r"torchvision:vit_b_32 does not run on images of shape \[3, 32, 32\]: Wrong image height! Expected 224"
    with pytest.raises(BadInputError, match=said):
        trace(empty_model(small), small.in_shape)
    fitting = specification("torchvision:vit_b_32", image_size=32)
    assert trace(empty_model(fitting), fitting.in_shape).classes == 1000


def test_what_its_constructor_does_not_take() -> None:
    with pytest.raises(
        BadInputError, match=r"torchvision:resnet18 cannot be built: .*unexpected keyword argument 'alpha'"
    ):
        empty_model(specification("torchvision:resnet18", alpha=3))


def test_stochastic_depth_draws_from_the_seed() -> None:
    model = empty_model(specification("torchvision:efficientnet_b0"))
    depths = [
        module for module in model.modules() if isinstance(module, SeededDropout) and module.own_axes == 1
    ]
    assert len(depths) == 16
    require_seeded(model, (3, 32, 32), "net.pth")


@pytest.mark.parametrize(("own_axes", "groups"), [(None, 4 * 6 * 5 * 5), (2, 4 * 6), (1, 4), (0, 1)])
def test_units_are_dropped_together(own_axes: int | None, groups: int) -> None:
    dropout = SeededDropout(0.5, own_axes)
    dropout.generator = torch.Generator().manual_seed(3)
    y = dropout(torch.ones(4, 6, 5, 5))
    assert set(y.unique().tolist()) <= {0.0, 2.0}
    fates = y.flatten(own_axes or 0).view(groups, -1) if own_axes is not None else y.view(groups, 1)
    assert (fates == fates[:, :1]).all()


@pytest.mark.parametrize("name", ["resnet10t", "resnet10t.c3_in1k"])
def test_a_network_of_timm(name: str) -> None:
    pytest.importorskip("timm")
    spec = specification(f"timm:{name}")
    found, _ = build_foreign(spec.arch, (3, 32, 32), zeros(spec), "net.pth")
    assert found == spec


@pytest.mark.long
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_of_torchvision_runs_at_some_size(name: str) -> None:
    for side in SIDES:
        spec = specification(f"torchvision:{name}", side)
        with contextlib.suppress(BadInputError):
            assert trace(empty_model(spec), spec.in_shape).layers
            return
    pytest.fail(f"{name} runs at none of {SIDES}")
