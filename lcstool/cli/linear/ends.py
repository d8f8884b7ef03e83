"""`lcstool linear ends`: where gradient descent ends, for random targets of every kind."""

from typing import TYPE_CHECKING

from lcstool.cli.console import new_table, percent
from lcstool.cli.linear.group import linear
from lcstool.cli.linear.words import yes
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.stages.linear.ends.config import EndsConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.linear.ends.result import EndsResult


@linear.command(epilog=closing("lcstool linear ends --kernels 2,2,2 --targets 10 --starts 100"))
@configured(EndsConfig)
def ends(config: EndsConfig, as_json: AsJson = False) -> None:
    """Count where gradient descent ends, for random target filters with each possible number of real roots."""
    from lcstool.stages.linear.ends.stage import ends as run_stage

    Outputs(as_json=as_json).publish(run_stage(config), _show)


def _show(result: "EndsResult", out: "Console") -> None:
    required = result.architecture.num_real_roots_required
    table = new_table(
        "Ends of gradient descent" + (f"; members have at least {required} real roots" if required else ""),
        "real roots of the target", "member", "runs", "zero loss", "shared roots, by pattern", "other", "unfinished",
        "lowest found", "as predicted",
    )  # fmt: skip
    for row in result.rows:
        shared = ", ".join(
            f"{pattern}: {percent(count / row.num_runs, 1)}" for pattern, count in row.shared.items()
        )
        member = "-" if row.is_member is None else yes(row.is_member)
        table.add_row(
            str(row.num_real), member, f"{row.num_runs:,}", percent(row.zero_loss / row.num_runs, 1), shared or "-",
            f"{row.other:,}", f"{row.unfinished + row.diverged:,}", percent(row.lowest / row.num_runs, 1),
            yes(row.agrees),
        )  # fmt: skip
    out.print(table)
