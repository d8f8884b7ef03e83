"""Predictions hold for what training does, and fail for what it cannot do."""

from dataclasses import replace

import pytest
import torch
from amounts import few_or_many

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture
from lcstool.lcn.certify import certify
from lcstool.lcn.descent import descend
from lcstool.lcn.flow import flow
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.prediction import predict
from lcstool.lcn.runs import initial_filters
from lcstool.randomness import stream

PAIR = LinearConvArchitecture((2, 2), (1, 1))
OUTSIDE, INSIDE = torch.tensor([1.0, 0.3, 1.0]).double(), torch.tensor([1.0, 0.0, -1.0]).double()


@pytest.mark.parametrize(
    ("kernels", "strides", "target", "zero_loss", "may_share"),
    [
        ((2, 2), (1, 1), [1.0, 0.3, 1.0], False, True),
        ((2, 2), (1, 1), [1.0, 0.0, -1.0], True, True),
        ((3, 2), (1, 1), [1.0, 0.2, 1.0, 0.1], True, True),
        ((3,), (1,), [1.0, 0.3, 1.0], True, False),
        ((2, 2), (2, 1), [1.0, 2.0, 3.0, 6.0], True, False),
        ((2, 2), (2, 1), [1.0, 2.0, 3.0, 5.0], False, False),
        ((3, 2), (2, 1), [1.0, 2.0, 3.0, 5.0, 1.0], False, True),
    ],
)
@pytest.mark.parametrize("num_runs", few_or_many(12, 60))
def test_predictions(
    kernels: tuple[int, ...], strides: tuple[int, ...], target: list[float], zero_loss: bool, may_share: bool,
    num_runs: int,
) -> None:  # fmt: skip
    architecture = LinearConvArchitecture(kernels, strides)
    found = predict(architecture, torch.tensor(target, dtype=torch.float64))
    assert found.zero_loss is zero_loss
    assert found.may_share is may_share
    words = " ".join(found.certain)
    assert ("share a root" in words) == may_share
    assert ("out of reach" in words) == (not zero_loss)
    initial = initial_filters(architecture, num_runs, 1.0, stream(0, "p"))
    certificate = certify(found, descend(architecture, found.loss, initial, 0.01).filters)
    assert certificate.holds
    assert certificate.num_decided >= 0.9 * num_runs
    assert sum(certificate.counts.values()) == num_runs
    if zero_loss and not may_share:
        assert set(certificate.verdicts) <= {"zero loss", "unfinished"}


def test_all_verdicts() -> None:
    """Ends made by hand: at zero loss, at a saddle with a double root, at zero, on the way, and nowhere."""
    prediction = predict(PAIR, INSIDE)
    nan = float("nan")
    first = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [nan, 1.0]]).double()
    second = torch.tensor([[1.0, -1.0], [1.0, 0.0], [0.0, 0.0], [1.0, -0.9], [1.0, 1.0]]).double()
    certificate = certify(prediction, [first, second])
    assert certificate.verdicts == ("zero loss", "shared root", "zero filter", "unfinished", "diverged")
    assert certificate.holds
    assert certificate.num_decided == 3
    kinds = {own.verdict: own for own in certificate.ends}
    assert kinds["zero loss"].is_typical
    assert kinds["shared root"].pattern is not None
    assert kinds["shared root"].pattern.label == "2|0"
    assert kinds["shared root"].on_boundary
    assert not kinds["zero filter"].is_typical


def test_a_false_prediction_fails() -> None:
    """Runs that reach a target which is said to be out of reach."""
    prediction = predict(PAIR, INSIDE)
    false = replace(prediction, zero_loss=False)
    filters = [torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])]
    assert certify(prediction, filters).holds
    assert not certify(false, filters).holds
    unshared = replace(prediction, may_share=False)
    assert not certify(unshared, [torch.tensor([[1.0, 0.0]])] * 2).holds


def test_runs_that_never_ended_prove_nothing() -> None:
    certificate = certify(predict(PAIR, OUTSIDE), initial_filters(PAIR, 5, 1.0, stream(0, "u")))
    assert set(certificate.verdicts) == {"unfinished"}
    assert not certificate.holds


@pytest.mark.parametrize("num_runs", few_or_many(6, 40))
def test_flow_ends_on_the_boundary(num_runs: int) -> None:
    prediction = predict(PAIR, OUTSIDE)
    runs = flow(PAIR, prediction.loss, initial_filters(PAIR, num_runs, 1.0, stream(0, "flow")))
    certificate = certify(prediction, runs.filters)
    assert certificate.counts == {"shared root": num_runs}
    assert len(certificate.ends) == 2
    assert all(own.is_typical and own.on_boundary for own in certificate.ends)
    assert sum(own.num_runs for own in certificate.ends) == num_runs


def test_data_that_leave_directions_open() -> None:
    """One patch is fitted exactly whatever the roots of the shortest filter."""
    loss = QuadraticLoss.of_data(torch.tensor([[1.0, 0.3, 1.0]]), torch.tensor([[2.0]]), PAIR)
    prediction = predict(PAIR, loss)
    assert prediction.zero_loss is None
    assert not any("whatever the start" in own for own in prediction.certain)
    runs = descend(PAIR, loss, initial_filters(PAIR, 30, 1.0, stream(0, "data")), 0.05)
    certificate = certify(prediction, runs.filters)
    assert certificate.counts.get("zero loss", 0) > 25
    assert certificate.holds


def test_other_shapes_are_refused() -> None:
    prediction = predict(PAIR, INSIDE)
    with pytest.raises(BadInputError, match="expected"):
        certify(prediction, [torch.ones(2), torch.ones(2)])
    with pytest.raises(BadInputError, match="expected"):
        certify(prediction, [torch.ones(3, 2), torch.ones(3, 3)])
    with pytest.raises(BadInputError, match="expected"):
        predict(PAIR, torch.ones(4))
