"""`lcstool prune-stats`: what was pruned, what stayed, and is it local?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.app import app
from lcstool.cli.console import show_files, stderr, stdout
from lcstool.cli.options import AsJson, Plots, closing, configured
from lcstool.cli.outputs import derived_name, print_json, stem_of
from lcstool.errors import UsageError
from lcstool.stages.prune_stats.config import PruneStatsConfig

if TYPE_CHECKING:
    from lcstool.stages.prune_stats.stage import PruneStatsResult

EPILOG = closing(
    "lcstool train --arch s-fc --snapshots log:6 -o net.safetensors && "
    "lcstool prune-stats net*.safetensors --plots figures",
    columns="as conv, as local: weights of the convolution or local layer in a dense one's place. dead: units whose "
    "weights are all zero. duplicate: units with the weights of an earlier one. silent: units that nothing after them "
    "uses. fan-in, connections an input: least / median / most. Locality is of each unit's squared weights on the "
    "image, beside the same shuffled: rms radius in pixels; the best window's share; the number of pixels that matter; "
    "adjacent inputs of one unit, in units of chance and in deviations z; the cosine with the best shifted copy among "
    "other units. delta: norm of the weights that no convolution reaches, off-local, over that of all.",
)


@app.command(name="prune-stats", epilog=EPILOG)
@configured(PruneStatsConfig)
def prune_stats(
    config: PruneStatsConfig,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="The pruned network, or else the statistics; '-' for stdout.",
                     rich_help_panel="Output", show_default=False),
    ] = None,
    plots: Plots = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Count a network's weights and units, measure how local its layers are, and prune or compact it.

    Any safetensors state dict will do; lcstool's own files also say what image a layer sees. Several files, such as
    the snapshots of a run, become a series over epochs.
    """
    from lcstool.checkpoint import check_writable
    from lcstool.cli.prune_stats_report import show
    from lcstool.stages.prune_stats.stage import prune_stats as run_stage

    if out is None and config.writes_model():
        if config.files == ("-",):
            raise UsageError(
                "a network from standard input has no name to derive one from", hint="name it with -o"
            )
        out = derived_name(Path(stem_of(config.files[0])).name + ".pruned")
        derived = True
    else:
        derived = False
    if out is not None:
        check_writable(out, *config.files)
    if out == "-" and as_json:
        raise UsageError("--json and -o - both want standard output", hint="name a file with -o")
    if plots is not None:
        prepared_folder(plots)
    result = run_stage(config, out)
    if plots is not None:
        from lcstool.plots.sparsity import draw

        show_files(draw(result.files, plots))
    if as_json:
        print_json(_document(result))
        return
    show(result, stderr() if out == "-" or derived else stdout())
    if derived:
        typer.echo(out)


def _document(result: "PruneStatsResult") -> dict[str, object]:
    document: dict[str, object] = {"files": [look.to_json() for look in result.files]}
    if result.written is not None:
        document["written"] = result.written.header.history[-1]["metrics"]
    return document
