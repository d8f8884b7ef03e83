"""Replace the convolutions of a network by dense or local layers: the modules, without the values of their weights.

Only these layers and their batch norms change. Pooling, activations, dropout, shortcuts and linear layers stay, since
an embedded layer takes and outputs images just as the convolution did.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3.
"""

from torch import nn

from lcstool.errors import BadInputError
from lcstool.models.layers.local import UnitBatchNorm2d
from lcstool.models.layers.spatial import unshared_layer
from lcstool.models.spec import Embedding
from lcstool.models.wiring.trace import Trace, TracedNorm


def embed_modules(model: nn.Module, found: Trace, embedding: Embedding) -> None:
    """Replace the embedding's layers, and the batch norms that follow them, in place.

    Args:
        model: The convolutional network, on the meta device.
        found: Its trace.
        embedding: Which layers to replace, and by what.

    Raises:
        BadInputError: naming a layer that is not there or cannot be embedded so.
    """
    chosen = dict(embedding.layers)
    norms = {name: norm for name, norm in found.norms.items() if takes_part(name, found, embedding)}
    folded = {norm.follows for norm in norms.values()} if embedding.norm == "folded" else set()
    for name, connectivity in chosen.items():
        if name not in found.layers:
            raise BadInputError(f"there is no convolution {name!r}; there are {', '.join(found.layers)}")
        layer = model.get_submodule(name)
        bias = getattr(layer, "bias", None) is not None or name in folded
        mode = found.padding_modes[name]
        replacement = unshared_layer(found.layers[name], connectivity, bias, mode, embedding.pad_inputs)
        model.set_submodule(name, replacement)
    for name, norm in norms.items():
        if embedding.norm == "folded":
            folding_layer(name, norm)
            model.set_submodule(name, nn.Identity())
        elif embedding.norm == "units":
            old = model.get_submodule(name)
            if isinstance(old, UnitBatchNorm2d):
                continue
            assert isinstance(old, nn.BatchNorm2d)
            new = UnitBatchNorm2d(norm.in_shape, old.eps, old.momentum, old.affine, old.track_running_stats)
            model.set_submodule(name, new)


def takes_part(norm: str, found: Trace, embedding: Embedding) -> bool:
    """Whether a batch norm is embedded too: it follows an embedded layer; or no layer, and all layers are embedded."""
    chosen = dict(embedding.layers)
    follows = found.norms[norm].follows
    return follows in chosen if follows is not None else set(chosen) == set(found.layers)


def folding_layer(name: str, norm: TracedNorm) -> str:
    """The layer that a batch norm can be folded into; BadInputError if it follows none."""
    if norm.follows is None:
        raise BadInputError(
            f"batch norm {name!r} follows no convolution that it could be folded into",
            hint="use --norm units",
        )
    return norm.follows
