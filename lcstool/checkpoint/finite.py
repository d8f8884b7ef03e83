"""Whether a tensor holds NaN or infinite values, as fast as memory can be read."""

import torch
from torch import Tensor

_BLOCKS = {"cpu": 1 << 18}  # elements that stay within the cache
_BLOCK = 1 << 26


def all_finite(tensor: Tensor) -> bool:
    """Whether every value is finite; true for integers. A GPU is waited for once, not once a block."""
    if not tensor.is_floating_point():
        return True
    # Times zero, a finite number is 0, and NaN or infinity is NaN: several times faster than torch.isfinite.
    blocks = tensor.detach().flatten().split(_BLOCKS.get(tensor.device.type, _BLOCK))
    return not bool(torch.stack([(block * 0).sum() for block in blocks]).isnan().any())
