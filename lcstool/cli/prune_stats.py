"""`lcstool prune-stats`: what was pruned, what stayed, and is it local?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.app import app
from lcstool.cli.options import AsJson, Plots, closing, configured
from lcstool.cli.outputs import Outputs, derived_name, stem_of
from lcstool.errors import UsageError
from lcstool.stages.prune_stats.config import PruneStatsConfig

if TYPE_CHECKING:
    from lcstool.stages.prune_stats.result import PruneStatsResult

EPILOG = closing(
    "lcstool train --arch s-fc --snapshots log:6 -o net.safetensors && "
    "lcstool prune-stats net*.safetensors --plots figures",
    columns="as conv, as local: how many weights a convolution or a local layer in a dense layer's place would have. "
    "dead: units whose weights are all zero. duplicate: units with the weights of an earlier one. silent: units that "
    "nothing after them uses. fan-in, connections an input: least / median / most. Locality is measured on each unit's "
    "squared weights as an image, and again with its pixels shuffled (null): rms radius in pixels; share of the best "
    "window; number of pixels that matter; adjacent inputs of one unit, over the number expected by chance, and in "
    "standard deviations z; largest cosine with a shifted copy of another unit. delta: norm of the off-local weights "
    "(which no convolution reaches) over the norm of all.",
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
    from lcstool.cli.prune_stats_report import show
    from lcstool.stages.prune_stats.stage import prune_stats as run_stage

    derived = out is None and config.writes_model()
    if derived:
        out = _derived_name(config)
    outputs = Outputs({"-o": out}, as_json=as_json, reads=config.files, plots=plots, derived=derived)
    outputs.publish(run_stage(config, out), show, _draw)


def _derived_name(config: PruneStatsConfig) -> str:
    if config.files == ("-",):
        raise UsageError(
            "a network from standard input has no name to derive one from", hint="name it with -o"
        )
    return derived_name(Path(stem_of(config.files[0])).name + ".pruned")


def _draw(result: "PruneStatsResult", folder: Path) -> list[Path]:
    from lcstool.plots.sparsity import draw

    return draw(result, folder)
