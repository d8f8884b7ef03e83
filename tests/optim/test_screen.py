"""The bound holds: no zero that it certifies comes back, and its statistics are those of all ratios at once."""

import math

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lcstool.optim import BetaLasso
from lcstool.optim import screen as module
from lcstool.optim.screen import Screen, column_squares, rounding_of, screen

# Shape suffixes: B images, U units, D inputs.


def problem(
    seed: int, images: int, units: int, inputs: int, dtype: torch.dtype, density: float = 0.3
) -> tuple[Tensor, Tensor, Tensor]:
    """A weight with zeros, inputs and output gradients of very different sizes, some of them zero."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=dtype, generator=generator)

    weight_UD = draw(units, inputs) * (torch.rand(units, inputs, generator=generator) < density)
    x_BD, d_BU = draw(images, inputs) * draw(inputs).exp(), draw(images, units) * draw(units).exp()
    x_BD[:, torch.rand(inputs, generator=generator) < 0.1] = 0
    return weight_UD, x_BD, d_BU


def screened(
    weight_UD: Tensor, x_BD: Tensor, d_BU: Tensor, lr: float, threshold: float
) -> tuple[Screen, Tensor]:
    gradient_UD = d_BU.T @ x_BD
    squares = column_squares(d_BU), column_squares(x_BD)
    return screen(weight_UD, gradient_UD, *squares, lr, threshold, rounding_of(d_BU)), gradient_UD


@examples(100)
@given(
    seed=st.integers(0, 10**6),
    images=st.sampled_from([1, 2, 7, 64, 130]),
    units=st.integers(1, 12),
    inputs=st.integers(1, 12),
    level=st.floats(-3, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    block=st.sampled_from([1, 30, 1 << 20]),
)
def test_the_bound_bounds_and_what_it_certifies_stays_zero(
    seed: int, images: int, units: int, inputs: int, level: float, dtype: torch.dtype, block: int
) -> None:
    weight, x, d = problem(seed, images, units, inputs, dtype)
    lr, beta = 0.1, 3.0
    typical = (d.norm(dim=0).median() * x.norm(dim=0).median()).item() or 1.0
    lambda_ = lr * typical * math.exp(level) / beta
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        found, gradient = screened(weight, x, d, lr, beta * lambda_)

    is_zero = weight == 0
    bound = d.double().norm(dim=0)[:, None] * x.double().norm(dim=0)
    exact = d.double().T @ x.double()
    assert bool((exact.abs() <= bound * (1 + 1e-12)).all())

    parameter = nn.Parameter(weight.clone())
    parameter.grad = gradient
    BetaLasso([parameter], lr=lr, lambda_=lambda_, beta=beta).step()
    revived = is_zero & (parameter.detach() != 0)
    ratios = (lr * bound / (beta * lambda_))[is_zero]
    certified = ratios < 1 - 2 * rounding_of(d)
    assert not bool((revived[is_zero] & certified).any())

    assert found.num_zeros == int(is_zero.sum())
    assert found.num_revived == int(revived.sum())
    assert int(certified.sum()) <= found.num_certified <= int((ratios < 1).sum())
    assert found.num_certified + found.num_revived <= found.num_zeros
    if found.num_zeros == 0:
        assert found.ratio_max is found.ratio_median is None
        assert found.to_json()["certified_frac"] is None
        return
    assert found.ratio_max == pytest.approx(ratios.max().item(), rel=1e-6)
    assert found.ratio_median == pytest.approx(ratios.median().item(), rel=1e-6)
    assert found.to_json()["certified_frac"] == found.num_certified / found.num_zeros


@examples(50)
@given(seed=st.integers(0, 10**6), shape=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_the_median_is_exact(seed: int, shape: tuple[int, int]) -> None:
    """With powers of two nothing rounds, so every ratio is known bit for bit; many are tied."""
    generator = torch.Generator().manual_seed(seed)
    squares = [4.0 ** torch.randint(-9, 9, (size,), generator=generator).double() for size in shape]
    weight = (torch.rand(shape, generator=generator) < 0.5).float()
    found = screen(weight, torch.zeros(shape), squares[0], squares[1], 0.25, 0.5, 0.0)
    ratios = (squares[0].sqrt()[:, None] * squares[1].sqrt() / 2)[weight == 0]
    if len(ratios):
        assert found.ratio_median == ratios.median().item()
        assert found.ratio_max == ratios.max().item()
        assert found.num_certified == int((ratios < 1).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threshold", [0.5, 0.1, 1 / 3, 3e-7])
def test_one_image_reaches_the_bound(threshold: float, dtype: torch.dtype) -> None:
    """Then the bound is the gradient, and a zero on the threshold, or a rounding below it, is not certified."""
    at = torch.tensor(threshold, dtype=dtype)
    near = [at, torch.nextafter(at, at * 0), torch.nextafter(at, at * 2), at * (1 - 1e-4), at * (1 + 1e-4)]
    x, d = torch.stack(near)[None], torch.ones(1, 1, dtype=dtype)
    found, _ = screened(torch.zeros(1, 5, dtype=dtype), x, d, 1.0, threshold)
    assert (found.num_certified, found.num_revived) == (1, 3)


@pytest.mark.parametrize("images", [1, 100])
def test_a_zero_learning_rate_certifies_all(images: int) -> None:
    weight, x, d = problem(0, images, 5, 7, torch.float32)
    found, _ = screened(weight, x, d, 0.0, 1e-3)
    assert found.num_certified == found.num_zeros > 0
    assert (found.num_revived, found.ratio_max, found.ratio_median) == (0, 0.0, 0.0)


def test_what_is_not_finite_certifies_nothing() -> None:
    weight, x, d = problem(0, 10, 5, 7, torch.float32, density=0.0)
    d[0] = math.nan
    found, _ = screened(weight, x, d, 0.1, 1e-3)
    assert found.num_certified == 0
    assert found.ratio_max is found.ratio_median is None
    d[0] = math.inf
    x[:, 0] = 0  # infinity times zero: NaN of either sign
    x[:, 1:] += 1
    found, _ = screened(weight, x, d, 0.1, 1e-3)
    assert found.num_certified == 0
    assert found.ratio_max is found.ratio_median is None


def test_a_weight_without_zeros_has_no_ratio() -> None:
    found = screen(
        torch.ones(3, 4), torch.ones(3, 4), torch.ones(3).double(), torch.ones(4).double(), 1, 1, 0
    )
    assert found == Screen(num_zeros=0, num_certified=0, num_revived=0, ratio_max=None, ratio_median=None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_squares_are_summed_in_double_precision(dtype: torch.dtype) -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.allclose(column_squares(x), x.double().square().sum(0), rtol=1e-14)


@examples(30)
@given(seed=st.integers(0, 10**6), images=st.sampled_from([1, 3, 64]))
def test_the_rounding_of_16_bits_is_allowed_for(seed: int, images: int) -> None:
    """Gradients computed from bfloat16 factors stay within the bound of the float32 inputs and its rounding."""
    _, x, d = problem(seed, images, 6, 8, torch.float32)
    d = d.bfloat16()
    computed = (d.T @ x.bfloat16()).double().abs()
    bound = column_squares(d).sqrt()[:, None] * column_squares(x).sqrt()
    assert bool((computed <= bound * (1 + rounding_of(d))).all())
