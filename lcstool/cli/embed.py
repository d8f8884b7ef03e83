"""`lcstool embed`: a convolutional network as a fully- or locally-connected one that computes the same function."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lcstool.cli.app import app
from lcstool.cli.console import new_table
from lcstool.cli.options import AsJson, DryRun, closing, configured
from lcstool.cli.outputs import Outputs, derived_name, stem_of
from lcstool.stages.embed.config import EmbedConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from lcstool.stages.embed.plan import EmbedPlan, LayerPlan
    from lcstool.stages.embed.result import EmbedResult

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
        typer.Option("--out", "-o", help="File for the embedded network; '-' for stdout \\[default: beside the input].",
                     rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Write a convolutional network as a fully- or locally-connected one that computes the same function.

    Before anything is written, the logits of both networks are compared. If they differ by more than the tolerance,
    nothing is written and the exit code is 4.
    """
    if dry_run:
        from lcstool.stages.embed.plan import plan
        from lcstool.stages.embed.source import choose_layers, open_source

        source = open_source(config)
        Outputs(as_json=as_json).publish(plan(config, source, choose_layers(config, source)), _show_plan)
        return
    from lcstool.stages.embed.stage import embed as run_stage

    target = out if out is not None else derived_name(_stem(config))
    outputs = Outputs({"-o": target}, as_json=as_json, reads=[config.file], derived=out is None)
    outputs.publish(run_stage(config, target), _show)


def _stem(config: EmbedConfig) -> str:
    name = "efcn" if config.to == "fc" else "local"
    if config.file == "-":
        return name
    path = Path(config.file)
    base = stem_of(str(path)) if path.suffix == ".safetensors" else str(path.with_suffix(""))
    return f"{base}.{name}"


def _show(result: "EmbedResult", out: "Console") -> None:
    out.print(_table("Embedded", result.layers))
    for kind, difference in result.max_difference.items():
        out.print(
            f"on {kind} images logits differ by at most {difference:.3g} (largest {result.largest_logit:.3g})"
        )


def _show_plan(sizes: "EmbedPlan", out: "Console") -> None:
    out.print(_table("Nothing was written", sizes.layers))
    out.print(f"file              {sizes.file_bytes:>16,} bytes")
    out.print(f"estimated memory  {sizes.memory_bytes:>16,} bytes")


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
