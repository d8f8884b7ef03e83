"""Files of weights, ours and others', written and opened."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from safetensors.torch import save_file

from lcstool.checkpoint import Checkpoint, Header, open_checkpoint, write_checkpoint
from lcstool.models.layers.geometry import ConvGeometry


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Checkpoint]:
    """Open a file of these tensors: with our header where `layers` gives geometries, another program's otherwise."""
    folder, numbers = tmp_path_factory.mktemp("weights"), itertools.count()

    def save(
        tensors: Mapping[str, Any],
        layers: Mapping[str, Any] | None = None,
        padding_mode: str = "zeros",
    ) -> Checkpoint:
        path = folder / f"{next(numbers)}.safetensors"
        if layers is None:
            save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
        else:
            described = {
                name: layer.to_json() | {"padding_mode": padding_mode}
                if isinstance(layer, ConvGeometry)
                else layer
                for name, layer in layers.items()
            }
            write_checkpoint(path, Header(kind="model", layers=described), tensors)
        opened = open_checkpoint(path)
        path.unlink()  # the map keeps it
        return opened

    return save
