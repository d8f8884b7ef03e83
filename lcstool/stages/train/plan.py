"""What a run would do and need, worked out without doing it: `--dry-run`."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lcstool.checkpoint import open_checkpoint
from lcstool.distributed import ALONE, Group
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.models.build import count_parameters, empty_model, weight_layers
from lcstool.models.local import LocallyConnected2d
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.images import load_data
from lcstool.stages.train.setup import check_fits, resolve_spec


@dataclass(frozen=True)
class TrainPlan:
    """A run's sizes.

    Attributes:
        spec: The architecture.
        layers: Shape of the weights of each layer.
        num_parameters: As the papers count them.
        num_steps: Steps in all; at most, where the run may stop before.
        checkpoint_bytes: Of the model file.
        memory_bytes: Estimated peak on the device: weights, gradients, optimizer, saved copy, activations, images.
    """

    spec: ModelSpec
    layers: dict[str, tuple[int, ...]]
    num_parameters: int
    num_steps: int
    checkpoint_bytes: int
    memory_bytes: int


def plan(config: TrainConfig, group: Group = ALONE) -> TrainPlan:
    """Size up a run; nothing is written, built or downloaded. The memory is that of this rank of the group."""
    group.device(config.device)
    dataset = load_data(config, keep=False)
    if config.init is not None:
        source = open_checkpoint(config.init)
        spec = ModelSpec.from_json(source.require_kind("model").model or {}, source.where)
        check_fits(spec, config, dataset, source.where)
    else:
        spec = resolve_spec(config, dataset)
    model = empty_model(spec)
    num_train = len(dataset.train) - round(len(dataset.train) * config.val_fraction)
    if config.train_size is not None:
        if config.train_size > num_train:
            raise BadInputError(f"there are {num_train} training images, not {config.train_size}")
        num_train = config.train_size
    batch = min(config.batch_size, num_train)
    share = group.share(batch)
    state_bytes = sum(tensor.nbytes for tensor in model.state_dict().values())
    weight_bytes = sum(parameter.nbytes for parameter in model.parameters())
    momentum = 1 if config.optim == "sgd" and config.momentum else 0
    # Weights, gradients, one temporary of the step, the last good copy, and momentum with its copy; for
    # beta-LASSO a byte a weight that says which are zero.
    held = state_bytes + 3 * weight_bytes + 2 * momentum * weight_bytes
    held += weight_bytes // 4 if config.optim == "beta-lasso" else 0
    held += weight_bytes if group.size > 1 else 0  # all gradients as one message
    images = dataset.train.images.nbytes + dataset.test.images.nbytes
    return TrainPlan(
        spec,
        {name: tuple(layer.weight.shape) for name, layer in weight_layers(model).items()},
        count_parameters(model),
        num_train // batch * config.epochs,
        state_bytes,
        held + images + 2 * _activation_bytes(model, (share.stop - share.start, *dataset.in_shape)),
    )


def _activation_bytes(model: nn.Module, shape: tuple[int, ...]) -> int:
    """The outputs of all modules that have no children, in float32, for one batch; each keeps one for backward."""
    total = 0

    def add(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output.nbytes
        if isinstance(module, LocallyConnected2d):  # its patches are kept too
            total += shape[0] * module.weight.numel() // module.geometry.out_channels * 4

    handles = [m.register_forward_hook(add) for m in model.modules() if not list(m.children())]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(shape, device="meta"))
    for handle in handles:
        handle.remove()
    return total
