"""The network to embed, and the choice of its layers."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lcstool.checkpoint import Header, open_checkpoint
from lcstool.errors import BadInputError, UsageError
from lcstool.models import Embedding, ModelSpec, load_model
from lcstool.models.build import empty_model
from lcstool.models.embedding.tensors import convolution_layers
from lcstool.models.foreign import build_foreign, read_state_dict
from lcstool.models.wiring.trace import Trace, trace
from lcstool.stages.embed.config import EmbedConfig


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
    """Read the network to embed: one of ours, or a state dict with `model` and `input` saying what it is."""
    if config.model is None:
        if Path(config.file).suffix in (".pt", ".pth"):
            raise UsageError(
                "a state dict does not say what network it is", hint="--model torchvision:NAME --input CxHxW"
            )
        checkpoint = open_checkpoint(config.file)
        if checkpoint.header is None:
            raise BadInputError(
                f"{checkpoint.where} was not written by lcstool, so its network is unknown",
                hint="say what it is: --model torchvision:NAME --input 3x32x32",
            )
        model = load_model(checkpoint)
        assert checkpoint.header.model is not None
        spec = ModelSpec.from_json(checkpoint.header.model, checkpoint.where)
        header: Header | None = checkpoint.header
        digest, where = checkpoint.digest(), checkpoint.where
    else:
        state, digest = read_state_dict(config.file)
        where = "standard input" if config.file == "-" else config.file
        spec, model = build_foreign(config.model, config.input_shape(), state, where)
        header = None
    return Source(
        model=model,
        spec=spec,
        found=trace(empty_model(spec), spec.in_shape),
        header=header,
        digest=digest,
        where=where,
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
