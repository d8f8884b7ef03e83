"""Build the parts of a run from its configuration: data, model, optimizer, and the header of the model's file."""

import fnmatch
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

from lcstool.checkpoint import Checkpoint, Header, open_checkpoint
from lcstool.data.dataset import ImageDataset
from lcstool.data.preprocess import Preprocess
from lcstool.devices import is_split
from lcstool.distributed import ALONE, Group
from lcstool.errors import BadInputError, UsageError
from lcstool.images import Cut, UsedDataset, as_trained
from lcstool.models import ARCHITECTURES, Embedding, ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.embedding.subspace import Subspace
from lcstool.models.layers.local import UnitBatchNorm2d
from lcstool.models.layers.parameters import weight_layers
from lcstool.models.sizing import parse_count, sized_by_fc_params
from lcstool.models.wiring.draws import require_seeded
from lcstool.models.wiring.trace import trace
from lcstool.optim import BetaLasso
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.data import Extent, load_data
from lcstool.stages.train.placement import place_model

DEFAULT_ARCH = "s-fc"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A run's parts before its first step.

    Attributes:
        config: The configuration.
        device: Where this process computes.
        dataset: The images and labels that the run sees.
        used: Which data set they are of.
        model: The network, on the device.
        optimizer: Of its trained parameters.
        subspace: The convolutional subspace of an embedded network; None for others.
        preprocess: From stored images to the network's input.
        header: What the model's file says and does not change during the run.
        inputs: Content digests of the data set and of the model in --init.
    """

    config: TrainConfig
    device: torch.device
    dataset: ImageDataset
    used: UsedDataset
    model: nn.Module
    optimizer: torch.optim.Optimizer
    subspace: Subspace | None
    preprocess: Preprocess
    header: Header
    inputs: dict[str, str]

    @cached_property
    def is_split(self) -> bool:
        """Whether the parameters are split over several ranks."""
        return any(is_split(parameter) for parameter in self.model.parameters())


def resolve_spec(config: TrainConfig, extent: Extent) -> ModelSpec:
    """The architecture that the configuration asks for, for images of a data set of this extent."""
    channels, height, width = extent.in_shape
    arch = config.arch or DEFAULT_ARCH
    spec = ModelSpec(
        arch=arch,
        image=(height, width),
        channels=channels,
        classes=extent.num_classes,
        alpha=config.alpha or ARCHITECTURES[arch].alpha,
        dropout=config.dropout,
        kernel_size=config.kernel_size or 3,
    )
    if config.fc_params:
        spec = sized_by_fc_params(spec, parse_count(config.fc_params))
    return spec if config.connectivity == "conv" else reconnected(spec, config.connectivity)


def reconnected(spec: ModelSpec, connectivity: str) -> ModelSpec:
    """The same network with every convolution locally or fully connected; UsageError if it has none."""
    layers = trace(empty_model(spec), spec.in_shape).layers
    if not layers or spec.arch.endswith(("-local", "-fc")):
        raise UsageError(f"{spec.arch} has no convolutions to make {connectivity}")
    return replace(spec, embedding=Embedding(tuple((name, connectivity) for name in layers)))


def prepare(config: TrainConfig, resumed: Checkpoint | None = None, group: Group = ALONE) -> Setup:
    """Build everything a run needs.

    Args:
        config: The configuration.
        resumed: The saved state to continue from. The network is then that of the state.
        group: The ranks of the run. Each rank builds everything, on a device of its own.
    """
    device = group.device(config.device)
    source = resumed
    if resumed is None and config.init is not None:
        source = open_checkpoint(config.init)
    with group.leaders_first():  # one rank of each machine downloads; the others then find the files
        images = load_data(config, source)
    dataset, extent = images.dataset, Extent.of(images.dataset)
    inputs: dict[str, str] = {}
    history: tuple[dict[str, Any], ...] = ()
    preprocess: Preprocess | None = None
    if source is not None:
        header = source.require_kind("model")
        spec = ModelSpec.from_json(header.model or {}, source.where)
        check_fits(spec, config, extent, source.where)
        if spec.arch not in ARCHITECTURES:
            require_seeded(empty_model(spec), spec.in_shape, source.where)
        if header.input is not None:
            preprocess = Preprocess.from_json(header.input, spec.channels, source.where)
        history = header.history
        if resumed is None:
            inputs["init"] = source.digest()
    else:
        spec = resolve_spec(config, extent)
    model = place_model(config, spec, source, extent, device, group)
    if preprocess is None:  # from all training images, so that runs on different subsets see images alike
        preprocess = Preprocess.of(dataset.train.images, config.normalize or "channel", config.permute_pixels)
    dataset = as_trained(cut_of(config), dataset, spec)
    inputs["dataset"] = dataset.digest
    freeze(model, config.freeze)
    header = Header(
        kind="model",
        model=spec.to_json(),
        input=preprocess.to_json() | {"classes": list(dataset.class_names)},
        layers=trace(empty_model(spec), dataset.in_shape, strict=False).layers_json(),
        history=history,
    )
    optimizer = build_optimizer(config, model)
    subspace = Subspace(model) if spec.embedding is not None else None
    if config.lr_match == "orbit" and subspace is None:
        raise UsageError("lr_match orbit needs an embedded network", hint="name one that lcstool embed made")
    if config.lr_match == "orbit" and any(isinstance(module, UnitBatchNorm2d) for module in model.modules()):
        raise UsageError(
            "lr_match orbit: batch norm over units has other statistics than the CNN's, so it would train differently",
            hint="embed with --norm channels or --fold-bn",
        )
    return Setup(
        config=config,
        device=device,
        dataset=dataset,
        used=images.used,
        model=model,
        optimizer=optimizer,
        subspace=subspace,
        preprocess=preprocess,
        header=header,
        inputs=inputs,
    )


def cut_of(config: TrainConfig) -> Cut:
    """What the run makes of its data set; its classes are chosen already."""
    return Cut(
        labels=config.labels,
        val_fraction=config.val_fraction,
        train_size=config.train_size,
        seed=config.seed,
    )


def check_fits(spec: ModelSpec, config: TrainConfig, extent: Extent, where: str) -> None:
    """BadInputError if a file's network is another one than --arch, or is not for this data set's images and classes.

    Args:
        spec: Of the network.
        config: The configuration.
        extent: Of the data set.
        where: The file, for errors.
    """
    if config.arch not in (None, spec.arch):
        raise BadInputError(f"{where} holds {spec.arch}, not {config.arch}", hint="leave --arch out")
    found, expected = (spec.channels, *spec.image), extent.in_shape
    if found != expected:
        raise BadInputError(
            f"{where} takes images of shape {list(found)} (C, H, W), {extent.name} has {list(expected)}"
        )
    if spec.classes != extent.num_classes:
        raise BadInputError(f"{where} has {spec.classes} classes, {extent.name} has {extent.num_classes}")


def freeze(model: nn.Module, patterns: tuple[str, ...]) -> None:
    """Do not train parameters of which the name, or the name of a layer around them, matches a pattern.

    Raises:
        UsageError: a pattern matches nothing, or nothing is left to train.
    """
    for pattern in patterns:
        matched = False
        for name, parameter in model.named_parameters():
            parts = name.split(".")
            if any(fnmatch.fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1)):
                parameter.requires_grad_(False)
                matched = True
        if not matched:
            raise UsageError(
                f"freeze {pattern!r} matches no layer; there are {', '.join(weight_layers(model))}"
            )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("everything is frozen; nothing is left to train")


def build_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """SGD, or beta-LASSO with its L1 term and threshold on weights only, never on biases or batch norm."""
    if config.optim == "sgd":
        return torch.optim.SGD(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    layers = weight_layers(model).values()
    conv = [layer.weight for layer in layers if layer.is_conv_like]
    fc = [layer.weight for layer in layers if not layer.is_conv_like]
    penalised = {id(weight) for weight in conv + fc}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in penalised]
    lambdas = (0.0, 0.0) if config.refit else (config.lambda_conv, config.lambda_fc)
    groups = [
        {"params": [p for p in params if p.requires_grad], "lambda_": lambda_}
        for params, lambda_ in ((conv, lambdas[0]), (fc, lambdas[1]), (rest, 0.0))
    ]
    return BetaLasso(
        [group for group in groups if group["params"]], lr=config.lr, beta=config.beta, track_support=True
    )
