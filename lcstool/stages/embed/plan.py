"""How large an embedding will be, from the geometry alone: `--dry-run`."""

from dataclasses import asdict, dataclass
from typing import Any

from lcstool.checkpoint import csr_bytes
from lcstool.models import Embedding
from lcstool.models.embedding.support import convolution_support
from lcstool.models.layers.parameters import weight_layers
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.source import Source


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """One layer to be embedded: the matrix's size, the entries the convolution reaches, bytes either way, and which."""

    name: str
    connectivity: str
    rows: int
    columns: int
    nonzeros: int
    dense_bytes: int
    csr_bytes: int
    storage: str

    @property
    def stored_bytes(self) -> int:
        return self.csr_bytes if self.storage == "csr" else self.dense_bytes


@dataclass(frozen=True)
class EmbedPlan:
    """What would be written.

    Attributes:
        layers: The embedded layers.
        file_bytes: Of the file, about.
        memory_bytes: Estimated peak: the source, one output channel's rows in two precisions, a csr layer's index.
    """

    layers: tuple[LayerPlan, ...]
    file_bytes: int
    memory_bytes: int

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.embed-plan/1",
            "layers": [asdict(layer) for layer in self.layers],
            "file_bytes": self.file_bytes,
            "memory_bytes": self.memory_bytes,
        }


def plan(config: EmbedConfig, source: Source, embedding: Embedding) -> EmbedPlan:
    """Sizes of the embedding, from the geometry alone."""
    layers, peak = [], 0
    weights = weight_layers(source.model)
    for name, connectivity in embedding.layers:
        geometry = source.found.layers[name]
        dtype = weights[name].weight.dtype
        itemsize = dtype.itemsize
        support = convolution_support(geometry, embedding.pad_inputs, source.found.padding_modes[name])
        rows = geometry.out_channels * support.num_positions
        if connectivity == "local":
            columns = geometry.patch_size
            nonzeros = rows * columns
        else:
            columns, nonzeros = support.num_columns, geometry.out_channels * len(support.row_N)
        dense, csr = rows * columns * itemsize, csr_bytes((rows, columns), nonzeros, dtype)
        storage = config.storage if config.storage != "auto" else "csr" if csr < dense else "dense"
        if connectivity == "local":
            storage = "dense"
        block = support.num_positions * columns * (itemsize + 8)
        if connectivity == "local":  # made whole, and once more in float64 for the check
            block = nonzeros * (itemsize + 8)
        peak = max(peak, block + (nonzeros // geometry.out_channels * 100 if storage == "csr" else 0))
        layers.append(
            LayerPlan(
                name=name,
                connectivity=connectivity,
                rows=rows,
                columns=columns,
                nonzeros=nonzeros,
                dense_bytes=dense,
                csr_bytes=csr,
                storage=storage,
            )
        )
    own = sum(tensor.nbytes for tensor in source.model.state_dict().values())
    embedded = sum(layer.stored_bytes for layer in layers)
    replaced = sum(weights[name].weight.nbytes for name, _ in embedding.layers)
    return EmbedPlan(tuple(layers), own - replaced + embedded, 3 * own + peak)
