"""Scores along a path are those of each network alone; barriers and outputs' averages are their formulas."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from paths.networks import CLASSES, mlp, prepare, random_split, shaken
from torch import nn
from torch.nn import functional as F

from lcstool.data.dataset import Split
from lcstool.errors import UsageError
from lcstool.evaluation import Score, evaluate
from lcstool.paths import (
    BatchedNetwork,
    Blend,
    barrier,
    best_point,
    linear_path,
    positions,
    score_outputs,
    score_points,
)

MODELS = [mlp(1), mlp(2)]
SPLIT = random_split(23)


@pytest.mark.parametrize("loss", ["cross-entropy", "mse", "bce"])
@pytest.mark.parametrize("chunk", [None, 1, 2, 3])
def test_scores_are_those_of_each_network_alone(loss: str, chunk: int | None) -> None:
    blend = Blend.linear([model.state_dict() for model in MODELS], positions(5))
    points, network = blend.points(), copy.deepcopy(MODELS[0])
    batched = BatchedNetwork(network)
    for given_blend in (None, blend):
        scores = score_points(batched, points, SPLIT, prepare, loss, 7, chunk, given_blend)
        for index, score in enumerate(scores):
            points.load_into(network, index)
            expected = evaluate(network, SPLIT, prepare, loss)
            assert score.loss == pytest.approx(expected.loss, rel=1e-12)
            assert score.accuracy == expected.accuracy
    assert len({score.accuracy for score in scores}) > 1


def test_no_more_points_than_asked_for_run_at_once() -> None:
    met: list[int] = []

    class Watched(BatchedNetwork):
        def __call__(self, points, x_BCHW, blend=None):
            met.append(points.num_points)
            return super().__call__(points, x_BCHW, blend)

    points = linear_path([model.state_dict() for model in MODELS], positions(7))
    assert len(score_points(Watched(MODELS[0]), points, SPLIT, prepare, batch_size=30, chunk=3)) == 7
    assert met == [3, 3, 1]


def test_linear_regression_has_no_barrier_on_the_line() -> None:
    """Its loss is convex. A network of two layers and its twin with permuted units have one between them."""
    alphas = positions(11)

    def barrier_between(models: list[nn.Module], split: Split, loss: str) -> float:
        points = linear_path([model.state_dict() for model in models], alphas)
        scores = score_points(BatchedNetwork(models[0]), points, split, prepare, loss)
        return barrier([score.loss for score in scores], alphas)

    linear = [shaken(nn.Sequential(nn.Flatten(), nn.Linear(108, CLASSES)).double(), s) for s in range(6)]
    assert [barrier_between([linear[0], other], SPLIT, "mse") for other in linear[1:]] == [0.0] * 5

    net, twin = mlp(1, norm=False), mlp(1, norm=False)
    state = net.state_dict()
    turned = {name: tensor.flip(0) if name.startswith("1.") else tensor for name, tensor in state.items()}
    twin.load_state_dict(turned | {"3.weight": state["3.weight"].flip(1)})
    for model in (net, twin):
        last = model.get_parameter("3.weight")
        last.data *= 10  # outputs that are sure of themselves
    learned = Split(SPLIT.images, net(prepare(SPLIT.images)).argmax(dim=1))
    assert barrier_between([net, twin], learned, "cross-entropy") > 0.1


def by_hand(alpha: float, loss: str, average: str) -> Score:
    """Averaged outputs with torch's functions on probabilities."""
    a_BK, b_BK = (model(prepare(SPLIT.images)).detach() for model in MODELS)
    labels = SPLIT.labels
    if average == "logits" or loss == "mse":
        z_BK = (1 - alpha) * a_BK + alpha * b_BK
        one_hot = F.one_hot(labels, CLASSES).double()
        value = {
            "cross-entropy": lambda: F.cross_entropy(z_BK, labels),
            "bce": lambda: F.binary_cross_entropy_with_logits(z_BK, one_hot),
            "mse": lambda: ((z_BK - one_hot) ** 2).mean(),
        }[loss]()
        return Score(value.item(), (z_BK.argmax(dim=1) == labels).double().mean().item())
    squash = torch.sigmoid if loss == "bce" else (lambda z: z.softmax(dim=1))
    p_BK = (1 - alpha) * squash(a_BK) + alpha * squash(b_BK)
    if loss == "bce":
        value = F.binary_cross_entropy(p_BK, F.one_hot(labels, CLASSES).double())
    else:
        value = -p_BK[torch.arange(len(labels)), labels].log().mean()
    return Score(value.item(), (p_BK.argmax(dim=1) == labels).double().mean().item())


