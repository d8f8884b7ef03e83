"""The weights of a file: ours, plain state dicts, torch's pruning, compressed storage; misfits are refused."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from embedded import embedded_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from lcstool.checkpoint import Checkpoint, CsrTensor
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.layers.geometry import ConvGeometry
from lcstool.models.wiring.trace import trace
from lcstool.weights import WeightTensor, find_weights, tensors
from lcstool.weights.tensors import natural_key

Saved = Callable[..., Checkpoint]
GEOMETRY = ConvGeometry(in_shape=(4, 5, 6), out_channels=6, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0))


def whole(weight: WeightTensor) -> Tensor:
    return torch.cat(list(weight.rows())).view(weight.shape)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_plain_state_dict(saved: Saved) -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(54, 5))
    found = find_weights(saved(model.state_dict()))
    assert [(w.layer, w.name, w.kind, w.shape) for w in found] == [
        ("0", "0.weight", "conv", (6, 2, 3, 3)),
        ("3", "3.weight", "fc", (5, 54)),
    ]
    assert [(w.num_units, w.fan_in, w.num_weights) for w in found] == [(6, 18, 108), (5, 54, 270)]
    assert all(w.geometry is None and not w.pads_inputs for w in found)
    assert torch.equal(whole(found[0]), model[0].weight)
    assert torch.equal(whole(found[1]), model[3].weight)


def test_a_network_of_torchvision(saved: Saved) -> None:
    model = torchvision.models.resnet18(weights=None)
    found = find_weights(saved(model.state_dict()))
    expected = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert {w.layer: w.shape for w in found} == {n: tuple(m.weight.shape) for n, m in expected.items()}
    assert {w.layer for w in found if w.kind == "fc"} == {"fc"}
    for weight in found:
        assert torch.equal(whole(weight), expected[weight.layer].weight), weight.layer


@pytest.mark.parametrize("kept", [0.0, 0.3, 1.0])
def test_torchs_own_pruning(saved: Saved, kept: float) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(18, 5))
    torch.manual_seed(0)
    prune.random_unstructured(model[0], "weight", 1 - kept)
    prune.l1_unstructured(model[3], "weight", 1 - kept)
    prune.random_unstructured(model[3], "bias", 1 - kept)
    state = model.state_dict()
    assert state["0.weight_mask"].is_floating_point()
    found = find_weights(saved(state))
    assert [(w.layer, w.name) for w in found] == [("0", "0.weight"), ("1", "1.weight"), ("3", "3.weight")]
    for weight, module in zip(found, (model[0], model[1], model[3]), strict=True):
        assert torch.equal(whole(weight), module.weight)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.float64])
def test_masks_of_any_dtype(saved: Saved, dtype: torch.dtype) -> None:
    weight, mask = randn(5, 7), randn(5, 7, seed=1) > 0
    weight[~mask] = math.nan  # what is masked does not matter
    (found,) = find_weights(saved({"a.weight_orig": weight, "a.weight_mask": mask.to(dtype)}))
    assert torch.equal(whole(found), torch.where(mask, weight, 0))


def test_an_original_on_its_own_is_a_weight_and_a_mask_is_none(saved: Saved) -> None:
    found = find_weights(saved({"attention_mask": randn(3, 3), "b.weight_orig": randn(2, 3)}))
    assert [w.layer for w in found] == ["b.weight_orig"]


def test_a_mask_of_another_shape_is_refused(saved: Saved) -> None:
    file = saved({"a.weight_orig": randn(4, 6), "a.weight_mask": torch.ones(6, 4)})
    with pytest.raises(BadInputError, match=r"'a.weight_mask' has shape \[6, 4\], 'a.weight_orig' \[4, 6\]"):
        find_weights(file)


@pytest.mark.parametrize("shape", [(7, 11), (5, 2, 3, 3)])
def test_compressed_storage(saved: Saved, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "_BLOCK_BYTES", 100)
    weight = randn(*shape)
    weight[weight.abs() < 1] = 0
    weight[2] = 0
    mask = (randn(*shape, seed=1) > 0).float()
    stored = {
        "a.weight": CsrTensor.from_dense(weight),
        "b.weight_orig": CsrTensor.from_dense(weight),
        "b.weight_mask": mask,
    }
    plain, masked = find_weights(saved(stored, layers={}))
    assert torch.equal(whole(plain), weight)
    assert torch.equal(whole(masked), weight * mask)


@pytest.mark.parametrize(
    ("shape", "kind", "pads_inputs"),
    [
        ((6, 4, 3, 2), "conv", False),
        ((3, 5, 6, 4, 3, 2), "local", False),
        ((90, 120), "fc", False),
        ((90, 4 * 7 * 6), "fc", True),
    ],
)
def test_what_the_geometry_says(
    saved: Saved, shape: tuple[int, ...], kind: str, pads_inputs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "_BLOCK_BYTES", 3000)
    weight = randn(*shape)
    (found,) = find_weights(saved({"a.weight": weight}, {"a": GEOMETRY}, "circular"))
    assert (found.kind, found.pads_inputs, found.padding_mode) == (kind, pads_inputs, "circular")
    assert found.geometry == GEOMETRY
    assert found.num_units == (6 if kind == "conv" else 90)
    assert found.num_units * found.fan_in == weight.numel()
    assert torch.equal(torch.cat(list(found.rows())), weight.view(found.num_units, -1))


def test_a_grouped_local_layer(saved: Saved) -> None:
    geometry = ConvGeometry(in_shape=(4, 5, 6), out_channels=6, kernel_size=(3, 2), groups=2)
    (found,) = find_weights(saved({"a.weight": randn(3, 5, 6, 2, 3, 2)}, {"a": geometry}))
    assert (found.kind, found.num_units, found.fan_in) == ("local", 90, 12)


@pytest.mark.parametrize("shape", [(6, 4, 2, 3), (5, 3, 6, 4, 3, 2), (120, 90), (90, 121), (6, 2, 3, 2)])
def test_a_weight_that_does_not_fit_its_geometry(saved: Saved, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInputError, match=r"'a.weight' of shape .* does not fit its geometry"):
        find_weights(saved({"a.weight": randn(*shape)}, {"a": GEOMETRY}))


def test_geometry_that_makes_no_sense(saved: Saved) -> None:
    with pytest.raises(BadInputError, match="a: the header's geometry"):
        find_weights(saved({"a.weight": randn(2, 3)}, {"a": {"in_shape": "large"}}))


@pytest.mark.parametrize(
    ("to", "pad_inputs"), [("fc", False), ("fc", True), ("local", False)], ids=["fc", "padded", "local"]
)
def test_embedded_networks(saved: Saved, to: str, pad_inputs: bool) -> None:
    """Biases of local layers, one a position, have three axes and are no weights."""
    spec = ModelSpec(arch="vanilla-cnn", image=(16, 16), channels=3, classes=5, alpha=2)
    model, found = embedded_model(spec, to, pad_inputs=pad_inputs), trace(empty_model(spec), spec.in_shape)
    weights = find_weights(saved(model.state_dict(), found.layers_json()))
    convs = list(found.layers)
    assert [w.layer for w in weights if w.geometry is not None] == convs
    assert all((w.kind, w.pads_inputs) == (to, pad_inputs) for w in weights if w.layer in convs)
    rest = [w for w in weights if w.layer not in convs]
    assert [w.shape for w in rest] == [(5, model.get_submodule(rest[0].layer).weight.shape[1])]
    for weight in weights:
        assert torch.equal(whole(weight), model.get_submodule(weight.layer).weight)


def test_layers_are_in_natural_order(saved: Saved) -> None:
    names = ["layer10.weight", "layer2.weight", "layer1.9.b.weight", "layer1.10.a.weight", "a2b3.weight"]
    found = find_weights(saved({name: randn(2, 2) for name in names}))
    assert [w.layer for w in found] == ["a2b3", "layer1.9.b", "layer1.10.a", "layer2", "layer10"]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=8))
def test_numbers_sort_as_numbers(numbers: list[int]) -> None:
    ordered = sorted((f"block{n}_{n % 7}.weight" for n in numbers), key=natural_key)
    assert ordered == [f"block{n}_{n % 7}.weight" for n in sorted(numbers)]


def test_what_is_no_weight(saved: Saved) -> None:
    file = saved({
        "state/momentum/a.weight": randn(2, 2),
        "a.weight": randn(2, 2),
        "a.bias": randn(2),
        "local.bias": randn(2, 3, 3),
        "pruned.bias_orig": randn(2, 3, 3),
        "pruned.bias_mask": torch.ones(2, 3, 3),
        "index": torch.ones(3, 3, dtype=torch.int64),
        "scale": torch.tensor(1.0),
    })  # fmt: skip
    assert [w.layer for w in find_weights(file)] == ["a"]


@pytest.mark.parametrize(
    "content",
    [{}, {"bias": torch.ones(3)}, {"state/a.weight": torch.ones(2, 2)}, {"n": torch.ones(2, 2).int()}],
)
def test_a_file_without_weights_is_refused(saved: Saved, content: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="holds no weights"):
        find_weights(saved(content, layers={}))


def test_names_of_unusual_tensors(saved: Saved) -> None:
    file = saved({
        "weight": randn(2, 3),
        "attn.in_proj_weight": randn(6, 2),
        "pos_embedding": randn(1, 4, 2),
        "rnn.weight_ih_l0": randn(4, 2),
    })  # fmt: skip
    assert {w.name: w.layer for w in find_weights(file)} == {
        "weight": "weight",
        "attn.in_proj_weight": "attn.in_proj_weight",
        "rnn.weight_ih_l0": "rnn.weight_ih_l0",
    }


@settings(deadline=None)
@given(
    rows=st.integers(0, 9), columns=st.integers(0, 9), block_bytes=st.integers(1, 200), masked=st.booleans()
)
def test_blocks_are_the_tensor(saved: Saved, rows: int, columns: int, block_bytes: int, masked: bool) -> None:
    stored = {"a.weight_orig" if masked else "a.weight": randn(rows, columns)}
    if masked:
        stored["a.weight_mask"] = (randn(rows, columns, seed=1) > 0).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_BLOCK_BYTES", block_bytes)
        (found,) = find_weights(saved(stored))
        blocks = list(found.rows())
    expected = stored.get("a.weight", torch.empty(0))
    if masked:
        expected = stored["a.weight_orig"] * stored["a.weight_mask"]
    assert torch.equal(torch.cat(blocks), expected)
    assert not columns or max(map(len, blocks)) <= max(1, block_bytes // (4 * columns))
    assert all(block.shape[1] == columns for block in blocks)
