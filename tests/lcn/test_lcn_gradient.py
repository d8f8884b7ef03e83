"""Hand-written first and second derivatives against autograd."""

import pytest
import torch

from lcstool.lcn import LinearConvArchitecture, scan
from lcstool.lcn.gradient import BatchGradient
from lcstool.lcn.hessian import gradient, hessian
from lcstool.lcn.loss import QuadraticLoss
from lcstool.randomness import stream

SOME = [
    *(row.architecture for row in scan(7)[::7]),
    LinearConvArchitecture((1, 3, 2, 4), (2, 1, 3, 2)),
    LinearConvArchitecture((3,), (1,)),
]


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("num_targets", [0, 6])
@pytest.mark.parametrize("architecture", SOME, ids=lambda own: f"{own.kernels}{own.strides}")
def test_derivatives(architecture: LinearConvArchitecture, num_targets: int, white: bool) -> None:
    generator, size = stream(0, "derivatives"), architecture.end_size
    shape = (num_targets, size) if num_targets else (size,)
    target = torch.randn(shape, generator=generator, dtype=torch.float64)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    loss = QuadraticLoss.of_target(target, None if white else root @ root.T)
    flat_RP = torch.randn(6, sum(architecture.kernels), generator=generator, dtype=torch.float64)

    def value(flat_P: torch.Tensor, target_K: torch.Tensor) -> torch.Tensor:
        own = QuadraticLoss(target_K, loss.moment_KK)
        return own.value(architecture.compose(architecture.split(flat_P)))

    target_RK = target.expand(6, size)
    layers = architecture.split(flat_RP)
    first_RP = torch.func.vmap(torch.func.grad(value))(flat_RP, target_RK)
    second_RPP = torch.func.vmap(torch.func.jacrev(torch.func.grad(value)))(flat_RP, target_RK)
    batch = BatchGradient(architecture, loss, flat_RP)
    batch.update()
    torch.testing.assert_close(batch.gradient_PR.T, first_RP, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(batch.excess_R, loss.excess(architecture.compose(layers)), rtol=1e-12, atol=0)
    torch.testing.assert_close(batch.norm_R, first_RP.norm(dim=1))
    torch.testing.assert_close(gradient(architecture, loss, layers), first_RP, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(hessian(architecture, loss, layers), second_RPP, rtol=1e-11, atol=1e-11)


def test_parameters_are_copied_and_updates_start_afresh() -> None:
    architecture = LinearConvArchitecture((2, 2), (1, 1))
    loss = QuadraticLoss.of_target(torch.ones(3))
    for num_runs in (1, 3):
        flat_RP = torch.ones(num_runs, 4, dtype=torch.float64)
        batch = BatchGradient(architecture, loss, flat_RP.T.contiguous().T)
        batch.update()
        before = batch.gradient_PR.clone()
        batch.flat_PR.mul_(2)
        batch.update()
        batch.flat_PR.div_(2)
        batch.update()
        assert torch.equal(batch.gradient_PR, before)
        batch.flat_PR.zero_()
        assert flat_RP.eq(1).all()
