"""A model file is taken only if it is exactly the model its header describes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError, NonFiniteError
from lcstool.models import ARCHITECTURES, ModelSpec, build_model, load_model

SPEC = ModelSpec(arch="s-conv", image=(9, 9), channels=1, classes=2, alpha=1)
State = dict[str, Tensor]


def saved(path: Path, change: Callable[[State], Any] = lambda state: None, spec: Any = None) -> Path:
    state = dict(build_model(SPEC).state_dict())
    change(state)
    write_checkpoint(path, Header(kind="model", model=spec or SPEC.to_json()), state)
    return path


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_was_saved_is_loaded(tmp_path: Path, arch: str) -> None:
    spec = ModelSpec(arch=arch, image=(9, 10), channels=1, classes=2, alpha=1)
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
    other = ModelSpec(arch="s-conv", image=(9, 9), channels=1, classes=2, alpha=2).to_json()
    with pytest.raises(BadInputError, match="has shape"):
        load_model(open_checkpoint(saved(tmp_path / "a", spec=other)))
    with pytest.raises(BadInputError, match="cannot be built: unknown architecture 'x'"):
        load_model(open_checkpoint(saved(tmp_path / "a", spec={"arch": "x", "args": {"image": [9, 9], "channels": 1,
                                         "classes": 2, "alpha": 1}})))  # fmt: skip
