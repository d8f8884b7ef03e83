"""A recording on the CPU that repeats what a CUDA graph would repeat: the same operations on the same memory.

What lay in the recorded tensors is read anew in every replay; numbers of the host, which a graph keeps as they were,
stay as they were here too. As with a graph, recording itself leaves no trace.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map


class Tape(TorchDispatchMode):
    """A block whose operations are kept, below autograd; they are undone by `rewind`.

    Args:
        limit: Operations after which it fails.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.operations: list[Callable[[], None]] = []
        self._made: dict[int, Tensor] = {}
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if len(self.operations) == self.limit:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        assert func is not torch.ops.aten._local_scalar_dense.default, "a graph cannot read"
        for tensor in tree_flatten((args, kwargs))[0]:
            self._keep_content(tensor)
        # Shapes and strides may be changed by what follows (detach_, say); the tape has aliases of its own.
        held_args, held_kwargs = tree_map(_alias, (args, kwargs))
        made = func(*args, **kwargs)
        places = [_alias(tensor) for tensor in tree_flatten(made)[0] if isinstance(tensor, Tensor)]
        for tensor in places:
            self._made.setdefault(tensor.untyped_storage().data_ptr(), tensor)

        def again() -> None:
            found = [t for t in tree_flatten(func(*held_args, **held_kwargs))[0] if isinstance(t, Tensor)]
            for place, tensor in zip(places, found, strict=True):
                if tensor.untyped_storage().data_ptr() != place.untyped_storage().data_ptr():
                    place.copy_(tensor)

        self.operations.append(again)
        return made

    def _keep_content(self, tensor: Any) -> None:
        """Of every tensor from before the tape: batch norm, for one, does not say which of them it writes."""
        if isinstance(tensor, Tensor):
            key = tensor.untyped_storage().data_ptr()
            if key not in self._made and key not in self._before:
                whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                self._before[key] = (whole, whole.clone())

    def rewind(self) -> None:
        for whole, content in self._before.values():
            whole.copy_(content)

    def play(self) -> None:
        for operation in self.operations:
            operation()


def _alias(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def record_on_tape(body: Callable[[], None], limit: int | None = None) -> Callable[[], None]:
    """What `record_on_gpu` does with a CUDA graph."""
    tape = Tape(limit)
    try:
        with tape:
            body()
    finally:
        with torch.no_grad():
            tape.rewind()
    return torch.no_grad()(tape.play)
