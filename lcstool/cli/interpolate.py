"""`lcstool interpolate`: paths between networks, in weight space and in output space."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.app import app
from lcstool.cli.console import new_table, percent, plain, stderr
from lcstool.cli.options import AsJson, Plots, closing, configured
from lcstool.cli.outputs import Outputs, stem_of
from lcstool.errors import UsageError
from lcstool.stages.interpolate.config import InterpolateConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.interpolate.result import InterpolateResult

EPILOG = closing(
    "lcstool interpolate cnn.safetensors efcn.safetensors --method all --plots figures",
    "lcstool interpolate a.safetensors b.safetensors --method string --export best -o best.safetensors",
    columns="position: 0 at the first network, 1 at the last. train, test: accuracy. barrier: how far the loss rises, "
    "at most, above the line between the losses of both ends. length / straight: length of the path divided by that "
    "of the straight line. above the better end: test accuracy of the best point minus that of the better end. *: the "
    "best point, by test accuracy.",
)


@app.command(epilog=EPILOG)
@configured(InterpolateConfig)
def interpolate(
    config: InterpolateConfig,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="File for the path, or with --export for a network; '-' for stdout.",
                     rich_help_panel="Output", show_default=False),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option("--export", help="Write only one point: 'best' (by test accuracy), or a position like 0.4.",
                     rich_help_panel="Output", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the string that an interrupted run saved.", metavar=" ",
                           rich_help_panel="Output"),
    ] = False,
    plots: Plots = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure loss and accuracy along a path between networks: its barrier, its length and its best point.

    If one network is convolutional and the other is embedded, the first is embedded too. The best point is the one with
    the highest test accuracy, as in the paper; so it is chosen on the test set.
    """
    from lcstool.stages.interpolate.stage import interpolate as run_stage

    if export is not None and out is None:
        raise UsageError("--export writes a network; name it with -o")
    partial = _partial(config, out)
    files = {"-o": out, "--resume": partial}
    outputs = Outputs(files, as_json=as_json, reads=config.files, plots=plots)

    def on_epoch(epoch: int, barrier: float, loss: float) -> None:
        stderr().print(
            f"string, epoch {epoch}/{config.epochs}: barrier {barrier:.4f}, largest loss {loss:.4f}"
        )

    outputs.publish(run_stage(config, out, export, partial, resume, on_epoch), _show, _draw)


def _partial(config: InterpolateConfig, out: str | None) -> Path | None:
    """Where an unfinished string is kept: beside the output, or else under the first network's name."""
    if "string" not in config.methods():
        return None
    first = "stdin" if config.files[0] == "-" else Path(stem_of(config.files[0])).name
    return Path(f"{first if out in (None, '-') else stem_of(out)}.string.partial.safetensors")


def _draw(result: "InterpolateResult", folder: Path) -> list[Path]:
    from lcstool.plots.paths import draw

    return draw(result, folder)


def _show(result: "InterpolateResult", out: "Console") -> None:
    for name, one in zip(result.files[1:], result.aligned, strict=False):
        out.print(
            f"{plain(name)} aligned: distance {one.distance_before:.4g} -> {one.distance_after:.4g}"
            + (f"; {len(one.left)} layers left in their order" if one.left else "")
        )
    for path in result.paths:
        table = new_table(f"{path.method} path", "position", "train loss", "train", "test loss", "test")
        for index, alpha in enumerate(path.alphas):
            train, test = path.train[index], path.test[index]
            mark = " *" if index == path.best else ""
            table.add_row(
                f"{alpha:.3g}{mark}", f"{train.loss:.4f}", percent(train.accuracy), f"{test.loss:.4f}",
                percent(test.accuracy),
            )  # fmt: skip
        out.print(table)
    if result.paths:
        table = new_table(
            "Paths (* the best point)", "path", "train barrier", "test barrier", "length / straight", "best position",
            "best test", "above the better end",
        )  # fmt: skip
        for path in result.paths:
            length = (
                "-" if path.length is None else f"{path.length / path.straight:.3f}" if path.straight else "-"
            )
            table.add_row(
                path.method, f"{path.barrier:.4f}", f"{path.test_barrier:.4f}", length,
                f"{path.alphas[path.best]:.3g}", percent(path.test[path.best].accuracy), percent(path.best_above_ends),
            )  # fmt: skip
        out.print(table)
    if result.exported is not None:
        out.print(f"written: the point at {result.exported:.4g}")
