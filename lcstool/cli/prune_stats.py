"""`lcstool prune-stats`: how many weights a network has left, how local they are, and pruning."""

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
    columns="as conv, as local: how many weights a convolution or a local layer would have in place of the layer. "
    "dead: units whose weights are all zero. duplicate: units with the same weights as an earlier unit. silent: units "
    "whose output is not used. fan-in: non-zero weights of a unit; connections an input: non-zero weights of an "
    "input; both as least / median / most. Locality is measured on the squared weights of each unit, seen as an "
    "image, and again after its pixels were shuffled (null). rms radius: root-mean-square distance of the weights "
    "from their centre, in pixels. best window: share of the squared weights in the best small window. pixels that "
    "matter: how many pixels have most of the weight. neighbours: number of pairs of adjacent inputs of one unit, "
    "divided by the number expected by chance; z: their difference in standard deviations. shift match: largest "
    "cosine with a shifted filter of another unit. delta: norm of the off-local weights, which connect a unit to "
    "inputs outside its filter in the CNN, divided by the norm of all weights.",
)


@app.command(name="prune-stats", epilog=EPILOG)
@configured(PruneStatsConfig)
def prune_stats(
    config: PruneStatsConfig,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="File for the pruned network, or else for the statistics; '-' for stdout.",
                     rich_help_panel="Output", show_default=False),
    ] = None,
    plots: Plots = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Count a network's weights and units, measure how local its layers are, and prune or compact it.

    Pruning sets weights to zero; compacting removes units without use. Files of any program can be read; those that
    lcstool wrote also say what image a layer sees. Norms, embeddings and tokens are listed, but never pruned. Several
    files, such as the snapshots of a run, are shown as a series over epochs.
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
