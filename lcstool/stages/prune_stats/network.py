"""A file's network, for what single weights do not show: the convolutional subspace, and accuracies."""

import math

import torch
from torch import Tensor, nn

from lcstool.checkpoint import Checkpoint, Header
from lcstool.devices import resolve_device
from lcstool.evaluation import evaluate
from lcstool.images import input_map, load_images
from lcstool.models import ModelSpec, load_model
from lcstool.models.embedding.subspace import Subspace
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d
from lcstool.models.layers.parameters import WEIGHT_LAYERS
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.weights.grid import restore_pixels


class Network:
    """A network. If its first layer is dense on permuted pixels, that layer's weights are put in the image's order."""

    def __init__(self, checkpoint: Checkpoint, spec: ModelSpec, header: Header, order: Tensor | None) -> None:
        self.model, self.spec, self.where = load_model(checkpoint), spec, checkpoint.where
        self.input, self.order = header.input, order
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

    def accuracy(self, config: PruneStatsConfig) -> tuple[dict[str, float], tuple[str, ...]]:
        """Test accuracy with all weights, without the off-local ones, and without the local ones (dA19, Fig. 7).

        Returns:
            The accuracies, and the layers that the whole network's was computed with as sparse products.
        """
        spec = self.spec
        dataset = load_images(config.dataset or "", config.data_dir, spec, self.where)
        device = resolve_device(config.device)
        dtype = torch.float64 if next(self.model.parameters()).dtype == torch.float64 else torch.float32
        self.model.to(device, dtype)
        prepare = input_map(self.input, spec, self.where, device, dtype)
        test = dataset.test.to(device)
        whole = evaluate(self.model, test, prepare)
        accuracy = {"whole": whole.accuracy}
        if self.subspace is not None and any(layer.support for layer in self.subspace.layers.values()):
            for part in ("off-local", "local"):
                with self.subspace.without(part):
                    accuracy[f"without_{part.replace('-', '_')}"] = evaluate(
                        self.model, test, prepare
                    ).accuracy
        return accuracy, whole.sparse_layers
