"""Differences of squared norms, and that gradient flow keeps them."""

import torch

from lcstool.lcn import LinearConvArchitecture, norm_difference_matrix, norm_differences
from lcstool.randomness import stream


def test_by_hand() -> None:
    filters = [torch.tensor([3.0, 4.0]), torch.tensor([1.0]), torch.tensor([2.0, 0, 0])]
    assert norm_differences(filters).tolist() == [24, -3]
    assert norm_difference_matrix(filters).tolist() == [[0, 24, 21], [-24, 0, -3], [-21, 3, 0]]


def test_the_flow_is_along_their_level_sets() -> None:
    """For any loss of the end-to-end filter: <w_l, gradient in w_l> is the same for every layer."""
    architecture = LinearConvArchitecture((3, 2, 4), (2, 1, 3))
    generator = stream(0, "flow")
    filters = [torch.randn(5, k, generator=generator, dtype=torch.float64) for k in architecture.kernels]
    slope = torch.randn(5, architecture.end_size, generator=generator, dtype=torch.float64)
    gradient = (architecture.jacobian(filters).mT @ slope[..., None])[..., 0]
    velocity = architecture.split(-gradient)
    ahead, behind = (
        norm_differences([own + sign * move for own, move in zip(filters, velocity, strict=True)])
        for sign in (1, -1)
    )
    change = (ahead - behind) / 2  # exact: squared norms are quadratic
    assert change.shape == (5, 2)
    assert change.abs().max() < 1e-10
    assert (ahead + behind - 2 * norm_differences(filters)).abs().max() > 1e-3  # a finite step does drift
