"""The closed form of the profile against networks trained step by step, and over many random labels."""

import math

import pytest
import torch
from amounts import first_of
from energy.descents import iterate, normal, patches_and_labels, stable_rate
from energy.pictures import smooth_images
from torch import Tensor, nn

from lcstool.energy import (
    Descent,
    LinearProblem,
    PatchBasis,
    energy_profile,
    linear_gd_profile,
    optimal_profile,
    random_label_profile,
)
from lcstool.errors import BadInputError, NonFiniteError


class LinearCnn(nn.Module):
    """One convolution, averaged over positions and filters."""

    def __init__(self, kernel: tuple[int, int], width: int, seed: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, kernel, bias=False, dtype=torch.float64)
        bound = 1 / math.sqrt(3 * math.prod(kernel))
        with torch.no_grad():
            self.conv.weight.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))

    def forward(self, images_NCHW: Tensor) -> Tensor:
        out: Tensor = self.conv(images_NCHW)
        return out.mean(dim=(1, 2, 3))


@pytest.mark.parametrize("loss", ["sum", "mean", "half-sum", "half-mean"])
@pytest.mark.parametrize(
    ("width", "kernel", "seed"),
    first_of([(4, (3, 3), 1), (64, (2, 5), 2), (1, (3, 3), 0), (7, (5, 5), 3)], 1),
)
def test_a_really_trained_network_follows_the_theory(
    loss: str, width: int, kernel: tuple[int, int], seed: int
) -> None:
    data = smooth_images(30, side=8, seed=seed)
    brightness = data.double().mean(dim=(1, 2, 3))
    labels = (brightness + 30 * normal(30, seed=seed) > 128).double()
    basis = PatchBasis.of([data], kernel)
    problem = LinearProblem.of(basis.average_patches([data]), labels, basis)
    factor = {"sum": 2, "mean": 2 / 30, "half-sum": 1, "half-mean": 1 / 30}[loss]
    lr = 0.7 * width / factor / problem.roots_E.square().max().item()

    network = LinearCnn(kernel, width, seed)
    initial = network.conv.weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    for step in range(301):
        if step in (0, 1, 2, 5, 20, 100, 300):
            trained = energy_profile(network.conv.weight, basis)
            found = linear_gd_profile(problem, Descent(steps=step, lr=lr, width=width, loss=loss), initial)
            torch.testing.assert_close(found.energy_D, trained.energy_D, rtol=1e-8, atol=1e-8)
            mean = trained.projections_MD.mean(dim=0)
            torch.testing.assert_close(found.mean_D, mean, rtol=1e-8, atol=1e-8)
        error = network(data.double() / 255) - labels
        value = error.square().sum() * (factor / 2)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert not torch.allclose(network.conv.weight, initial, atol=1e-3)


def test_the_profile_expected_of_random_filters() -> None:
    """Mean over many initialisations, in a rotated basis, with a small width."""
    average, labels = patches_and_labels()
    problem, draws, width, sigma = LinearProblem.of(average, labels), 40000, 3, 0.3
    descent = Descent(steps=20, lr=3 * stable_rate(average), width=width)
    start = sigma * normal(draws, width, 6)
    power_E, _ = problem.powers(descent)
    move_D = problem.filter_after(descent)
    mean_BD = start.mean(dim=1)
    moved = (mean_BD @ problem.directions_DE * power_E) @ problem.directions_DE.T + move_D - mean_BD
    energy = (start + moved[:, None]).square().mean(dim=(0, 1)).sqrt()
    found = linear_gd_profile(problem, descent, sigma=sigma)
    torch.testing.assert_close(found.energy_D, energy, rtol=0.02, atol=0)
    before = linear_gd_profile(problem, Descent(steps=0, lr=1.0, width=width), sigma=sigma)
    torch.testing.assert_close(before.energy_D, torch.full((6,), sigma, dtype=torch.float64))
    wide = linear_gd_profile(
        problem, Descent(steps=20, lr=1e9 * stable_rate(average), width=10**9), sigma=sigma
    )
    torch.testing.assert_close(wide.energy_D.square(), wide.mean_D.square() + sigma**2)


@pytest.mark.parametrize("share", [0.2, 0.9, 1.6])
@pytest.mark.parametrize("steps", [1, 5, 200])
def test_random_labels_by_monte_carlo(share: float, steps: int) -> None:
    average, _ = patches_and_labels()
    initial, rate = normal(6, seed=5) / 10, stable_rate(average, share)
    problem = LinearProblem.of(average, None)
    labels = torch.randint(2, (20000, 40), generator=torch.Generator().manual_seed(0)).double()
    # Descent is affine in the labels: the filter for no label, and what each label adds.
    nothing = iterate(average, torch.zeros(40, dtype=torch.float64), rate, steps, initial)
    each = torch.stack(
        [iterate(average, label, rate, steps, initial) - nothing for label in torch.eye(40).double()]
    )
    filters = nothing + labels @ each
    found = random_label_profile(problem, Descent(steps=steps, lr=rate), initial[None])
    torch.testing.assert_close(found.energy_D.square(), filters.square().mean(dim=0), rtol=0.05, atol=1e-6)
    torch.testing.assert_close(found.label_variance_D, filters.var(dim=0), rtol=0.05, atol=1e-9)


