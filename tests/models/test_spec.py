"""Descriptions of networks: through JSON and back, refused where they are wrong; and the registry."""

import dataclasses
import json
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcstool.errors import BadInputError, UsageError
from lcstool.models import ARCHITECTURES, ModelSpec
from lcstool.models.build import empty_model

SPECS = st.builds(
    dict,
    arch=st.sampled_from(list(ARCHITECTURES)),
    image=st.tuples(st.integers(9, 64), st.integers(9, 64)),
    channels=st.integers(1, 4),
    classes=st.integers(1, 20),
    alpha=st.integers(1, 9),
    dropout=st.sampled_from([0.0, 0.5]),
)


@given(fields=SPECS, kernel_size=st.sampled_from([3, 4, 5, 7]), width=st.none() | st.integers(1, 50))
def test_a_spec_comes_back_from_json(fields: dict[str, Any], kernel_size: int, width: int | None) -> None:
    entry = ARCHITECTURES[fields["arch"]]
    fields["classes"] = entry.num_classes or fields["classes"]
    takes = entry.takes_kernel_size and (kernel_size % 2 or entry.takes_even_kernels)
    extra: dict[str, Any] = {"kernel_size": kernel_size} if takes else {}
    if fields["arch"] == "3-fc":
        extra["width"] = width
    spec = ModelSpec(**fields, **extra)
    assert ModelSpec.from_json(spec.to_json(), "x") == spec


GOOD = {"arch": "s-fc", "args": {"image": [16, 16], "channels": 3, "classes": 5, "alpha": 2, "dropout": 0.0}}


@pytest.mark.parametrize(
    "change",
    [
        {"image": [16]}, {"image": [16, 16, 16]}, {"image": "16"}, {"image": [16.0, 16]}, {"image": [0, 16]},
        {"image": None}, {"alpha": 0}, {"alpha": -1}, {"alpha": "2"}, {"alpha": 2.0}, {"alpha": True},
        {"classes": 0}, {"channels": 0}, {"channels": None}, {"dropout": 1}, {"dropout": -0.1}, {"dropout": "x"},
        {"dropout": None}, {"kernel_size": 5}, {"width": 7}, {"colour": 1}, {"arch": "x"},
        {"alpha": 2**40}, {"alpha": 10**30}, {"image": [2**40, 2**40]}, {"classes": 2**62},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_a_bad_spec_is_bad_input(change: dict[str, Any]) -> None:
    with pytest.raises(BadInputError) as caught:
        empty_model(ModelSpec.from_json({"arch": "s-fc", "args": GOOD["args"] | change}, "net.safetensors"))  # type: ignore[operator]
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"arch": "s-fc"},
        {"args": {}},
        {"arch": "s-fc", "args": []},
        {"arch": "lenet", "args": GOOD["args"]},
        {"arch": ["s-fc"], "args": GOOD["args"]},
    ],
    ids=str,
)
def test_half_a_spec_is_bad_input(spec: dict[str, Any]) -> None:
    said = r": the architecture in the header cannot be built" if spec else " does not say what network it is"
    with pytest.raises(BadInputError, match=r"net\.safetensors" + said):
        ModelSpec.from_json(spec, "net.safetensors")


def test_misplaced_arguments() -> None:
    with pytest.raises(UsageError, match="s-fc takes no kernel size"):
        ModelSpec(arch="s-fc", image=(16, 16), channels=3, classes=4, alpha=1, kernel_size=5)
    with pytest.raises(UsageError, match="s-fc takes no width"):
        ModelSpec(arch="s-fc", image=(16, 16), channels=3, classes=4, alpha=1, width=5)
    with pytest.raises(UsageError, match="unknown architecture 'lenet'; known: s-conv"):
        ModelSpec(arch="lenet", image=(16, 16), channels=3, classes=4, alpha=1)


def test_the_registry_is_complete() -> None:
    for name, entry in ARCHITECTURES.items():
        assert callable(import_module(entry.module).build), name
        assert entry.summary
        assert entry.fc_counterpart is None or entry.fc_counterpart in ARCHITECTURES


THREE_FC = ModelSpec(arch="3-fc", image=(4, 4), channels=2, classes=3, width=9)


def test_a_spec_without_widths_says_nothing_of_them() -> None:
    assert "widths" not in json.dumps(THREE_FC.to_json())
    assert ModelSpec.from_json(THREE_FC.to_json() | {"widths": {}}, "test") == THREE_FC


@pytest.mark.parametrize(
    "widths", [["layer1"], {"layer1": 0}, {"layer1": -1}, {"layer1": 2.0}, {"layer1": True}, {"layer1": "2"}, None,
               "", {"layer1": 10**9}, {"layer1": [2]}], ids=str
)  # fmt: skip
def test_hostile_widths(widths: object) -> None:
    with pytest.raises(BadInputError, match="cannot be built"):
        ModelSpec.from_json(THREE_FC.to_json() | {"widths": widths}, "test")


def test_widths_in_the_arguments_are_refused() -> None:
    spec = THREE_FC.to_json()
    spec["args"]["widths"] = {"layer1": 2}
    with pytest.raises(BadInputError, match="cannot be built"):
        ModelSpec.from_json(spec, "test")
    with pytest.raises(UsageError, match="one a layer"):
        dataclasses.replace(THREE_FC, widths=(("layer1", 2), ("layer1", 3)))
