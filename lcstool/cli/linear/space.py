"""`lcstool linear space`: what an architecture can represent."""

from typing import TYPE_CHECKING

from lcstool.cli.linear.group import linear
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.stages.linear.space.config import SpaceConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.lcn import LinearConvArchitecture
    from lcstool.stages.linear.space.result import SpaceResult


@linear.command(epilog=closing("lcstool linear space --kernels 3,2,2 --strides 1,1,1"))
@configured(SpaceConfig)
def space(config: SpaceConfig, as_json: AsJson = False) -> None:
    """Show which filters an architecture can represent: all or not, the dimension of this set, and its boundary."""
    from lcstool.stages.linear.space.stage import space as run_stage

    Outputs(as_json=as_json).publish(run_stage(config), _show)


def _show(result: "SpaceResult", out: "Console") -> None:
    own, space = result.space.architecture, result.space
    out.print(f"end-to-end filter: {own.end_size} entries, stride {own.end_stride}")
    among = "full-dimensional" if own.is_full_dimensional else f"among {own.end_size} dimensions"
    out.print(f"function space: dimension {own.dimension}, {among}, {_filling(own)}")
    out.print(f"boundary: {space.boundary}")
    if space.patterns:
        out.print(f"root patterns there (real|complex pairs): {', '.join(space.patterns)}")


def _filling(own: "LinearConvArchitecture") -> str:
    if own.is_filling:
        return "filling: every filter is a member"
    if own.num_real_roots_required is not None:
        return f"not filling: members have at least {own.num_real_roots_required} real roots, counted with multiplicity"
    return "not filling: almost no filter is a member"
