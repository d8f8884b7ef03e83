"""The loss as a quadratic form, against the mean over data by conv1d."""

import pytest
import torch
import torch.nn.functional as F

from lcstool.errors import BadInputError
from lcstool.lcn import LinearConvArchitecture, loss
from lcstool.lcn.loss import QuadraticLoss
from lcstool.randomness import stream

CASES = [((3, 2), (1, 1)), ((2, 3, 2), (2, 1, 3)), ((4,), (2,))]


def data(
    architecture: LinearConvArchitecture, num: int, length: int
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    generator = stream(0, "data")
    x_NT = torch.randn(num, length, generator=generator, dtype=torch.float64)
    filters = [torch.randn(k, generator=generator, dtype=torch.float64) for k in architecture.kernels]
    num_outputs = (length - architecture.end_size) // architecture.end_stride + 1
    return x_NT, torch.randn(num, num_outputs, generator=generator, dtype=torch.float64), filters


def outputs(
    x_NT: torch.Tensor, filters: list[torch.Tensor], architecture: LinearConvArchitecture
) -> torch.Tensor:
    for own, stride in zip(filters, architecture.strides, strict=True):
        x_NT = F.conv1d(x_NT[:, None], own[None, None], stride=stride)[:, 0]
    return x_NT


@pytest.mark.parametrize(("kernels", "strides"), CASES)
def test_sampled_loss_is_the_mean_over_the_data(kernels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    architecture = LinearConvArchitecture(kernels, strides)
    x_NT, y_NP, filters = data(architecture, 7, 40)
    found = QuadraticLoss.of_data(x_NT, y_NP, architecture)
    expected = 0.5 * (outputs(x_NT, filters, architecture) - y_NP).square().mean()
    torch.testing.assert_close(found.value(architecture.compose(filters)), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.value(found.target).item(), found.floor, rtol=0, atol=0)
    assert found.is_definite
    assert not found.is_white


@pytest.mark.parametrize(("kernels", "strides"), CASES)
def test_data_of_a_filter_give_it_back(kernels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    architecture = LinearConvArchitecture(kernels, strides)
    x_NT, _, filters = data(architecture, 7, 40)
    found = QuadraticLoss.of_data(x_NT, outputs(x_NT, filters, architecture), architecture)
    torch.testing.assert_close(found.target, architecture.compose(filters), rtol=0, atol=1e-10)
    assert 0 <= found.floor < 1e-24


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = LinearConvArchitecture((3, 2), (1, 2))
    x_NT, y_NP, _ = data(architecture, 50, 30)
    whole = QuadraticLoss.of_data(x_NT, y_NP, architecture)
    monkeypatch.setattr(loss, "_CHUNK_ENTRIES", 200)
    split = QuadraticLoss.of_data(x_NT, y_NP, architecture)
    torch.testing.assert_close(split.moment_KK, whole.moment_KK, rtol=1e-13, atol=1e-15)
    assert split.floor == pytest.approx(whole.floor, rel=1e-12)


def test_too_few_patches_leave_directions_open() -> None:
    """One patch: any filter with its answer is at the floor, and the target is the shortest."""
    architecture = LinearConvArchitecture((2, 2), (1, 1))
    found = QuadraticLoss.of_data(torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([[9.0]]), architecture)
    assert not found.is_definite
    torch.testing.assert_close(found.target, torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64))
    assert found.excess(torch.tensor([9.0, 0, 0], dtype=torch.float64)).item() == pytest.approx(0, abs=1e-24)


def test_gradient_and_value_agree() -> None:
    generator = stream(0, "moment")
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    target_RK, w_RK = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    found = QuadraticLoss.of_target(target_RK, root @ root.T)
    w_RK.requires_grad_()
    (expected,) = torch.autograd.grad(found.value(w_RK).sum(), w_RK)
    torch.testing.assert_close(found.gradient(w_RK.detach()), expected)
    one = found.of_runs(torch.tensor([2]))
    torch.testing.assert_close(one.value(w_RK[2:]), found.value(w_RK)[2:])
    white = QuadraticLoss.of_target(target_RK[0])
    assert white.is_white
    torch.testing.assert_close(white.size, 0.5 * target_RK[0].square().sum())


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.ones(2, 2), torch.ones(2, 1), "3 or longer"),
        (torch.ones(2, 5), torch.ones(2, 2), r"expected \[2, 3\]"),
        (torch.full((2, 5), torch.nan), torch.ones(2, 3), "NaN"),
    ],
)
def test_unfit_data(x: torch.Tensor, y: torch.Tensor, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        QuadraticLoss.of_data(x, y, LinearConvArchitecture((2, 2), (1, 1)))


def test_unfit_targets() -> None:
    with pytest.raises(BadInputError, match="finite"):
        QuadraticLoss.of_target(torch.tensor([1.0, torch.inf]))
    with pytest.raises(BadInputError, match=r"expected \[2, 2\]"):
        QuadraticLoss.of_target(torch.ones(2), torch.eye(3))
    with pytest.raises(BadInputError, match="semidefinite"):
        QuadraticLoss.of_target(torch.ones(2), -torch.eye(2))
