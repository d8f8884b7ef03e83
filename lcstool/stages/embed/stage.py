"""The embed stage: read, choose, compare, write.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch

from lcstool.checkpoint import Header, write_checkpoint
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.convert import embedded_tensors
from lcstool.models.trace import trace
from lcstool.runtime import memory_errors, require_memory, versions
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.plan import LayerPlan, plan
from lcstool.stages.embed.source import Source, choose_layers, open_source
from lcstool.stages.embed.verify import verify


@dataclass(frozen=True)
class EmbedResult:
    """A written embedding: its header, its layers, and how far its logits are from the source's.

    Attributes:
        max_difference: Largest absolute difference of the logits, in float64, by kind of input.
        largest_logit: Largest absolute logit.
    """

    header: Header
    layers: tuple[LayerPlan, ...]
    max_difference: dict[str, float]
    largest_logit: float


def embed(config: EmbedConfig, out: str) -> EmbedResult:
    """Embed, compare the logits of both networks, and write only if they agree.

    Raises:
        CheckFailedError: the logits differ by more than the tolerance; nothing is written.
        LcsError: for everything else a user can mend.
    """
    with memory_errors():
        source = open_source(config)
        embedding = choose_layers(config, source)
        merged = embedding
        if source.spec.embedding is not None:
            layers = dict(source.spec.embedding.layers) | dict(embedding.layers)
            merged = replace(embedding, layers=tuple(sorted(layers.items())))
        sizes = plan(config, source, embedding)
        require_memory(sizes.memory_bytes, torch.device("cpu"), f"embedding {source.where}")
        tensors = embedded_tensors(source.model, source.found, embedding, config.storage, merged)
        spec = replace(source.spec, embedding=merged)
        differences, largest = verify(config, source, spec, embedding, tensors)
        header = _header(config, source, spec, {"max_difference": differences, "largest_logit": largest})
        write_checkpoint(out, header, tensors)
        return EmbedResult(header, sizes.layers, differences, largest)


def _header(config: EmbedConfig, source: Source, spec: ModelSpec, metrics: dict[str, Any]) -> Header:
    entry = {
        "stage": "embed",
        "config": config.portable(),
        "seed": config.seed,
        "versions": versions(),
        "inputs": {"model": source.digest},
        "metrics": metrics,
    }
    history = source.header.history if source.header is not None else ()
    return Header(
        kind="model",
        model=spec.to_json(),
        input=source.header.input if source.header is not None else None,
        layers=trace(empty_model(spec), spec.in_shape).layers_json(),
        history=(*history, entry),
    )
