"""Gradient and Hessian against torch's own on a network small enough to write the matrix down."""

import numpy as np
import pytest
import torch
from amounts import first_of
from embedded import embedded_model

from lcstool.choices import SUBSPACE_PARTS
from lcstool.data.dataset import Split
from lcstool.errors import CheckFailedError
from lcstool.evaluation import compute_loss
from lcstool.models import ModelSpec
from lcstool.models.embedding.subspace import Subspace
from lcstool.stages.sharpness.stage import LossSurface, extreme_eigenvalues


def tiny(side: int = 7, count: int = 12) -> tuple[torch.nn.Module, Split]:
    model = embedded_model(
        ModelSpec(arch="vanilla-cnn", image=(side, side - 1), channels=1, classes=3, alpha=1)
    ).double()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64, generator=generator) * 0.7
        if name.endswith("bias"):
            parameter.data += 1  # keeps the units alive
    images = torch.randn(count, 1, side, side - 1, dtype=torch.float64, generator=generator)
    return model, Split(images, torch.arange(count) % 3)


def hessian(model: torch.nn.Module, data: Split) -> torch.Tensor:
    names = [name for name, _ in model.named_parameters()]
    sizes = [parameter.numel() for parameter in model.parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = (piece.view(shape) for piece, shape in zip(flat.split(sizes), shapes, strict=True))
        logits = torch.func.functional_call(model, dict(zip(names, pieces, strict=True)), (data.images,))
        return compute_loss("cross-entropy", logits, data.labels)

    point = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return torch.autograd.functional.hessian(loss, point)


@pytest.mark.parametrize("part", first_of(["all", *SUBSPACE_PARTS], 2))
def test_eigenvalues_against_the_whole_matrix(part: str) -> None:
    model, data = tiny()
    matrix = hessian(model, data)
    subspace = Subspace(model)
    project = None if part == "all" else (lambda tensors: subspace.project(tensors, part))
    surface = LossSurface(model, data, lambda x: x, "cross-entropy", batch_size=5, project=project)
    if project is not None:
        basis = np.stack(
            [surface._flatten(surface._projected(surface._unflatten(row))) for row in np.eye(surface.size)]
        )
        matrix = torch.from_numpy(basis @ matrix.numpy() @ basis.T)
    expected = torch.linalg.eigvalsh(matrix)
    smallest, largest = extreme_eigenvalues(surface, 2000, 1e-10, seed=0)
    # In a subspace the rest of the space adds eigenvalues 0 to the projected matrix; Lanczos starts within it.
    inside = expected[expected.abs() > 1e-12]
    assert largest.value == pytest.approx(inside[-1].item(), rel=1e-6)
    lowest = inside[0].item() if part == "all" or inside[0] < 0 else 0.0
    assert smallest.value == pytest.approx(lowest, rel=1e-6, abs=1e-9)
    assert largest.residual < 1e-6


def test_gradient_is_the_full_batch_one() -> None:
    model, data = tiny()
    surface = LossSurface(model, data, lambda x: x, "cross-entropy", batch_size=5)
    loss, gradient = surface.gradient()
    expected = compute_loss("cross-entropy", model(data.images), data.labels)
    expected.backward()
    flat = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, flat.numpy(), atol=1e-14)


def test_too_few_products_is_a_failed_check() -> None:
    model, data = tiny(12)
    with pytest.raises(CheckFailedError, match="did not settle"):
        extreme_eigenvalues(LossSurface(model, data, lambda x: x, "cross-entropy"), 1, 1e-14, seed=0, basis=3)
