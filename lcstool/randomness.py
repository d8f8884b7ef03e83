"""Random numbers: one generator for each purpose, made from the seed and the name of the purpose."""

import hashlib

import torch


def stream(seed: int, *purpose: str | int, device: torch.device | None = None) -> torch.Generator:
    """The generator of one purpose (such as `"augment", epoch, step`); it depends on the seed and the purpose alone.

    So a run that is resumed at some step draws the numbers that it would have drawn without the interruption.
    """
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=4).digest()
    return torch.Generator(device or "cpu").manual_seed(int.from_bytes(digest, "little"))
