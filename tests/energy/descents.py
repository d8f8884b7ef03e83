"""Small least-squares problems, and gradient descent on them step by step."""

import torch
from torch import Tensor


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def patches_and_labels(size: int = 40, dims: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Positive mean patches whose variances span four powers of ten, and labels that depend on them."""
    mixing = normal(dims, dims, seed=seed + 1) * torch.logspace(0, -2, dims, dtype=torch.float64)[:, None]
    average = (0.5 + normal(size, dims, seed=seed) @ mixing / 10).clamp(0, 1)
    return average, (average[:, 0] > average[:, 0].median()).double()


def iterate(average: Tensor, labels: Tensor, rate: float, steps: int, start: Tensor) -> Tensor:
    filter_D = start.clone()
    for _ in range(steps):
        filter_D = filter_D - rate * (average.T @ (average @ filter_D - labels))
    return filter_D


def stable_rate(average: Tensor, share: float = 0.9) -> float:
    return share / torch.linalg.matrix_norm(average, 2).item() ** 2
