"""Which layers of a network see the image itself, found by running it once, for any architecture."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lcstool.models.wiring.dry_run import Operations, dry_run

# The operations that apply a weight to an input, and where among their arguments the two stand.
_APPLYING = {
    "convolution": (0, 1),
    "_convolution": (0, 1),
    "linear": (0, 1),
    "mm": (0, 1),
    "bmm": (0, 1),
    "addmm": (1, 2),
    "baddbmm": (1, 2),
}


def weights_on_image(model: nn.Module, in_shape: tuple[int, int, int]) -> tuple[str, ...]:
    """The parameters that are applied to the image, or to what is made of it without any layer, in forward order.

    Several are branches of one stem, or layers that see the image again further on.

    Args:
        model: On any device; it is left as it was.
        in_shape: Channels, height, width of the input.

    Raises:
        BadInputError: the network does not run on such images.
    """
    watch = ImageWatch()

    def renewed() -> ImageWatch:
        nonlocal watch
        watch = ImageWatch()
        return watch

    def begin(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        watch.begin(dict(module.named_parameters()), *inputs)

    handle = model.register_forward_pre_hook(begin)
    try:
        dry_run(model, (1, *in_shape), renewed)
    finally:
        handle.remove()
    return tuple(watch.found)


class ImageWatch(Operations):
    """Follows an image through all operations until a weight is applied to it.

    Attributes:
        found: The shape of what each weight was applied to, by the parameter's name, in the order of the run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, tuple[int, ...]] = {}
        # By `id`. What was made of the image alone; of which parameter alone a tensor was made; what layers gave.
        self._image: set[int] = set()
        self._parameter: dict[int, str] = {}
        self._hidden: set[int] = set()
        self._kept: list[Tensor] = []  # since Python gives the ids of freed tensors out again

    def begin(self, parameters: Mapping[str, Tensor], *images: Tensor) -> None:
        """Say what to follow, before the network runs."""
        self._parameter = {id(tensor): name for name, tensor in parameters.items()}
        self._image = {id(image) for image in images}
        self._kept = [*parameters.values(), *images]

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        given, made = list(_tensors((args, kwargs))), list(_tensors(output))
        applied = self._applied(function, args)
        if applied is not None:
            self.found.setdefault(*applied)
        self._kept += made
        if applied is not None or any(id(tensor) in self._hidden for tensor in given):
            self._mark(made, self._hidden.add)
        elif any(id(tensor) in self._image for tensor in given):
            self._mark(made, self._image.add)
        else:
            own = [tensor for tensor in given if id(tensor) in self._parameter]
            if own:
                name = self._parameter[id(max(own, key=Tensor.numel))]
                self._parameter |= {id(tensor): name for tensor in made}
        return output

    def _applied(self, function: Any, args: tuple[Any, ...]) -> tuple[str, tuple[int, ...]] | None:
        """The parameter that is applied to the image here, and the shape of what it is applied to."""
        places = _APPLYING.get(function.overloadpacket.__name__)
        if places is None:
            return None
        pair = [args[place] for place in places]
        for seen, weight in (pair, reversed(pair)):
            if id(seen) in self._image and id(weight) in self._parameter:
                return self._parameter[id(weight)], tuple(seen.shape)
        return None

    def _mark(self, made: list[Tensor], add: Callable[[int], None]) -> None:
        for tensor in made:  # an operation in place gives back a tensor that has a mark already
            self._image.discard(id(tensor))
            self._parameter.pop(id(tensor), None)
            add(id(tensor))


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
