"""lcstool: where does the convolutional inductive bias come from, and can it be learned?

The public face for library users; everything here is imported on first use, so that the command line
starts without torch:

    from lcstool import BetaLasso, LocallyConnected2d, build_model, load_model
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lcstool.checkpoint import open_checkpoint as open_checkpoint
    from lcstool.models import build_model as build_model
    from lcstool.models import load_model as load_model
    from lcstool.models.layers.local import LocallyConnected2d as LocallyConnected2d
    from lcstool.optim import BetaLasso as BetaLasso

_PUBLIC = {
    "BetaLasso": "lcstool.optim",
    "LocallyConnected2d": "lcstool.models.layers.local",
    "build_model": "lcstool.models",
    "load_model": "lcstool.models",
    "open_checkpoint": "lcstool.checkpoint",
}

__all__ = ["BetaLasso", "LocallyConnected2d", "__version__", "build_model", "load_model", "open_checkpoint"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lcstool' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
