"""Narrower layers, as a spec asks for them."""

import dataclasses
import math

import pytest
from models.narrowing.pruned import (
    SMALL,
)

from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model


@pytest.mark.parametrize(
    ("name", "widths", "word"),
    [
        ("3-fc", {"layer4": 2}, "no layer 'layer4'"),
        ("3-fc", {"bn1": 2}, "no layer 'bn1'"),
        ("3-fc", {"layer1": 10}, "has 9 channels"),
        ("3-fc", {"layer3": 2}, "'layer3' cannot be narrowed: its outputs"),
        ("resnet18", {"conv1": 2}, "'conv1' cannot be narrowed: block1_2.conv1 is fed by"),
    ],
)
def test_widths_that_do_not_fit(name: str, widths: dict[str, int], word: str) -> None:
    spec = dataclasses.replace(SMALL[name], widths=tuple(widths.items()))
    with pytest.raises(BadInputError, match=word):
        empty_model(spec)


def test_a_narrow_network_of_any_size_needs_no_storage() -> None:
    spec = ModelSpec(
        arch="3-fc",
        image=(100_000, 100_000),
        channels=3,
        classes=10,
        width=1000,
        widths=(("layer1", 3), ("layer2", 999)),
    )
    model = empty_model(spec)
    assert model.layer1.weight.shape == (3, 3 * 10**10)
    assert model.layer2.weight.shape == (999, 3)
    assert model.layer3.weight.shape == (10, 999)
    assert math.prod(model.bn2.running_mean.shape) == 999
