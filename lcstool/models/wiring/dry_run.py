"""Run a network once for what its tensors' shapes tell: on torch's meta device, which computes nothing else.

A network that looks at values, or holds tensors that are neither parameters nor buffers, does not run there. It runs in
memory then, with all parameters zero.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from lcstool.errors import BadInputError, LcsError


class Operations(TorchDispatchMode):
    """A `with` block in which every operation on tensors is seen, together with the module that it runs in.

    Attributes:
        running: The modules that are running, the innermost last, by name.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.running: list[tuple[str, nn.Module]] = []

    @contextmanager
    def follow(self, model: nn.Module) -> Iterator[None]:
        """Note which modules run, until the end of the block."""
        handles: list[Any] = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(self._entering(name)))
            handles.append(module.register_forward_hook(lambda *_: self.running.pop() and None))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _entering(self, name: str) -> Any:
        return lambda module, _inputs: self.running.append((name, module))

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, module = self.running[-1] if self.running else ("", None)
        self.see(function, args, name, module)
        return function(*args, **(kwargs or {}))

    def see(self, function: Any, args: tuple[Any, ...], name: str, module: nn.Module | None) -> None:
        """Called before each operation.

        Args:
            function: The operation.
            args: What it is given.
            name: Of the innermost module that is running; empty for the network itself.
            module: That module.
        """


def dry_run(
    model: nn.Module,
    shape: tuple[int, ...],
    watching: Callable[[], AbstractContextManager[Any]],
    *,
    training: bool = False,
) -> Any:
    """The output for a batch of black images; the model is left as it was, whatever device it is on.

    Args:
        model: The network.
        shape: Of the batch (B, C, H, W).
        watching: Made anew and entered around each attempt to run, to begin a watcher's notes afresh.
        training: Whether it runs as in training; evaluation is the default.

    Raises:
        BadInputError: it does not take such images.
    """
    was_training = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        try:
            with watching():
                return _run(model, shape, "meta")
        except Exception as error:
            if not any(word in str(error) for word in ("meta", "device", "fake")):
                raise
        with watching():
            return _run(model, shape, "cpu")
    except LcsError:
        raise
    except Exception as error:  # whatever a stranger's code raises
        text = " ".join(str(error).split())[:160]
        raise BadInputError(f"the network does not run on {shape[1:]} images (C, H, W): {text}") from None
    finally:
        for module, mode in was_training.items():
            module.training = mode


def _run(model: nn.Module, shape: tuple[int, ...], device: str) -> Any:
    def stand_in(tensor: Tensor) -> Tensor:
        if device == "meta":
            return tensor.to("meta")
        return torch.zeros_like(tensor, device="cpu") if tensor.is_meta else tensor.cpu()

    tensors = {name: stand_in(tensor.detach()) for name, tensor in model.named_parameters()}
    tensors |= {name: stand_in(tensor.clone()) for name, tensor in model.named_buffers()}
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    with torch.device(device), torch.no_grad():
        return functional_call(model, tensors, (torch.zeros(shape, dtype=dtype),))
