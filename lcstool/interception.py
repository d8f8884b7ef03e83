"""A block of code in which calls of some of torch's functions go to functions of ours.

That changes what a network does inside the block without touching its layers, whatever architecture it has.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

#: A dense layer's product: inputs, weight and bias (or None) to outputs.
Linear = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Interception(TorchFunctionMode):
    """A `with` block in which each of these functions is replaced by another with the same arguments.

    A replacement may call the function that it replaces.

    Args:
        replacements: From a function of torch to what is called in its place.
    """

    def __init__(self, replacements: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        super().__init__()
        self._replacements = dict(replacements)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self._replacements.get(func, func)(*args, **(kwargs or {}))


class LinearCalls(Interception):
    """A `with` block in which `F.linear` with one of some weights goes to a handler, however it is called.

    Args:
        weights: Only calls with these very tensors go to the handler.
        handle: Does the product, possibly by `F.linear`.
    """

    def __init__(self, weights: Collection[Tensor], handle: Linear) -> None:
        watched = frozenset(weights)

        # The names are those of `F.linear`, which may be called by them.
        def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            return handle(input, weight, bias) if weight in watched else F.linear(input, weight, bias)

        super().__init__({F.linear: linear})
