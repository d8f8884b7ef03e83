"""Random numbers depend on the seed and the purpose alone."""

import torch

from lcstool.randomness import stream


def test_streams_depend_on_seed_and_purpose_alone() -> None:
    def draw(*purpose: str | int, seed: int = 0) -> list[float]:
        return torch.rand(3, generator=stream(seed, *purpose)).tolist()

    torch.manual_seed(5)
    first = draw("augment", 1, 2)
    torch.manual_seed(6)
    assert draw("augment", 1, 2) == first
    others = [draw("augment", 2, 1), draw("augment", 12), draw("order", 1, 2), draw("augment", 1, 2, seed=1)]
    assert all(other != first for other in others)
