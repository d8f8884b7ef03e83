"""What each tensor of a file is: part of a layer, of a norm, or something else; every tensor is exactly one of these.

A state dict does not say which module a tensor belongs to, so names and shapes decide. Layers are what is counted,
pruned and profiled. Norms scale and shift. Everything else (tokens, embeddings, scales, buffers) is left alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lcstool.checkpoint import Checkpoint, TensorInfo
from lcstool.errors import BadInputError
from lcstool.weights.compositions import name_parts
from lcstool.weights.effective import as_used

#: What the weights of layers are called; a tensor of another name is no weight.
_WEIGHT = re.compile(
    r"weights?|weight_orig|(depthwise_|pointwise_|recurrent_)?kernel|\w*_weight|weight_(ih|hh|hr)_l\d+(_reverse)?|[wW]\d*"
)
_QUANTISED = re.compile(r"q?weight(_packed|_int\d+)?|kernel|\w*_weight")
#: Tables of vectors, one for each word or place; the embedding of a patch is a layer.
_EMBEDDING = re.compile(r"(?!.*patch).*embed.*|(.+_)?emb|emb_.+|wte|wpe|shared|relative_attention_bias")
_NORM_PARTS = frozenset({
    "weight", "bias", "scale", "running_mean", "running_var", "num_batches_tracked", "gamma", "beta", "moving_mean",
    "moving_variance", "mean", "var",
})  # fmt: skip
_NORM = re.compile(r".*(norm|bn|ln).*", re.IGNORECASE)
_RUN = "state/"  # what an unfinished run of ours keeps to go on


@dataclass(frozen=True, kw_only=True)
class Roles:
    """The tensors of a file, each once, by the names in the file.

    Attributes:
        layers: The tensors of each layer, by the layer's name: its weight, what that is made of, its bias.
        weights: The weight of each layer, by its name as `as_used` has it.
        norms: The tensors of each norm, by the norm's name.
        other: What each of the remaining tensors is.
    """

    layers: dict[str, tuple[str, ...]]
    weights: dict[str, str]
    norms: dict[str, tuple[str, ...]]
    other: dict[str, str]


def roles_of(checkpoint: Checkpoint) -> Roles:
    """What each tensor of a file is.

    Raises:
        BadInputError: the parts of a weight do not fit each other.
    """
    used = as_used(checkpoint)
    modules: dict[str, dict[str, str]] = {}
    for name in used.tensors:
        *path, last = name_parts(name)
        twin = modules.setdefault(".".join(path), {}).setdefault(last, name)
        if twin != name:
            raise BadInputError(f"{used.where}: {twin!r} and {name!r} are two names of one tensor")
    layers: dict[str, list[str]] = {}
    weights: dict[str, str] = {}
    norms: dict[str, tuple[str, ...]] = {}
    other: dict[str, str] = {}
    weights_here = weight_names(used.tensors)
    for module, tensors in modules.items():
        own = weights_here & set(tensors.values())
        for name in own:
            weights[layer_name(name)] = name
            layers[layer_name(name)] = list(used.stored_names(name))
        if not own and _is_norm(module, {last: used.tensors[name] for last, name in tensors.items()}):
            norms[module] = tuple(tensors.values())
            continue
        for last, name in tensors.items():
            if name in own:
                continue
            owner = _owner(module, last, own) if own else None
            if owner is not None:
                layers[layer_name(owner)] += used.stored_names(name)
            else:
                other |= dict.fromkeys(used.stored_names(name), _kind(name, used.tensors[name]))
    parts = {name: tuple(own) for name, own in layers.items()}
    return Roles(layers=parts, weights=weights, norms=norms, other=other)


def weight_names(tensors: Mapping[str, TensorInfo | torch.Tensor]) -> set[str]:
    """The tensors that are weights of layers; scale and shift of a norm have one shape, whatever its axes."""
    found = set()
    for name, tensor in tensors.items():
        last = name_parts(name)[-1]
        bias = tensors.get(name.removesuffix(last) + "bias")
        is_norm = bias is not None and tuple(bias.shape) == tuple(tensor.shape)
        if is_weight(name, tensor.dtype, tensor.shape, bias is not None) and not is_norm:
            found.add(name)
    return found


def is_weight(name: str, dtype: torch.dtype, shape: Sequence[int], has_bias: bool = False) -> bool:
    """Whether a tensor is the weight of a layer: floating-point, of two axes or more, and called like a weight.

    A table of embeddings, which has no bias, is none, nor is what an unfinished run keeps.
    """
    *path, last = name_parts(name)
    if name.startswith(_RUN) or not dtype.is_floating_point or len(shape) < 2 or not _WEIGHT.fullmatch(last):
        return False
    is_table = len(shape) == 2 and not has_bias and _EMBEDDING.fullmatch(path[-1] if path else "")
    return not is_table


def holds_quantised_weight(name: str, info: TensorInfo) -> bool:
    """Whether an integer tensor has the name and the axes of a weight: its values need a scale that is not known."""
    last = name_parts(name)[-1]
    is_integer = not info.dtype.is_floating_point and not info.dtype.is_complex
    return is_integer and len(info.shape) >= 2 and _QUANTISED.fullmatch(last) is not None


def require_floating(checkpoint: Checkpoint) -> None:
    """BadInputError, naming it, for a weight that is not floating-point: what it stands for is not known."""
    for name, info in as_used(checkpoint).tensors.items():
        if info.dtype.is_complex or holds_quantised_weight(name, info):
            dtype = str(info.dtype).removeprefix("torch.")
            raise BadInputError(
                f"{checkpoint.where}: the weight {name!r} is of {dtype}, which is not read",
                hint="save the network in floating-point numbers",
            )


def layer_name(tensor: str) -> str:
    """`features.0.weight` -> `features.0`; a weight of another name is called by its own name."""
    for ending in (".weight", ".kernel", "/kernel", "/kernel:0"):
        if tensor.endswith(ending):
            return tensor.removesuffix(ending)
    return tensor


def _is_norm(module: str, tensors: Mapping[str, TensorInfo]) -> bool:
    """Whether these are all tensors of one norm: of one shape, with the names that norms use."""
    if not tensors.keys() <= _NORM_PARTS or not all(
        info.dtype.is_floating_point or not info.shape for info in tensors.values()
    ):
        return False
    lengths = {info.shape for info in tensors.values() if info.shape}
    named = _NORM.fullmatch(module.rpartition(".")[2]) is not None
    return (
        bool(lengths) and len(lengths) == 1 and (named or len(tensors.keys() - {"num_batches_tracked"}) > 1)
    )


def _owner(module: str, last: str, weights: set[str]) -> str | None:
    """The weight of this module that a bias belongs to."""
    if "bias" not in last:
        return None
    fitting = [name for name in weights if name_parts(name)[-1] == last.replace("bias", "weight")]
    return fitting[0] if fitting else min(weights) if last == "bias" else None


def _kind(name: str, info: TensorInfo) -> str:
    """What a tensor is that belongs to no layer and no norm, in a word or two."""
    *path, last = name_parts(name)
    if name.startswith(_RUN):
        return "of an unfinished run"
    if info.dtype.is_complex:
        return "complex numbers"
    if holds_quantised_weight(name, info):
        return "integer weight"
    if not info.dtype.is_floating_point:
        return "counter" if not info.shape else "integers"
    if _EMBEDDING.fullmatch(path[-1] if path else "") or "embed" in last.lower() or "pos" in last.lower():
        return "embedding"
    if "token" in last.lower() or last.lower().startswith("cls"):
        return "token"
    return "scale or shift" if len(info.shape) <= 1 or set(info.shape[1:]) == {1} else "other parameter"
