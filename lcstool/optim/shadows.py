"""Train with bfloat16 copies of the weights, while the optimizer updates the full-precision weights.

Under autocast each step copies every weight to bfloat16 and widens every gradient to float32, which moves 12 bytes a
weight through memory. The step of beta-LASSO can read bfloat16 gradients and write the bfloat16 copies itself, in the
same pass in which it updates the weights.

Ref: Micikevicius et al. 2018 (arXiv 1710.03740), section 3.1: the master copy of weights.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lcstool.optim.beta_lasso import BetaLasso


class Shadows:
    """A network that uses copies of some of its weights; under autocast its numbers are the same to the bit.

    Args:
        model: The network.
        weights: Some of its parameters, by name. Only layers that autocast runs in lower precision may use them.
        optimizer: Of the weights. From now on it reads the gradients of the copies, and writes the copies.
        dtype: Of the copies, as autocast would make them.
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
        """Copy the weights again, in case something other than the optimizer has changed them."""
        for name, weight in self._weights.items():
            self._copies[name].copy_(weight)
