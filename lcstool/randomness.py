"""Where each random number of a run comes from: one generator a purpose, made from the seed."""

import hashlib

import torch


def stream(seed: int, *purpose: str | int, device: torch.device | None = None) -> torch.Generator:
    """The generator of one purpose (`"augment", epoch, step`): a function of the seed and the purpose alone.

    Since no generator outlives its purpose, a resumed run draws the numbers the uninterrupted one would.
    """
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=4).digest()
    return torch.Generator(device or "cpu").manual_seed(int.from_bytes(digest, "little"))
