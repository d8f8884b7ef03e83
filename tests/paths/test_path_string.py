"""The string: its limits of no and of infinite stiffness, its steps solved by hand, and its stability."""

import copy

import pytest
import torch
from amounts import examples, first_of
from hypothesis import given
from hypothesis import strategies as st
from paths.networks import bits, mlp, of_registry, prepare, random_split, unchanged
from torch import Tensor, nn
from torch.nn import functional as F

from lcstool.data.augment import build_augmentation
from lcstool.errors import NonFiniteError, UsageError
from lcstool.paths import (
    BatchedNetwork,
    Points,
    StringOptions,
    linear_path,
    path_length,
    positions,
    straight_length,
    string_step,
    train_string_epoch,
)
from lcstool.paths import string as string_module
from lcstool.paths.one_by_one import train_string_epoch_plainly
from lcstool.paths.string import string_gradients


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_points(num_points: int, seed: int = 0) -> Points:
    """Two tensors of 2 and 3 entries, at places without order."""
    shapes = {"a": (num_points, 2), "b": (num_points, 3, 1)}
    return Points(
        {n: torch.randn(s, dtype=torch.float64, generator=rng(seed)) for n, s in shapes.items()}, {}
    )


def gradients_like(points: Points, seed: int = 7, scale: float = 1.0) -> dict[str, Tensor]:
    made = {
        n: torch.randn(t[1:-1].shape, dtype=t.dtype, generator=rng(seed))
        for n, t in points.parameters.items()
    }
    return {name: scale * tensor for name, tensor in made.items()}


def clone(points: Points) -> Points:
    return Points({name: t.clone() for name, t in points.parameters.items()}, dict(points.buffers))


def matrix(tensors: dict[str, Tensor]) -> Tensor:
    """One row a point, all parameters side by side."""
    return torch.cat([tensor.flatten(1) for tensor in tensors.values()], dim=1)


def spring_matrix(n: int) -> Tensor:
    return (
        2 * torch.eye(n).double()
        - torch.eye(n).roll(1, 0).tril(-1).double()
        - torch.eye(n).roll(-1, 0).triu(1)
    )


STEPS = {
    f"{spring}{'-nudged' if nudge else ''}": (spring, nudge)
    for spring in ("implicit", "explicit") for nudge in (False, True)
}  # fmt: skip


