"""Dense layers of a pruned network as sparse products, where an evaluation is long enough to gain from them.

No module is touched: `F.linear` on a chosen weight becomes another way to the same product.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Shape suffixes: B batch, U units, D inputs of a unit, N images of a block.

# Up to which density a sparse product is taken, a kind of device; one that is not here stays dense. CPU, measured with
# MKL and AVX-512 at 2048x768, 768x2048 and 8192x3072, float32, one thread: 8 to 20 times as fast as dense at density
# 0.005, 5 to 9 at 0.02, 2.9 to 3.8 at 0.05, 1.7 to 2.1 at 0.1, 1.2 to 1.4 at 0.15, 1.0 to 1.1 at 0.2; float64 alike; on
# two threads, where the copies weigh more, 2.4 at 0.01, 1.8 at 0.05, 1.3 at 0.1. No GPU was measured.
MAX_DENSITY = {"cpu": 0.1}
# Below so many weights the copies eat the gain: at density 0.1, 1.2 times at 256x256, 1.6 at 512x512.
MIN_WEIGHTS = 1 << 17
# Counting and compressing a weight takes as long as its dense product with 100 to 260 images, the denser the longer.
MIN_IMAGES = 1024
BLOCK = 64  # images a product: their inputs and outputs stay within the cache; 32 and 128 are slower by up to a tenth


def compressible(model: nn.Module, num_images: int) -> dict[str, Tensor]:
    """The weights, by layer, whose compression makes an evaluation of so many images faster."""
    if num_images < MIN_IMAGES or not torch.backends.mkl.is_available():
        return {}
    return {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and _pays(module.weight)
    }


def _pays(weight_UD: Tensor) -> bool:
    at_most = MAX_DENSITY.get(weight_UD.device.type, 0.0) * weight_UD.numel()
    is_whole = type(weight_UD) in (Tensor, nn.Parameter)  # not split over ranks
    is_float = weight_UD.dtype in (torch.float32, torch.float64)
    if not (at_most and is_whole and is_float and weight_UD.numel() >= MIN_WEIGHTS):
        return False
    return int(torch.count_nonzero(weight_UD.detach())) <= at_most


class SparseProducts(TorchFunctionMode):
    """A block in which `F.linear` on some weights, as they are when this is made, is a sparse product.

    It is for evaluation: no gradient flows through it. For finite inputs the outputs are the dense ones to rounding.

    Args:
        weights: By any name.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self._compressed = {weight: compress(weight) for weight in weights.values()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.linear and len(args) > 1 and args[1] in self._compressed and args[0].ndim == 2:
            return linear(args[0], self._compressed[args[1]], *args[2:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def compress(weight_UD: Tensor) -> Tensor:
    """The weight in torch's compressed rows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        csr_UD = weight_UD.detach().to_sparse_csr()
        crow, columns = csr_UD.crow_indices().int(), csr_UD.col_indices().int()
        return torch.sparse_csr_tensor(crow, columns, csr_UD.values(), csr_UD.shape, check_invariants=False)


@torch.no_grad()
def linear(x_BD: Tensor, weight_UD: Tensor, bias: Tensor | None = None, block: int = BLOCK) -> Tensor:
    """`F.linear` with a compressed weight, a block of images at a time: torch's own is slower than dense at 4 %."""
    y_BU = x_BD.new_empty(len(x_BD), len(weight_UD))
    for y_NU, x_ND in zip(y_BU.split(block), x_BD.split(block), strict=True):
        y_NU.copy_((weight_UD @ x_ND.T.contiguous()).T)
    return y_BU if bias is None else y_BU.add_(bias)
