"""The closed form of the mean filter against gradient descent step by step."""

import math
from dataclasses import replace

import pytest
import torch
from amounts import examples
from energy.descents import iterate, normal, patches_and_labels, stable_rate
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lcstool.energy import (
    Descent,
    LinearProblem,
    PatchBasis,
    linear_gd_profile,
    optimal_profile,
    random_label_profile,
)
from lcstool.errors import BadInputError


@pytest.mark.parametrize("share", [1e-9, 0.3, 1.0, 1.7, 2.2])  # the last two overshoot, the last diverges
@pytest.mark.parametrize("steps", [0, 1, 2, 7, 60])
@pytest.mark.parametrize("start", ["zero", "random"])
def test_the_closed_form_is_iterated_descent(share: float, steps: int, start: str) -> None:
    average, labels = patches_and_labels()
    rate = stable_rate(average, share)
    initial = torch.zeros(6, dtype=torch.float64) if start == "zero" else normal(6, seed=5)
    problem = LinearProblem.of(average, labels)
    found = problem.filter_after(Descent(steps=steps, lr=rate), initial)
    expected = iterate(average, labels, rate, steps, initial)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * min(1.0, share))


@examples(60)
@given(
    size=st.integers(1, 12), dims=st.integers(1, 8), rank=st.integers(1, 8), steps=st.integers(0, 40),
    share=st.floats(1e-6, 1.95), seed=st.integers(0, 99),
)  # fmt: skip
def test_it_holds_for_any_rank(size: int, dims: int, rank: int, steps: int, share: float, seed: int) -> None:
    average = normal(size, rank, seed=seed) @ normal(rank, dims, seed=seed + 1)
    labels, initial = (normal(size, seed=seed + 2) > 0).double(), normal(dims, seed=seed + 3)
    rate = stable_rate(average, share)
    found = LinearProblem.of(average, labels).filter_after(Descent(steps=steps, lr=rate), initial)
    expected = iterate(average, labels, rate, steps, initial)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_directions_without_images_keep_what_they_began_with() -> None:
    average, labels = patches_and_labels()
    average[:, 2] = 0
    average[:, 4] = average[:, 3]
    problem = LinearProblem.of(average, labels)
    assert (problem.roots_E == 0).sum() == 2
    initial, rate = normal(6, seed=5), stable_rate(average)
    found = problem.filter_after(Descent(steps=50, lr=rate), initial)
    torch.testing.assert_close(found, iterate(average, labels, rate, 50, initial), rtol=1e-10, atol=1e-10)
    assert found[2].item() == pytest.approx(initial[2].item(), abs=1e-12)
    (left,) = linear_gd_profile(problem, Descent(steps=50, lr=rate)).warnings
    assert left == "K^T K is singular (rank 4 of 6): along the rest the filters stay as they began"
    shortest = optimal_profile(problem)
    assert shortest.warnings == (
        "K^T K is singular (rank 4 of 6): of the optimal filters the shortest is taken",
    )
    torch.testing.assert_close(shortest.mean_D, torch.linalg.pinv(average) @ labels, rtol=1e-6, atol=1e-8)


def test_nearly_singular_patches_lose_no_digits() -> None:
    """A direction with s = 1e-16 of the largest is lost in K^T K; enough steps are taken for it to move."""
    left, right = torch.linalg.qr(normal(30, 4))[0], torch.linalg.qr(normal(4, 4, seed=1))[0]
    roots = torch.tensor([1.0, 1e-2, 1e-5, 1e-8], dtype=torch.float64)
    labels = (normal(30, seed=2) > 0).double()
    problem = LinearProblem.of(left * roots @ right, labels)
    torch.testing.assert_close(problem.roots_E, roots, rtol=1e-6, atol=0)
    for steps in (1.0, 1e3, 1e9, 1e16):
        found = problem.filter_after(Descent(steps=steps, lr=0.5))
        gain = torch.tensor([-math.expm1(steps * math.log1p(-0.5 * s**2)) / s for s in roots.tolist()])
        expected = (gain.double() * (left.T @ labels)) @ right
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9 * float(gain.max()))


@pytest.mark.parametrize("steps", [1.0, 3.0, 7.5, 400.0])
@pytest.mark.parametrize("zero", [False, True])
def test_early_stopping_is_this_ridge_regression(steps: float, zero: bool) -> None:
    average, labels = patches_and_labels()
    if zero:
        average[:, 3] = 0
    problem, descent = LinearProblem.of(average, labels), Descent(steps=steps, lr=stable_rate(average, 0.8))
    ridge = problem.regulariser(descent)
    solved = torch.linalg.solve(average.T @ average + ridge, average.T @ labels)
    torch.testing.assert_close(problem.filter_after(descent), solved, rtol=1e-7, atol=1e-9)
    if zero:
        assert ridge[3, 3].item() == pytest.approx(1 / (descent.lr * steps))
    with pytest.raises(BadInputError, match="before the first step"):
        problem.regulariser(Descent(steps=0, lr=1.0))


def test_the_basis_only_rotates(basis: PatchBasis, images_NCHW: Tensor) -> None:
    average = basis.average_patches([images_NCHW])
    labels = torch.arange(200) % 2
    descent = Descent(steps=30, lr=stable_rate(average))
    plain = LinearProblem.of(average, labels).filter_after(descent)
    rotated = LinearProblem.of(average, labels, basis).filter_after(descent)
    torch.testing.assert_close(basis.eigenvectors_DD @ plain, rotated)


def test_single_patches_are_images_of_one_patch(basis: PatchBasis, images_NCHW: Tensor) -> None:
    """If every patch is an image of its own, and centred, the closed form follows from the basis's eigenvalues."""
    windows = images_NCHW.double().unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5)
    patches = windows.reshape(-1, basis.num_components) / 255
    materialised = LinearProblem.of(patches - patches.mean(dim=0), None, basis)
    problem = LinearProblem.of_patches(basis)
    for steps in (1, 40, 1000):
        descent = Descent(steps=steps, lr=0.05, loss="mean")
        found = random_label_profile(problem, descent).energy_D
        expected = random_label_profile(materialised, descent).energy_D
        scale = math.sqrt(len(patches) / len(images_NCHW))
        torch.testing.assert_close(found, expected * scale, rtol=1e-6, atol=1e-9)


def test_patches_without_a_direction_leave_it(basis: PatchBasis) -> None:
    values = basis.eigenvalues_D.clone()
    values[-2:] = 1e-18
    problem = LinearProblem.of_patches(replace(basis, eigenvalues_D=values))
    profile = random_label_profile(problem, Descent(steps=1e9, lr=0.01, loss="mean"))
    assert profile.energy_D[-2:].tolist() == [0, 0]
    assert profile.warnings == (
        "K^T K is singular (rank 25 of 27): along the rest the filters stay as they began",
    )
