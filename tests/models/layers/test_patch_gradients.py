"""Patches of images and their sums back onto the images: adjoint, differentiable twice, and batched by vmap."""

import pytest
import torch
from amounts import examples
from hypothesis import given
from test_local import layers
from torch import Tensor

from lcstool.models.layers.local import LocallyConnected2d, pad_images
from lcstool.models.layers.patches import Patches, PatchSums

Case = tuple[LocallyConnected2d, Tensor]


def padded(layer: LocallyConnected2d, x_BCHW: Tensor) -> Tensor:
    return pad_images(x_BCHW.double(), layer.geometry.padding, "zeros").permute(1, 2, 3, 0).contiguous()


@examples(60)
@given(case=layers())
def test_sums_are_the_adjoint(case: Case) -> None:
    """<patches(x), y> = <x, sums(y)> for every stride, dilation, group and image."""
    layer, x_BCHW = case
    x_CHWB = padded(layer, x_BCHW)
    patches_NKB = Patches.apply(x_CHWB, layer.geometry)
    y_NKB = torch.randn(patches_NKB.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sums_CHWB = PatchSums.apply(y_NKB, layer.geometry, *x_CHWB.shape[1:3])
    torch.testing.assert_close((x_CHWB * sums_CHWB).sum(), (patches_NKB * y_NKB).sum())


@pytest.mark.parametrize("fast", [True, pytest.param(False, marks=pytest.mark.long)])
@examples(10)
@given(case=layers())
def test_the_gradient_of_the_gradient(fast: bool, case: Case) -> None:
    """Fast: along random directions instead of every entry."""
    layer, x_BCHW = case
    x_BCHW = x_BCHW.double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: layer(x).sin(), (x_BCHW,), fast_mode=fast)


@pytest.mark.parametrize("over_images", [True, False])
def test_vmap(over_images: bool) -> None:
    layer = LocallyConnected2d(2, 4, 3, (6, 7), stride=(1, 2), padding=1, groups=2, dtype=torch.float64)
    x_BCHW = torch.randn(3, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    weights = torch.stack([layer.weight.detach(), 2 * layer.weight.detach()])
    images = torch.stack([x_BCHW, -x_BCHW]) if over_images else x_BCHW

    def run(weight: Tensor, x: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return y

    batched = torch.func.vmap(run, in_dims=(0, 0 if over_images else None))(weights, images)
    one_by_one = torch.stack([run(w, images[i] if over_images else images) for i, w in enumerate(weights)])
    torch.testing.assert_close(batched, one_by_one)
    gradients = [
        torch.autograd.grad(y.sin().sum(), x_BCHW, retain_graph=True)[0] for y in (batched, one_by_one)
    ]
    torch.testing.assert_close(*gradients)
