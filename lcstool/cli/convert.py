"""`lcstool convert`: anybody's network as one plain file that every stage reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.app import app
from lcstool.cli.console import plain
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs, derived_name
from lcstool.errors import UsageError
from lcstool.stages.convert.config import ConvertConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.convert.result import ConvertResult

EPILOG = closing(
    "lcstool convert run.ckpt --model torchvision:resnet18 --input 3x32x32 --mean 0.5 --std 0.25 -o net.safetensors",
    "lcstool convert model.safetensors.index.json -o - | lcstool prune-stats -",
)


@app.command(epilog=EPILOG)
@configured(ConvertConfig)
def convert(
    config: ConvertConfig,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="File to write; '-' for stdout \\[default: NAME.plain.safetensors].",
                     rich_help_panel="Output", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write a network's file, whoever made it, as one plain safetensors file.

    Wrappers and prefixes of training are taken off, shards joined, and weights that are kept in parts (weight norm,
    pruning masks) put together. With --model the file also says what network it is, so that every stage takes it, like
    a file of lcstool train. Of a network of one's own the code is run; a file alone never makes lcstool run code.
    """
    from lcstool.stages.convert.stage import convert as run_stage

    target = out if out is not None else _derived_name(config.file)
    outputs = Outputs({"-o": target}, as_json=as_json, reads=[config.file], derived=out is None)
    outputs.publish(run_stage(config, target), _show)


def _derived_name(file: str) -> str:
    if file == "-":
        raise UsageError(
            "a network from standard input has no name to derive one from", hint="name it with -o"
        )
    return derived_name(f"{Path(file).name.split('.')[0]}.plain")


def _show(result: "ConvertResult", out: "Console") -> None:
    roles = result.roles
    network = f"network {plain(result.arch)}" if result.arch else "no architecture (name it with --model)"
    out.print(f"{plain(result.out)}: {result.num_tensors} tensors, {network}")
    out.print(f"layers {len(roles.layers)}, norms {len(roles.norms)}, other tensors {len(roles.other)}")
    for name, parts in list(result.composed.items())[:8]:
        out.print(f"put together: {plain(name)} of {plain(', '.join(parts))}")
    if len(result.composed) > 8:
        out.print(f"and {len(result.composed) - 8} more weights put together")
    for name, kind in list(roles.other.items())[:8]:
        out.print(f"[dim]neither layer nor norm: {plain(name)} ({kind})[/]")