@pytest.mark.parametrize("loss", ["cross-entropy", "mse", "bce"])
@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_outputs_are_averaged(loss: str, average: str) -> None:
    alphas = positions(5)
    scores = score_outputs(MODELS[0], MODELS[1], alphas, SPLIT, prepare, loss, average, batch_size=9)
    back = score_outputs(MODELS[1], MODELS[0], alphas, SPLIT, prepare, loss, average)
    for alpha, score, mirrored in zip(alphas.tolist(), scores, back[::-1], strict=True):
        expected = by_hand(alpha, loss, average)
        assert score.loss == pytest.approx(expected.loss, rel=1e-12)
        assert score.accuracy == pytest.approx(expected.accuracy)
        assert mirrored.loss == pytest.approx(score.loss, rel=1e-12)
    for model, score in zip(MODELS, (scores[0], scores[-1]), strict=True):
        assert score.loss == pytest.approx(evaluate(model, SPLIT, prepare, loss).loss, rel=1e-12)


def test_averages_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="not one of"):
        score_outputs(*MODELS, positions(3), SPLIT, prepare, average="median")
    with pytest.raises(UsageError, match="extrapolated"):
        score_outputs(*MODELS, positions(5, 0.1), SPLIT, prepare, average="probabilities")
    scores = score_outputs(*MODELS, positions(5, 0.1), SPLIT, prepare)
    assert scores[0].loss == pytest.approx(by_hand(-0.1, "cross-entropy", "logits").loss)


def test_swapped_networks_score_the_same_backwards() -> None:
    states = [model.state_dict() for model in MODELS]
    network, alphas = BatchedNetwork(MODELS[0]), positions(6)
    forth = score_points(network, linear_path(states, alphas), SPLIT, prepare)
    back = score_points(network, linear_path(states[::-1], alphas), SPLIT, prepare)
    for left, right in zip(forth, back[::-1], strict=True):
        assert left.loss == pytest.approx(right.loss, rel=1e-12)
        assert left.accuracy == right.accuracy


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_a_barrier_is_never_negative_and_none_at_the_ends(losses: list[float]) -> None:
    alphas = positions(len(losses))
    found = barrier(losses, alphas)
    assert found >= 0
    rises = [
        loss - (losses[0] + (losses[-1] - losses[0]) * alpha)
        for loss, alpha in zip(losses, alphas.tolist(), strict=True)
    ]
    assert found == pytest.approx(max(0.0, *rises), abs=1e-8)
    assert barrier([losses[0], losses[-1]], [0, 1]) == 0
    assert barrier(losses[::-1], alphas) == pytest.approx(found, abs=1e-8)
    # A line added to the losses raises the ends as it does the points between.
    tilted = [loss + 3 * alpha + 1 for loss, alpha in zip(losses, alphas.tolist(), strict=True)]
    assert barrier(tilted, alphas) == pytest.approx(found, abs=1e-8)


def test_a_barrier_lies_between_the_ends() -> None:
    assert barrier([9.0, 1.0, 2.0, 3.0, 9.0], [-0.5, 0.0, 0.25, 1.0, 1.5]) == pytest.approx(0.5)
    assert barrier([1.0, math.inf, 1.0], [0, 0.5, 1]) == math.inf
    assert math.isnan(barrier([1.0, math.nan, 1.0], [0, 0.5, 1]))
    with pytest.raises(ValueError, match="two or more"):
        barrier([1.0], [0.0])


def test_the_best_point() -> None:
    scores = [Score(2.0, 0.5), Score(1.0, 0.7), Score(0.9, 0.7), Score(0.9, 0.7), Score(0.1, 0.6)]
    assert best_point(scores) == 2


def test_a_split_of_one_image() -> None:
    one = Split(SPLIT.images[:1], SPLIT.labels[:1])
    points = linear_path([model.state_dict() for model in MODELS], positions(3))
    scores = score_points(BatchedNetwork(MODELS[0]), points, one, prepare)
    assert [score.accuracy in (0.0, 1.0) for score in scores] == [True] * 3
