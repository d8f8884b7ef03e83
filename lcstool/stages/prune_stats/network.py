"""A file's network, for what single weights do not show: the convolutional subspace, and accuracies."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lcstool.checkpoint import Checkpoint, Header
from lcstool.devices import resolve_device
from lcstool.evaluation import evaluate
from lcstool.images import UsedDataset, images_of, input_map
from lcstool.models import ModelSpec, load_model
from lcstool.models.embedding.subspace import Subspace
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d
from lcstool.models.layers.parameters import WEIGHT_LAYERS
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.weights.grid import restore_pixels


@dataclass(frozen=True)
class Accuracy:
    """Test accuracies of a network.

    Attributes:
        fracs: `whole`, and of networks with layers in convolutions' places `without_off_local` and `without_local`.
        sparse_layers: The layers that the whole network's was computed with as sparse products.
        dataset: The images.
    """

    fracs: dict[str, float]
    sparse_layers: tuple[str, ...]
    dataset: UsedDataset


class Network:
    """A network. If its first layer is dense on permuted pixels, that layer's weights are put in the image's order."""

    def __init__(self, checkpoint: Checkpoint, spec: ModelSpec, header: Header, order: Tensor | None) -> None:
        self.model, self.spec, self.where = load_model(checkpoint), spec, checkpoint.where
        self.header, self.input, self.order = header, header.input, order
        first = next(module for module in self.model.modules() if isinstance(module, WEIGHT_LAYERS))
        if (
            self.input is not None
            and order is not None
            and isinstance(first, nn.Linear)
            and first.weight.shape[1] == math.prod(spec.in_shape)
        ):
            on_grid = first.weight.detach().view(-1, *spec.in_shape)
            first.weight = nn.Parameter(restore_pixels(on_grid, order).flatten(1))
            self.input, self.order = self.input | {"permute_pixels": None}, None
        stands = any(isinstance(m, FullyConnected2d | LocallyConnected2d) for m in self.model.modules())
        self.subspace = Subspace(self.model) if stands else None

    def accuracy(self, config: PruneStatsConfig) -> Accuracy:
        """Test accuracy with all weights, without the off-local ones, and without the local ones (dA19, Fig. 7)."""
        spec = self.spec
        images = images_of(config.dataset, config.data_dir, spec, self.header, self.where)
        device = resolve_device(config.device)
        dtype = torch.float64 if next(self.model.parameters()).dtype == torch.float64 else torch.float32
        self.model.to(device, dtype)
        prepare = input_map(self.input, spec, self.where, device, dtype)
        test = images.dataset.test.to(device)
        whole = evaluate(self.model, test, prepare)
        accuracy = {"whole": whole.accuracy}
        if self.subspace is not None and any(layer.support for layer in self.subspace.layers.values()):
            for part in ("off-local", "local"):
                with self.subspace.without(part):
                    accuracy[f"without_{part.replace('-', '_')}"] = evaluate(
                        self.model, test, prepare
                    ).accuracy
        return Accuracy(accuracy, whole.sparse_layers, images.used)
