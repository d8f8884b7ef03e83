"""How large a run would be, without running it: `--dry-run`."""

from dataclasses import dataclass
from typing import Any

from lcstool.checkpoint import open_checkpoint
from lcstool.distributed import ALONE, Group
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import count_parameters, weight_layers
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.data import read_extent
from lcstool.stages.train.memory import memory_bytes
from lcstool.stages.train.placement import wants_split
from lcstool.stages.train.setup import check_fits, resolve_spec


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """A run's sizes.

    Attributes:
        spec: The architecture.
        layers: Shape of the weights of each layer.
        num_parameters: Weights and biases, as the papers count them.
        num_steps: Steps of the whole run; a run with --until-train-accuracy may make fewer.
        checkpoint_bytes: Size of the model file.
        memory_bytes: Estimated peak on the device: weights, gradients, optimizer, saved copy, activations, images.
    """

    spec: ModelSpec
    layers: dict[str, tuple[int, ...]]
    num_parameters: int
    num_steps: int
    checkpoint_bytes: int
    memory_bytes: int

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.train-plan/1",
            "model": self.spec.to_json(),
            "layers": {name: list(shape) for name, shape in self.layers.items()},
            "num_parameters": self.num_parameters,
            "num_steps": self.num_steps,
            "checkpoint_bytes": self.checkpoint_bytes,
            "memory_bytes": self.memory_bytes,
        }


def plan(config: TrainConfig, group: Group = ALONE) -> TrainPlan:
    """Compute a run's sizes; nothing is written, built or downloaded.

    Args:
        config: The configuration.
        group: The ranks of the run; the memory is that of this one.
    """
    device = group.device(config.device)
    source = open_checkpoint(config.init) if config.init is not None else None
    extent = read_extent(config, source)
    if source is not None:
        spec = ModelSpec.from_json(source.require_kind("model").model or {}, source.where)
        check_fits(spec, config, extent, source.where)
    else:
        spec = resolve_spec(config, extent)
    model = empty_model(spec)
    num_train = extent.num_train - round(extent.num_train * config.val_fraction)
    if config.train_size is not None:
        if config.train_size > num_train:
            raise BadInputError(f"there are {num_train} training images, not {config.train_size}")
        num_train = config.train_size
    batch = min(config.batch_size, num_train)
    state_bytes = sum(tensor.nbytes for tensor in model.state_dict().values())
    split = wants_split(config, spec, extent, device, group)
    return TrainPlan(
        spec=spec,
        layers={name: tuple(layer.weight.shape) for name, layer in weight_layers(model).items()},
        num_parameters=count_parameters(model),
        num_steps=num_train // batch * config.epochs,
        checkpoint_bytes=state_bytes,
        memory_bytes=memory_bytes(config, model, extent, batch, group, split),
    )