def test_neither_term_of_the_random_labels_is_the_whole() -> None:
    average, _ = patches_and_labels()
    found = random_label_profile(LinearProblem.of(average, None), Descent(steps=50, lr=stable_rate(average)))
    assert found.mean_D.square().max() > 1e-2 * found.energy_D.square().max()
    assert found.label_variance_D.max() > 1e-2 * found.energy_D.square().max()


def test_expected_filter_of_random_labels_is_the_mean_patch_whitened() -> None:
    """After infinitely many steps it is proportional to Sigma^-1 mu, where Sigma is the centred covariance."""
    average, _ = patches_and_labels()
    found = random_label_profile(
        LinearProblem.of(average, None), Descent(steps=math.inf, lr=stable_rate(average))
    )
    whitened = torch.linalg.solve(torch.cov(average.T), average.mean(dim=0))
    cosine = torch.nn.functional.cosine_similarity(found.mean_D, whitened, dim=0)
    assert cosine.item() == pytest.approx(1, abs=1e-9)


def test_the_optimal_filter_is_the_least_squares_one_and_the_limit() -> None:
    average, labels = patches_and_labels()
    basis_like = torch.linalg.lstsq(average, labels[:, None]).solution[:, 0]
    problem = LinearProblem.of(average, labels)
    found = optimal_profile(problem)
    torch.testing.assert_close(found.mean_D, basis_like, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.energy_D, basis_like.abs(), rtol=1e-8, atol=1e-10)
    limit = linear_gd_profile(problem, Descent(steps=math.inf, lr=stable_rate(average)))
    torch.testing.assert_close(found.energy_D, limit.energy_D)
    with_spread = optimal_profile(problem, sigma=0.5)
    torch.testing.assert_close(with_spread.energy_D.square(), basis_like.square() + 0.25)


def test_warnings() -> None:
    average, labels = patches_and_labels()
    assert LinearProblem.of(average, labels).warnings == ()
    assert "not 0 and 1" in LinearProblem.of(average, 2 * labels - 1).warnings[0]
    assert "mean-subtracted" in LinearProblem.of(average - average.mean(dim=0), labels).warnings[0]
    problem, rate = LinearProblem.of(average, labels), stable_rate(average)
    assert linear_gd_profile(problem, Descent(steps=3, lr=1.9 * rate / 0.9)).warnings == ()
    found = linear_gd_profile(problem, Descent(steps=3, lr=2.1 * rate / 0.9, width=1))
    limit = 2 / problem.roots_E.square().max().item()
    assert found.warnings == (
        f"gradient descent diverges at this learning rate; it is stable below {limit:.3g}",
    )
    wide = linear_gd_profile(problem, Descent(steps=3, lr=21 * rate / 0.9, width=10), sigma=0.1)
    assert f"{10 * limit:.3g}" in wide.warnings[0]


def test_refusals() -> None:
    average, labels = patches_and_labels()
    problem, rate = LinearProblem.of(average, labels), stable_rate(average, 1)
    with pytest.raises(NonFiniteError, match="diverging steps"):
        linear_gd_profile(problem, Descent(steps=10**6, lr=3 * rate))
    with pytest.raises(BadInputError, match="expected a whole number"):
        linear_gd_profile(problem, Descent(steps=2.5, lr=1.5 * rate))
    with pytest.raises(BadInputError, match="no limit"):
        linear_gd_profile(problem, Descent(steps=math.inf, lr=2.5 * rate))
    for predict in (lambda p: linear_gd_profile(p, Descent(steps=1, lr=rate)), optimal_profile):
        with pytest.raises(BadInputError, match="needs labels"):
            predict(LinearProblem.of(average, None))
    with pytest.raises(BadInputError, match=r"\[4, 6\]; expected \[5, 6\]"):
        linear_gd_profile(problem, Descent(steps=1, lr=rate, width=5), normal(4, 6))
    with pytest.raises(BadInputError, match="labels of shape"):
        LinearProblem.of(average, labels[1:])
    with pytest.raises(BadInputError, match="finite"):
        LinearProblem.of(average / 0, labels)
    for bad in ({"lr": 0.0}, {"steps": -1}, {"width": 0}, {"lr": math.nan}, {"loss": "hinge"}):
        with pytest.raises(BadInputError):
            Descent(**({"steps": 1, "lr": 0.1} | bad))  # type: ignore[arg-type]


def test_black_images_teach_nothing() -> None:
    problem = LinearProblem.of(torch.zeros(5, 3), torch.tensor([0, 1, 0, 1, 1]))
    assert torch.equal(optimal_profile(problem).energy_D, torch.zeros(3, dtype=torch.float64))
    start = normal(2, 3)
    found = linear_gd_profile(problem, Descent(steps=9, lr=1.0, width=2), start)
    torch.testing.assert_close(found.energy_D, start.square().mean(dim=0).sqrt())