@pytest.mark.parametrize("spring", ["implicit", "explicit"])
def test_parameters_move_by_blocks_as_at_once(spring: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, by_blocks = (random_points(5) for _ in range(2))
    gradients, options = gradients_like(at_once), StringOptions(lr=0.1, stiffness=2.0, spring=spring)
    string_step(at_once, gradients, options)
    monkeypatch.setattr(string_module, "_CPU_ENTRIES", 2)
    string_step(by_blocks, gradients, options)
    torch.testing.assert_close(
        matrix(by_blocks.parameters), matrix(at_once.parameters), rtol=1e-14, atol=1e-14
    )


def test_gradients_lie_in_memory_as_their_weights() -> None:
    points = Points.of([mlp(1), mlp(2), mlp(3)])
    split = random_split(8)
    network = BatchedNetwork(mlp(1), batch_statistics=True)
    _, gradients = string_gradients(network, points, prepare(split.images), split.labels, "cross-entropy")
    for name, gradient in gradients.items():
        assert gradient.stride() == points.parameters[name].stride(), name


@pytest.mark.parametrize(("spring", "nudge"), STEPS.values(), ids=STEPS)
def test_the_ends_never_move(spring: str, nudge: bool) -> None:
    points = random_points(5)
    before = clone(points)
    string_step(
        points, gradients_like(points), StringOptions(lr=0.1, stiffness=2.0, nudge=nudge, spring=spring)
    )
    for name, tensor in points.parameters.items():
        assert bits(tensor[0], before.parameters[name][0])
        assert bits(tensor[-1], before.parameters[name][-1])
        assert (tensor[1:-1] != before.parameters[name][1:-1]).all()


@examples(30)
@given(
    num_points=st.integers(3, 12), stiffness=st.floats(0, 1e6), lr=st.floats(1e-4, 1.0), seed=st.integers(0, 99)
)  # fmt: skip
def test_an_implicit_step_solves_its_linear_system(num_points, stiffness, lr, seed) -> None:
    points = random_points(num_points, seed)
    gradients, before = gradients_like(points, seed + 1), clone(points)
    string_step(points, gradients, StringOptions(lr=lr, stiffness=stiffness))
    n, s = num_points - 2, lr * stiffness * (num_points - 1)
    right = matrix(before.parameters)[1:-1] - lr * matrix(gradients)
    right[0] += s * matrix(before.parameters)[0]
    right[-1] += s * matrix(before.parameters)[-1]
    expected = torch.linalg.solve(torch.eye(n) + s * spring_matrix(n), right)
    torch.testing.assert_close(matrix(points.parameters)[1:-1], expected, rtol=1e-9, atol=1e-9)


def test_an_explicit_step_is_equation_2() -> None:
    points, lr, stiffness = random_points(6), 0.02, 3.0
    gradients, before = gradients_like(points), clone(points)
    string_step(points, gradients, StringOptions(lr=lr, stiffness=stiffness, spring="explicit"))
    k = stiffness * 5
    for name, x in before.parameters.items():
        for i in range(1, 5):
            force = gradients[name][i - 1] + k * (2 * x[i] - x[i - 1] - x[i + 1])
            torch.testing.assert_close(points.parameters[name][i], x[i] - lr * force)


def test_infinite_stiffness_gives_the_straight_line() -> None:
    points = random_points(7)
    string_step(points, gradients_like(points), StringOptions(lr=0.1, stiffness=1e14))
    ends = [{name: tensor[i] for name, tensor in points.parameters.items()} for i in (0, -1)]
    line = linear_path(ends, positions(7))
    for name, tensor in points.parameters.items():
        torch.testing.assert_close(tensor, line.parameters[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("spring", ["implicit", "explicit"])
def test_the_straight_line_is_at_rest(spring: str) -> None:
    start = random_points(6)
    line = linear_path([start.state(0), start.state(5)], positions(6))
    before = clone(line)
    for nudge in (False, True):
        string_step(
            line,
            gradients_like(line, scale=0.0),
            StringOptions(lr=0.01, stiffness=3.0, nudge=nudge, spring=spring),
        )
    for name, tensor in line.parameters.items():
        torch.testing.assert_close(tensor, before.parameters[name], rtol=0, atol=1e-14)


@pytest.mark.parametrize("nudge", first_of([True, False], 1))
def test_explicit_steps_are_unstable_beyond_half_where_implicit_ones_are_stable(nudge: bool) -> None:
    def spread(spring: str, strength: float) -> float:
        """What is left, after many steps without a gradient, of a path that starts off its line."""
        points = random_points(9)
        if nudge:  # on a line in space, but unevenly spaced: the tangents stay what they are
            direction = torch.ones(1, 2, dtype=torch.float64)
            places = torch.linspace(0, 8, 9, dtype=torch.float64) + torch.tensor([0, 0.2, -0.2] * 3)
            points = Points({"a": places[:, None] * direction}, {})
        options = StringOptions(lr=0.1, stiffness=strength / (0.1 * 8), nudge=nudge, spring=spring)
        still = gradients_like(points, scale=0.0)
        for _ in range(600):
            string_step(points, still, options)
        line = linear_path([points.state(0), points.state(8)], positions(9))
        return (matrix(points.parameters) - matrix(line.parameters)).norm().item()

    assert spread("explicit", 0.45) < 1e-6
    assert not spread("explicit", 0.6) < 1e3
    for strength in (0.45, 0.6, 10.0, 1e6):
        assert spread("implicit", strength) < 1e-6


@pytest.mark.parametrize("spring", ["implicit", "explicit"])
def test_nudged_gradients_act_across_the_path_and_springs_along_it(spring: str) -> None:
    points, lr = random_points(6), 0.05
    gradients, before = gradients_like(points), clone(points)
    x, g = matrix(before.parameters), matrix(gradients)
    tangents = F.normalize(x[2:] - x[:-2], dim=1)
    for stiffness in (0.0, 4.0):
        points = clone(before)
        string_step(points, gradients, StringOptions(lr=lr, stiffness=stiffness, nudge=True, spring=spring))
        moved = matrix(points.parameters)[1:-1] - x[1:-1]
        along = (moved * tangents).sum(dim=1, keepdim=True)
        across = g - (g * tangents).sum(dim=1, keepdim=True) * tangents
        torch.testing.assert_close(moved - along * tangents, -lr * across)
        # The spring's pull, at the old place or the new one, is what moved it along.
        at = x if spring == "explicit" else matrix(points.parameters)
        pull = 2 * at[1:-1] - at[:-2] - at[2:]
        expected = -lr * stiffness * 5 * (pull * tangents).sum(dim=1, keepdim=True)
        torch.testing.assert_close(along, expected, rtol=1e-9, atol=1e-12)


def test_a_nudged_step_survives_points_in_one_place_and_any_stiffness() -> None:
    points = Points({"a": torch.zeros(5, 3)}, {})
    string_step(points, {"a": torch.ones(3, 3)}, StringOptions(lr=0.1, stiffness=1.0, nudge=True))
    torch.testing.assert_close(points.parameters["a"][1:-1], torch.full((3, 3), -0.1))
    points = random_points(8)
    for _ in range(50):
        string_step(
            points, gradients_like(points, scale=0.0), StringOptions(lr=0.1, stiffness=1e12, nudge=True)
        )
    assert matrix(points.parameters).isfinite().all()


def test_a_path_of_its_ends_alone_stays() -> None:
    points = random_points(2)
    before = clone(points)
    string_step(points, gradients_like(points), StringOptions(lr=0.1, stiffness=1.0))
    assert all(bits(t, before.parameters[name]) for name, t in points.parameters.items())
    assert len(epoch(Points.of([mlp(1), mlp(2)]), [mlp(1)], StringOptions(lr=0.1, stiffness=1.0))) == 0


@pytest.mark.parametrize(
    "fields", [{"lr": -1}, {"stiffness": float("inf")}, {"lr": float("nan")}, {"spring": "x"}]
)
def test_options_that_make_no_sense(fields) -> None:
    with pytest.raises(UsageError):
        StringOptions(**({"lr": 0.1, "stiffness": 1.0} | fields))


def epoch(points, models, options, run=train_string_epoch, side=6, augment=unchanged, **more) -> Tensor:
    """One epoch of 3 steps on 26 images, two of which are left over."""
    split = random_split(26, side)
    return run(
        models[0], points, split, prepare, augment, "cross-entropy", options, 8, generator=rng(5), **more
    )


@pytest.mark.parametrize("norm", [True, False])
def test_without_springs_every_point_descends_by_itself(norm: bool) -> None:
    models = [mlp(seed, norm) for seed in (1, 2)]
    points = linear_path([model.state_dict() for model in models], positions(5))
    alone: list[nn.Module] = []
    for index in range(1, 4):
        network = copy.deepcopy(models[0])
        points.load_into(network, index)
        alone.append(network.train())
    losses = epoch(points, models, StringOptions(lr=0.3, stiffness=0.0))
    split, order = random_split(26), torch.randperm(26, generator=rng(5))
    for row, network in enumerate(alone):
        optimizer, total = torch.optim.SGD(network.parameters(), lr=0.3), 0.0
        for batch in order[:24].split(8):
            loss = F.cross_entropy(network(prepare(split.images[batch])), split.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / 3
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(points.parameters[name][row + 1], parameter, rtol=0, atol=1e-10)
        assert losses[row].item() == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize("spring", ["implicit", "explicit"])
@pytest.mark.parametrize("arch", first_of(["mlp", "resnet18", "vanilla-cnn", "s-local", "d-fc"], 3))
def test_together_is_one_after_another(arch: str, spring: str) -> None:
    models = [mlp(seed) if arch == "mlp" else of_registry(arch, seed) for seed in (1, 2)]
    side = 6 if arch == "mlp" else 9
    options = StringOptions(lr=0.1, stiffness=0.4, spring=spring)
    start = linear_path([model.state_dict() for model in models], positions(5))
    crop_flip = build_augmentation("crop-flip")

    def trained(**more) -> tuple[Points, Tensor]:
        points = clone(start)
        return points, epoch(points, models, options, side=side, augment=crop_flip, **more)

    expected, expected_losses = trained(run=train_string_epoch_plainly)
    assert (matrix(expected.parameters) - matrix(start.parameters))[1:-1].abs().max() > 1e-4
    for points, losses in (trained(), trained(chunk=2), trained(batched=False)):
        torch.testing.assert_close(losses, expected_losses, rtol=0, atol=1e-10)
        for name, tensor in points.parameters.items():
            torch.testing.assert_close(tensor, expected.parameters[name], rtol=0, atol=1e-10)
            assert bits(tensor[0], start.parameters[name][0])
            assert bits(tensor[-1], start.parameters[name][-1])


def test_a_stiff_string_stays_the_line_and_a_loose_one_lowers_the_loss() -> None:
    models = [mlp(1), mlp(2)]
    start = linear_path([model.state_dict() for model in models], positions(5))
    stiff, loose = clone(start), clone(start)
    first = epoch(clone(start), models, StringOptions(lr=0.0, stiffness=0.0))
    for _ in range(5):
        epoch(stiff, models, StringOptions(lr=0.1, stiffness=1e9))
        last = epoch(loose, models, StringOptions(lr=0.1, stiffness=0.1))
    assert path_length(stiff) == pytest.approx(straight_length(start), rel=1e-6)
    assert path_length(loose) > straight_length(start) * 1.001
    assert (last < first).all()


def test_steps_are_counted_and_may_be_stopped() -> None:
    models, steps = [mlp(1), mlp(2)], []
    points = linear_path([model.state_dict() for model in models], positions(4))
    epoch(points, models, StringOptions(lr=0.1, stiffness=1.0), on_step=steps.append)
    assert steps == [1, 2, 3]


def test_a_loss_that_explodes_ends_the_epoch() -> None:
    models = [mlp(1, norm=False), mlp(2, norm=False)]
    points = linear_path([model.state_dict() for model in models], positions(4))
    with pytest.raises(NonFiniteError, match=r"in step [23] of 3"):
        epoch(points, models, StringOptions(lr=1e200, stiffness=0.0))


def test_batch_norm_needs_two_images() -> None:
    points = Points.of([mlp(1), mlp(2), mlp(3)])
    with pytest.raises(UsageError, match="at least 2"):
        train_string_epoch(
            mlp(1),
            points,
            random_split(),
            prepare,
            unchanged,
            "mse",
            StringOptions(lr=0.1, stiffness=1.0),
            1,
            rng(),
        )
