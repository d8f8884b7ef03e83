"""Networks: build one from its description (a `ModelSpec`), or load one from a file.

Where to look:
- `architectures/`: the networks of the papers, one module a family; `registry.py` lists them;
- `layers/`: what they are made of: locally-connected layers, dense layers on images, batch norm over units;
- `wiring/`: finds out which layer of a network feeds which, and through what geometry;
- `embedding/`: the map Phi that writes a convolution as a dense or local layer (`phi.py`), and its subspace;
- `narrowing/`: smaller networks with the same function: folded batch norms, dropped units, sparse products.

This file imports no torch, so that the command line can list the names at once.
"""

from typing import TYPE_CHECKING

from lcstool.errors import BadInputError
from lcstool.models.registry import ARCHITECTURES, Architecture
from lcstool.models.spec import Embedding, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from lcstool.checkpoint import Checkpoint

__all__ = ["ARCHITECTURES", "Architecture", "Embedding", "ModelSpec", "build_model", "load_model"]


def build_model(
    spec: ModelSpec,
    generator: "torch.Generator | None" = None,
    settle: "Callable[[nn.Module], None] | None" = None,
) -> "nn.Module":
    """Build and initialise an architecture.

    Args:
        spec: Which, and of what size.
        generator: Source of the initial weights; None seeds a fresh one with 0.
        settle: As in `initialise`, for networks that do not fit in the host's memory.

    Returns:
        The module on the CPU, float32, in training mode.
    """
    import torch

    from lcstool.models.build import empty_model, initialise, materialise

    model = empty_model(spec)
    if settle is None:
        materialise(model)
    generator = generator or torch.Generator().manual_seed(0)
    initialise(model, generator, spec.architecture.init_gain, settle)
    return model


def load_model(checkpoint: "Checkpoint") -> "nn.Module":
    """Rebuild the network of a file of kind `model`; names, shapes and dtypes are checked before a tensor is read.

    Raises:
        BadInputError: naming the first tensor that is missing, superfluous, of another shape, or non-finite.
    """
    from lcstool.models.build import empty_model, load_tensors

    header = checkpoint.require_kind("model")
    if header.model is None:
        raise BadInputError(f"{checkpoint.where} names no architecture")
    model = empty_model(ModelSpec.from_json(header.model, checkpoint.where))
    load_tensors(model, checkpoint)
    return model
