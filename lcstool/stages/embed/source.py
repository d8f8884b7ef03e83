"""The network to embed, and the choice of its layers."""

import fnmatch
from dataclasses import dataclass

from torch import nn

from lcstool.checkpoint import Checkpoint, Header, open_checkpoint
from lcstool.errors import BadInputError, UsageError
from lcstool.models import Embedding, ModelSpec, load_model
from lcstool.models.build import empty_model
from lcstool.models.embedding.tensors import convolution_layers
from lcstool.models.wiring.trace import Trace, trace
from lcstool.options import model_arguments
from lcstool.stages.embed.config import EmbedConfig
from lcstool.weights.network import described_network


@dataclass(frozen=True, kw_only=True)
class Source:
    """The network to embed: its module on the CPU, and what is known of it."""

    model: nn.Module
    spec: ModelSpec
    found: Trace
    header: Header | None
    digest: str
    where: str


def open_source(config: EmbedConfig) -> Source:
    """Read the network to embed: one whose file says what it is, or a state dict that `model` and `input` describe."""
    checkpoint = open_checkpoint(config.file, config.key)
    header = checkpoint.header
    if header is not None and (header.kind != "model" or header.model is not None):
        model = _declared(config, checkpoint, header)
        spec = ModelSpec.from_json(header.model or {}, checkpoint.where)
    else:
        spec, model = _described(config, checkpoint)
    return Source(
        model=model,
        spec=spec,
        found=trace(empty_model(spec), spec.in_shape),
        header=header,
        digest=checkpoint.digest(),
        where=checkpoint.where,
    )


def _declared(config: EmbedConfig, checkpoint: Checkpoint, header: Header) -> nn.Module:
    """The network of a file that says what it is; UsageError if the command says something else."""
    model = load_model(checkpoint)
    assert header.model is not None
    if config.model not in (None, header.model["arch"]):
        raise UsageError(f"{checkpoint.where} holds {header.model['arch']}, not {config.model}")
    config.refuse(("model_arg", "input"), "on a file that says what network it is")
    return model


def _described(config: EmbedConfig, checkpoint: Checkpoint) -> tuple[ModelSpec, nn.Module]:
    """The network of a file that does not say what it is."""
    if config.model is None:
        raise BadInputError(
            f"{checkpoint.where} does not say what network it is",
            hint="say it: --model torchvision:NAME --input 3x32x32, or --model PACKAGE.MODULE:CALLABLE for your own",
        )
    if config.input is None:
        raise UsageError(
            f"{checkpoint.where} does not say the shape of the network's input", hint="--input 3x32x32"
        )
    return described_network(
        checkpoint, config.model, config.input_shape(), model_arguments(config.model_arg)
    )


def choose_layers(config: EmbedConfig, source: Source) -> Embedding:
    """The embedding that the configuration asks for; UsageError for a layer pattern that matches nothing."""
    kinds = convolution_layers(source.model, source.found)
    old = source.spec.embedding
    candidates = [
        name for name, kind in kinds.items() if kind == "conv" or (kind, config.to) == ("local", "fc")
    ]
    if not candidates:
        raise BadInputError(f"{source.where} has no layer to turn into {config.to}: nothing in it convolves")
    chosen = set()
    for pattern in config.layers or ("*",):
        matched = fnmatch.filter(candidates, pattern)
        if not matched:
            raise UsageError(f"layers {pattern!r} matches none of {', '.join(candidates)}")
        chosen |= set(matched)
    norm = config.norm_name()
    if old is not None and (norm, config.pad_inputs) != (old.norm, old.pad_inputs):
        raise UsageError(
            f"{source.where} is embedded already, with norm {old.norm} and pad_inputs {old.pad_inputs}: repeat those"
        )
    return Embedding(
        tuple((name, config.to) for name in candidates if name in chosen), config.pad_inputs, norm
    )
