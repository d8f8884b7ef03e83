"""`lcstool embed`: a convolutional network as its fully- or locally-connected equal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcstool.cli import app
from lcstool.cli.console import new_table, print_json, stderr, stdout
from lcstool.cli.options import AsJson, DryRun, closing, configured
from lcstool.cli.streams import derived_name, stem_of
from lcstool.errors import UsageError
from lcstool.stages.embed.config import EmbedConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lcstool.stages.embed.plan import LayerPlan

EPILOG = closing(
    "lcstool train --arch vanilla-cnn --optim sgd -o cnn.safetensors && "
    "lcstool embed cnn.safetensors -o start.safetensors && "
    "lcstool train --init start.safetensors --optim sgd --lr 0.01 -o efcn.safetensors",
    "lcstool train --arch s-conv --optim sgd -o - | lcstool embed - -o - --storage csr | lcstool info -",
)
OUTPUT = "Output"


@app.command(epilog=EPILOG)
@configured(EmbedConfig)
def embed(
    config: EmbedConfig,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="File of the embedded network, '-' for stdout \\[default: beside the input].",
                     rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Write a convolutional network as a fully- or locally-connected one that computes the same function.

    The logits of both networks are compared before anything is written; a difference beyond the tolerance is exit 4.
    """
    if as_json and out == "-":
        raise UsageError("--json and -o - both want standard output", hint="give -o a file name")
    if dry_run:
        _show_plan(config, as_json)
        return
    target = out if out is not None else derived_name(_stem(config))

    from lcstool.checkpoint import check_writable
    from lcstool.stages.embed.stage import embed as run_stage

    check_writable(target, config.file)
    result = run_stage(config, target)
    if as_json:
        print_json(
            {"out": target, "model": result.header.model, "layers": [vars(layer) for layer in result.layers],
             "max_difference": result.max_difference, "largest_logit": result.largest_logit}
        )  # fmt: skip
        return
    if out is None:
        sys.stdout.write(f"{target}\n")
    console = stdout() if out is not None and out != "-" else stderr()
    console.print(_table("Embedded", result.layers))
    for kind, difference in result.max_difference.items():
        console.print(
            f"on {kind} images logits differ by at most {difference:.3g} (largest {result.largest_logit:.3g})"
        )


def _stem(config: EmbedConfig) -> str:
    name = "efcn" if config.to == "fc" else "local"
    if config.file == "-":
        return name
    path = Path(config.file)
    base = stem_of(str(path)) if path.suffix == ".safetensors" else str(path.with_suffix(""))
    return f"{base}.{name}"


def _table(title: str, layers: "Sequence[LayerPlan]") -> Any:
    table = new_table(
        title,
        "layer",
        "to",
        "rows x columns",
        "non-zeros",
        "dense bytes",
        "csr bytes",
        "stored",
    )
    for layer in layers:
        table.add_row(
            layer.name, layer.connectivity, f"{layer.rows:,} x {layer.columns:,}", f"{layer.nonzeros:,}",
            f"{layer.dense_bytes:,}", f"{layer.csr_bytes:,}", layer.storage,
        )  # fmt: skip
    return table


def _show_plan(config: EmbedConfig, as_json: bool) -> None:
    from lcstool.stages.embed.plan import plan
    from lcstool.stages.embed.source import choose_layers, open_source

    source = open_source(config)
    sizes = plan(config, source, choose_layers(config, source))
    if as_json:
        print_json(
            {"layers": [vars(layer) for layer in sizes.layers], "file_bytes": sizes.file_bytes,
             "memory_bytes": sizes.memory_bytes}
        )  # fmt: skip
        return
    stdout().print(_table("Nothing was written", sizes.layers))
    stdout().print(f"file              {sizes.file_bytes:>16,} bytes")
    stdout().print(f"estimated memory  {sizes.memory_bytes:>16,} bytes")
