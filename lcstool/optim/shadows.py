"""A network that computes with bfloat16 copies of its weights, while the weights stay as wide as they are.

autocast copies every weight anew in every step, and widens every gradient before it is used: 12 bytes a weight that
the step of beta-LASSO need not move, since it can read narrow gradients and write the copies in its one pass.

Ref: Micikevicius et al. 2018 (arXiv 1710.03740), section 3.1: the master copy of weights.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lcstool.optim.beta_lasso import BetaLasso


class Shadows:
    """The copies of some weights of a network under autocast; the numbers are autocast's own, bit for bit.

    Args:
        model: The network.
        weights: Those of its parameters, by name, that only layers which autocast runs in lower precision use.
        optimizer: Of the weights; from now on it takes their gradients from the copies, and writes those.
        dtype: Of the copies, autocast's.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: Mapping[str, Tensor],
        optimizer: BetaLasso,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self._model = model
        self._weights = dict(weights)
        self._copies = {name: w.detach().to(dtype).requires_grad_() for name, w in weights.items()}
        optimizer.keep_shadows({weight: self._copies[name] for name, weight in weights.items()})

    def __call__(self, x: Tensor) -> Tensor:
        """The network's output; gradients go to the copies."""
        y: Tensor = functional_call(self._model, self._copies, (x,), tie_weights=False)
        return y

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the weights again, after something else than the optimizer has changed them."""
        for name, weight in self._weights.items():
            self._copies[name].copy_(weight)
