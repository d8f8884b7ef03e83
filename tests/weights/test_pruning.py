"""Pruned weights against a stable sort of all magnitudes."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from lcstool.checkpoint import Checkpoint, CsrTensor
from lcstool.errors import NonFiniteError
from lcstool.weights import WeightTensor, count_layer, find_weights, tensors
from lcstool.weights.pruning import num_pruned, prune_below, prune_magnitude, prune_tensors

Saved = Callable[..., Checkpoint]
DTYPES = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64])
VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 3.0])


@st.composite
def layers(draw: st.DrawFn) -> list[Tensor]:
    """Few different magnitudes, so that there are ties within and between layers."""
    weights = []
    for _ in range(draw(st.integers(1, 3))):
        rows, columns = draw(st.integers(0, 6)), draw(st.integers(1, 5))
        values = draw(st.lists(VALUES, min_size=rows * columns, max_size=rows * columns))
        weights.append(torch.tensor(values, dtype=draw(DTYPES)).view(rows, columns))
    return weights


def opened(saved: Saved, weights: Sequence[Tensor]) -> list[WeightTensor]:
    return find_weights(saved({f"layer{index}.weight": weight for index, weight in enumerate(weights)}))


def whole(weights: Sequence[WeightTensor]) -> list[Tensor]:
    return [torch.cat(list(weight.rows())).view(weight.shape) for weight in weights]


def sorted_out(weights: Sequence[Tensor], fraction: float) -> list[Tensor]:
    """The same by sorting: the first of all magnitudes in order, ties by position."""
    magnitude = torch.cat([weight.double().abs().flatten() for weight in weights])
    order = torch.argsort(magnitude, stable=True)
    kept = torch.ones(len(magnitude), dtype=torch.bool)
    kept[order[: round(fraction * len(magnitude))]] = False
    parts = kept.split([weight.numel() for weight in weights])
    return [torch.where(part.view_as(w), w, 0) for part, w in zip(parts, weights, strict=True)]


def check_same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@examples(200)
@given(
    weights=layers(),
    fraction=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])),
    scope=st.sampled_from(["global", "layer"]),
    block_bytes=st.integers(1, 60),
)
def test_pruning_is_sorting(
    saved: Saved, weights: list[Tensor], fraction: float, scope: str, block_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "_BLOCK_BYTES", block_bytes)
        found = whole(prune_magnitude(opened(saved, weights), fraction, scope))
    expected = (
        sorted_out(weights, fraction)
        if scope == "global"
        else [sorted_out([weight], fraction)[0] for weight in weights]
    )
    check_same(found, expected)


@pytest.mark.parametrize("fraction", [0.001, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_continuous_weights_are_pruned_by_the_exact_count(
    saved: Saved, dtype: torch.dtype, fraction: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(shape, generator=generator, dtype=torch.float64).mul(scale).to(dtype)
        for shape, scale in (((53, 47), 1e-6), ((31, 20, 3, 3), 1.0), ((10, 99), 1e-2))
    ]
    found = whole(prune_magnitude(opened(saved, weights), fraction, "global"))
    check_same(found, sorted_out(weights, fraction))
    total = sum(weight.numel() for weight in weights)
    pruned = num_pruned(fraction, total)
    if all(bool(weight.all()) for weight in weights):
        assert sum(int(torch.count_nonzero(weight)) for weight in found) == total - pruned
    assert sum(int((a != b).sum()) for a, b in zip(found, weights, strict=True)) <= pruned


def test_half_of_five_weights_is_two(saved: Saved) -> None:
    """As torch.nn.utils.prune rounds, and Python: a half goes to the even number."""
    (found,) = whole(prune_magnitude(opened(saved, [torch.tensor([[1.0, 2, 3, 4, 5]])]), 0.5, "global"))
    assert found.tolist() == [[0, 0, 3, 4, 5]]


@examples(200)
@given(
    count=st.integers(1, 300),
    fraction=st.one_of(st.floats(0, 1), st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])),
)
def test_the_count_is_that_of_torch(count: int, fraction: float) -> None:
    layer = nn.Linear(count, 1)
    prune.l1_unstructured(layer, "weight", amount=fraction)
    assert num_pruned(fraction, count) == int((layer.weight_mask == 0).sum())


@examples(200)
@given(weights=layers(), fraction=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])))
def test_a_network_in_memory_is_pruned_as_a_file_is(
    saved: Saved, weights: list[Tensor], fraction: float
) -> None:
    """Ties in the order of the layers, whatever the order of the names; what is no weight stays."""
    named = {f"layer{10 - index}.weight": weight for index, weight in enumerate(weights)}
    others = {
        "layer1.bias": torch.ones(2, 2, 3),
        "input.mean": torch.ones(3),
        "places": torch.ones(2, 2).int(),
    }
    found = prune_tensors(others | named, fraction)
    assert list(found) == [*others, *named]
    assert all(found[name] is tensor for name, tensor in others.items())
    from_file = prune_magnitude(find_weights(saved(others | named)), fraction, "global")
    check_same([found[weight.name] for weight in from_file], whole(from_file))


def test_networks_in_memory_are_left_as_they_were() -> None:
    weight = torch.tensor([[1.0, -1.0, 3.0, 2.0]])
    assert prune_tensors({"fc.weight": weight}, 0.5)["fc.weight"].tolist() == [[0, 0, 3, 2]]
    assert weight.tolist() == [[1, -1, 3, 2]]
    assert prune_tensors({}, 0.5) == {}
    with pytest.raises(NonFiniteError, match=r"^tensor 'fc.weight' holds NaN or infinite"):
        prune_tensors({"fc.weight": weight / 0}, 0.5)


def test_neighbouring_magnitudes_are_told_apart(saved: Saved) -> None:
    """Bits of every digit decide, of float64 the last too."""
    start = torch.tensor(1.0, dtype=torch.float64)
    steps = torch.arange(20.0, dtype=torch.float64) * torch.finfo(torch.float64).eps
    weight = (start + steps)[torch.randperm(20, generator=torch.Generator().manual_seed(0))].view(4, 5)
    (found,) = whole(prune_magnitude(opened(saved, [weight]), 0.25, "layer"))
    check_same([found], sorted_out([weight], 0.25))
    assert found[found != 0].min() == start + steps[5]


def test_ties_go_by_layer_and_position(saved: Saved) -> None:
    weights = [torch.ones(2, 3), -torch.ones(2, 2), torch.ones(1, 2)]
    found = whole(prune_magnitude(opened(saved, weights), 8 / 12, "global"))
    assert [weight.flatten().tolist() for weight in found] == [[0] * 6, [0, 0, -1, -1], [1, 1]]


def test_zeros_are_the_smallest(saved: Saved) -> None:
    weight = torch.tensor([[1.0, 0, 2, -0.0], [3, 0, 0, 4]])
    (half,) = whole(prune_magnitude(opened(saved, [weight]), 0.5, "global"))
    assert torch.equal(half, weight)
    (more,) = whole(prune_magnitude(opened(saved, [weight]), 5 / 8, "global"))
    assert more.flatten().tolist() == [0, 0, 2, 0, 3, 0, 0, 4]


def test_masked_and_compressed_weights(saved: Saved) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(8, 9, generator=generator), torch.randn(8, 9, generator=generator)
    mask = (torch.rand(8, 9, generator=generator) < 0.4).float()
    first[first.abs() < 1] = 0
    file = saved(
        {"a.weight": CsrTensor.from_dense(first), "b.weight_orig": second, "b.weight_mask": mask}, layers={}
    )
    found = whole(prune_magnitude(find_weights(file), 0.85, "global"))
    check_same(found, sorted_out([first, second * mask], 0.85))


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_pruned_weights_are_weights(saved: Saved, scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted, read twice and pruned again like those of a file."""
    monkeypatch.setattr(tensors, "_BLOCK_BYTES", 90)
    weights = [torch.randn(9, 7, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    once = prune_magnitude(opened(saved, weights), 0.3, scope)
    assert whole(once)[0].equal(whole(once)[0])
    assert sum(count_layer(weight).nonzeros for weight in once) == 126 - 38
    twice = prune_magnitude(once, 0.6, scope)
    direct = prune_magnitude(opened(saved, weights), 0.6, scope)
    check_same(whole(twice), whole(direct))
    check_same(whole(prune_magnitude(twice, 0.2, scope)), whole(direct))
    below = prune_below(twice, 1.0)
    check_same(whole(below), [torch.where(weight.abs() < 1, 0, weight) for weight in whole(direct)])
    check_same(
        whole(prune_magnitude(prune_below(opened(saved, weights), 1.0), 0.1, scope)),
        [torch.where(weight.abs() < 1, 0, weight) for weight in weights],
    )


@examples(60)
@given(weights=layers(), threshold=st.sampled_from([0.0, 0.5, 0.75, 1.0, 2.5, 9.0]))
def test_pruning_below_a_threshold(saved: Saved, weights: list[Tensor], threshold: float) -> None:
    found = whole(prune_below(opened(saved, weights), threshold))
    expected = [
        torch.tensor([v if abs(v) >= threshold else 0 for v in w.flatten().tolist()], dtype=w.dtype).view_as(
            w
        )
        for w in weights
    ]
    check_same(found, expected)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(saved: Saved, value: float, scope: str, fraction: float) -> None:
    weights = [torch.ones(3, 4), torch.ones(2, 2)]
    weights[1][1, 0] = value
    with pytest.raises(NonFiniteError, match=r"'layer1.weight' holds NaN or infinite"):
        prune_magnitude(opened(saved, weights), fraction, scope)


def test_nothing_to_prune(saved: Saved) -> None:
    for fraction in (0.0, 0.5, 1.0):
        for scope in ("global", "layer"):
            (found,) = whole(prune_magnitude(opened(saved, [torch.empty(0, 4)]), fraction, scope))
            assert found.shape == (0, 4)
    assert prune_magnitude([], 0.5, "global") == []
