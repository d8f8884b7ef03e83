"""Dense layers that output vectors lose single units; layers on images lose whole channels."""

import json
from typing import Any

import pytest
from models.narrowing.pruned import SMALL, assert_same_function, pruned_model

from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.narrowing.compact import compact


def test_units_go_one_by_one_where_only_dense_layers_listen() -> None:
    model, spec = pruned_model("s-fc", dead=0, silent=0, zeros=0)
    units, columns = model.layer1.weight.data.view(4, -1, 180), model.layer2.weight.data.view(-1, 4, 25)
    units[0, 1:] = 0
    units[2, :7] = 0
    columns[:, 2, 7:] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    assert (result.layers["layer1"].num_dead, result.layers["layer1"].num_silent) == (24 + 7, 18)
    assert result.model.layer1.weight.shape == (51, 180)
    again = compact(result.model, result.spec)
    assert again.spec == result.spec


def test_channels_on_images_go_only_as_a_whole() -> None:
    """Between pooling layers a channel with one living unit stays; one with dead and silent units only goes."""
    model, spec = pruned_model("vanilla-cnn", to="fc", dead=0, silent=0, zeros=0)
    units = model.layer1.weight.data.view(model.layer1.geometry.out_channels, -1, model.layer1.in_features)
    units[0, 1:] = 0
    units[2] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    assert "layer1" not in result.spec.flattened
    assert result.layers["layer1"].num_dead == 1
    assert result.model.layer1.geometry.out_channels == model.layer1.geometry.out_channels - 1


def test_a_chain_of_dense_layers_is_flattened_from_the_first_idle_unit_on() -> None:
    model, spec = pruned_model("d-fc", dead=0, silent=0, zeros=0)
    model.layer6.weight.data[0] = 0
    result = compact(model, spec)
    assert_same_function(model, result)
    assert result.spec.flattened == ("layer6", "layer7", "layer8")
    assert result.layers["layer6"].num_dead == 1
    assert result.model.layer5.geometry == model.layer5.geometry
    rebuilt = ModelSpec.from_json(json.loads(json.dumps(result.spec.to_json())), "test")
    assert rebuilt == result.spec
    assert empty_model(rebuilt).layer6.weight.shape == result.model.layer6.weight.shape


@pytest.mark.parametrize("wrong", [["layer9"], ["layer2"], ["nothing"], "layer1", [1]])
def test_only_dense_layers_on_images_are_flattened(wrong: Any) -> None:
    described = SMALL["s-fc"].to_json() | {"flattened": wrong}
    with pytest.raises(BadInputError):
        empty_model(ModelSpec.from_json(described, "test"))
