"""Which tensors of a file are parts of one weight: a rule for each way in which programs keep weights in parts."""

import re
from collections.abc import Callable, Iterator, Mapping

from lcstool.checkpoint import Checkpoint
from lcstool.errors import BadInputError
from lcstool.weights.compositions import (
    Composition,
    Kernel,
    Masked,
    SpectralNorm,
    Unknown,
    UnknownLayout,
    WeightNorm,
    name_parts,
)

#: A weight by the name that its layer gives it, and how it is made.
Made = tuple[str, Composition]

_PARAMETRIZED = re.compile(r"(?P<layer>.*?)parametrizations\.(?P<name>\w+)\.(?P<part>.+)$")
_NNCF_MASK = re.compile(r"(?P<root>.*?)__nncf_hooks\.\w+_hooks\.(?P<name>.+?)__\d+\.\d+\.binary_mask$")
_OPEN_LTH_MASK = re.compile(r"mask_(?P<name>.+___.+)$")
_LOW_RANK = re.compile(r"(?P<layer>.+)\.lora_(embedding_)?A(\.\w+)?(\.weight)?$")
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel")


def weights_in_parts(checkpoint: Checkpoint) -> Iterator[Made]:
    """Every weight of a file that is made of parts.

    Raises:
        BadInputError: a mask of another shape than its weight, or of a weight that is not there.
    """
    for name in checkpoint.tensors:
        for rule in _RULES:
            made = rule(checkpoint, name)
            if made is not None:
                yield made
                break
    yield from _parametrized(checkpoint)


def _nncf_mask(checkpoint: Checkpoint, name: str) -> Made | None:
    """NNCF 3: `__nncf_hooks.post_hooks.conv:weight__0.0.binary_mask` cuts `conv.weight`."""
    match = _NNCF_MASK.match(name)
    return _masked(checkpoint, match["root"] + match["name"].replace(":", "."), name) if match else None


def _open_lth_mask(checkpoint: Checkpoint, name: str) -> Made | None:
    """OpenLTH: `mask_conv___weight` cuts `conv.weight`."""
    match = _OPEN_LTH_MASK.match(name)
    return _masked(checkpoint, match["name"].replace("___", "."), name) if match else None


def _mask_beside(checkpoint: Checkpoint, name: str) -> Made | None:
    """torch.nn.utils.prune: `weight_mask` cuts `weight_orig`; others keep it beside `weight`, or as `mask`.

    NNI wraps the layer: `conv.weight_mask` cuts `conv.module.weight`.
    """
    tensors = checkpoint.tensors
    bare = name.removesuffix("_mask")
    stem, dot, last = bare.rpartition(".")
    if bare != name and f"{bare}_orig" in tensors:
        return _masked(checkpoint, f"{bare}_orig", name, bare)
    for weight in (bare, f"{stem}{dot}module.{last}"):
        if bare != name and weight in tensors:
            return _masked(checkpoint, weight, name)
    weight = f"{name.removesuffix('mask')}weight"
    if name_parts(name)[-1] == "mask" and weight in tensors:
        whole, mask = tensors[weight].shape, tensors[name].shape
        if mask[:1] == whole[:1] and _are_lengths(mask, whole):  # a whole one, or one number a filter
            return weight, Masked(weight, (name,))
    return None


def _weight_norm(checkpoint: Checkpoint, name: str) -> Made | None:
    """torch.nn.utils.weight_norm: lengths `weight_g` and directions `weight_v`."""
    bare, tensors = name.removesuffix("_g"), checkpoint.tensors
    if bare == name or f"{bare}_v" not in tensors:
        return None
    fits = _are_lengths(tensors[name].shape, tensors[f"{bare}_v"].shape)
    return (bare, WeightNorm(f"{bare}_v", (name,))) if fits else None


def _spectral_norm(checkpoint: Checkpoint, name: str) -> Made | None:
    """torch.nn.utils.spectral_norm: `weight_orig` and the singular vectors `weight_u`, `weight_v`."""
    bare = name.removesuffix("_u")
    if bare == name or f"{bare}_orig" not in checkpoint.tensors:
        return None
    if f"{bare}_v" not in checkpoint.tensors:  # files before torch 1.0
        return bare, Unknown(f"{bare}_orig", (name,))
    return bare, SpectralNorm(f"{bare}_orig", (name, f"{bare}_v"))


