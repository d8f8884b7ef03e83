"""The embed stage: read, choose, compare, write.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 3.
"""

from dataclasses import replace

import torch

from lcstool.checkpoint import Header, write_checkpoint
from lcstool.devices import memory_errors, require_memory
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.models.embedding.tensors import embedded_tensors
from lcstool.models.wiring.trace import trace
from lcstool.record import history_entry, portable_config
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.plan import plan
from lcstool.stages.embed.result import EmbedResult
from lcstool.stages.embed.source import Source, choose_layers, open_source
from lcstool.stages.embed.verify import Agreement, verify


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
        found = verify(config, source, spec, embedding, tensors)
        header = _header(config, source, spec, found)
        write_checkpoint(out, header, tensors)
        return EmbedResult(
            out=out,
            header=header,
            layers=sizes.layers,
            max_difference=found.max_difference,
            largest_logit=found.largest_logit,
            dataset=found.dataset,
        )


def _header(config: EmbedConfig, source: Source, spec: ModelSpec, found: Agreement) -> Header:
    settings = portable_config(config) | {"norm": config.norm_name()}
    metrics = {"max_difference": found.max_difference, "largest_logit": found.largest_logit}
    inputs = {"model": source.digest}
    entry = history_entry("embed", settings, inputs=inputs, metrics=metrics, seed=config.seed)
    history = source.header.history if source.header is not None else ()
    return Header(
        kind="model",
        model=spec.to_json(),
        input=source.header.input if source.header is not None else None,
        layers=trace(empty_model(spec), spec.in_shape).layers_json(),
        history=(*history, entry),
    )