def _low_rank(checkpoint: Checkpoint, name: str) -> Made | None:
    """Low-rank updates: the factor by which they are added to the weight stands elsewhere."""
    match = _LOW_RANK.match(name)
    if match is None:
        return None
    bases = (f"{match['layer']}.base_layer.weight", f"{match['layer']}.weight")
    base = next((own for own in bases if own in checkpoint.tensors), None)
    return None if base is None else (base, Unknown(base, (name,)))


def _bitmask(checkpoint: Checkpoint, name: str) -> Made | None:
    """compressed-tensors: non-zero values in `weight.compressed`, and a bit for each place in `weight.bitmask`."""
    bare = name.removesuffix(".bitmask")
    values = f"{bare}.compressed"
    return (bare, Unknown(values, (name,))) if bare != name and values in checkpoint.tensors else None


def _unknown_layout(checkpoint: Checkpoint, name: str) -> Made | None:
    """`weights` (TF-slim) and `w` (Haiku, and others' own layers) say nothing of the order of a filter's axes."""
    is_filter = len(checkpoint.tensors[name].shape) == 4
    return (name, UnknownLayout(name)) if is_filter and name_parts(name)[-1] in ("w", "weights") else None


def _kernel(checkpoint: Checkpoint, name: str) -> Made | None:
    """Flax and Keras: a `kernel` whose last axis is that of the outputs."""
    is_kernel = name_parts(name)[-1] in _KERNELS and len(checkpoint.tensors[name].shape) >= 2
    return (name, Kernel(name)) if is_kernel else None


_RULES: tuple[Callable[[Checkpoint, str], Made | None], ...] = (
    _nncf_mask,
    _open_lth_mask,
    _mask_beside,
    _weight_norm,
    _spectral_norm,
    _low_rank,
    _bitmask,
    _unknown_layout,
    _kernel,
)


def _parametrized(checkpoint: Checkpoint) -> Iterator[Made]:
    """torch.nn.utils.parametrize: all tensors under `parametrizations.weight` make `weight`."""
    groups: dict[str, dict[str, str]] = {}
    for name in checkpoint.tensors:
        match = _PARAMETRIZED.match(name)
        if match is not None:
            groups.setdefault(match["layer"] + match["name"], {})[match["part"]] = name
    for weight, parts in groups.items():
        yield weight, _by_parametrization(checkpoint, parts)


def _by_parametrization(checkpoint: Checkpoint, parts: Mapping[str, str]) -> Composition:
    """How a weight is made of its parts, given by the ends of their names."""
    shapes = {part: checkpoint.tensors[name].shape for part, name in parts.items()}
    if set(parts) == {"original0", "original1"} and _are_lengths(shapes["original0"], shapes["original1"]):
        return WeightNorm(parts["original1"], (parts["original0"],))
    if set(parts) == {"original", "0._u", "0._v"}:
        return SpectralNorm(parts["original"], (parts["0._u"], parts["0._v"]))
    main = parts.get("original", next(iter(parts.values())))
    return Unknown(main, tuple(name for name in parts.values() if name != main))


def _masked(checkpoint: Checkpoint, weight: str, mask: str, name: str | None = None) -> Made:
    """A weight under a mask; BadInputError where their shapes differ or the weight is missing."""
    tensors = checkpoint.tensors
    if weight not in tensors:
        raise BadInputError(f"{checkpoint.where}: {mask!r} is the mask of {weight!r}, which is not there")
    if tensors[mask].shape != tensors[weight].shape:
        raise BadInputError(
            f"{checkpoint.where}: {mask!r} has shape {list(tensors[mask].shape)}, "
            f"{weight!r} {list(tensors[weight].shape)}"
        )
    return name or weight, Masked(weight, (mask,))


def _are_lengths(length: tuple[int, ...], direction: tuple[int, ...]) -> bool:
    """Whether a tensor can hold the lengths of another's parts: each axis is that of the other, or of size 1."""
    if not length:
        return True
    pairs = zip(length, direction, strict=False)
    return len(length) == len(direction) and all(own in (1, other) for own, other in pairs)
