"""`lcstool linear certify | critical | ends`: where training ends, and what theory says of it."""

from typing import Annotated

import typer

from lcstool.cli.console import new_table, percent, plain, stdout
from lcstool.cli.linear import Kernels, Seed, Strides, linear, numbers
from lcstool.cli.options import AsJson, closing
from lcstool.cli.outputs import print_json
from lcstool.errors import CheckFailedError
from lcstool.parsing import parse_architecture, parse_filter


@linear.command(
    epilog=closing("lcstool train --arch lcn --kernels 2,2 --target 1,0.3,1 -o - | lcstool linear certify -")
)
def certify(
    file: Annotated[str, typer.Argument(help="What `train --arch lcn` wrote; '-' for stdin.")],
    as_json: AsJson = False,
) -> None:
    """Predict from architecture and target where runs end, and say whether they did; exit code 4 if they did not.

    A run whose gradient has not vanished counts as unfinished, and decides nothing.
    """
    from lcstool.stages.linear.certify import certify_file

    result = certify_file(file)
    prediction, found = result.prediction, result.certificate
    if as_json:
        print_json(result.to_json())
    else:
        out = stdout()
        for sentence in prediction.certain:
            out.print(f"certain: {sentence}")
        for sentence in prediction.typical:
            out.print(f"typical: {sentence}")
        table = new_table(
            f"{len(found.verdicts):,} runs of {plain(result.where)}", "end", "filter", "roots", "loss above the floor",
            "on the boundary", "runs", "as predicted", "typical",
        )  # fmt: skip
        for end in found.ends[:20]:
            table.add_row(
                end.verdict, numbers(end.filter_K.tolist()), end.pattern.label if end.pattern else "-",
                f"{end.excess:.4g}", _yes(end.on_boundary), f"{end.num_runs:,}", _yes(end.agrees), _yes(end.is_typical),
            )  # fmt: skip
        out.print(table)
        undecided = len(found.verdicts) - found.num_decided
        out.print(
            f"{'the runs agree with the prediction' if found.holds else 'the runs do not agree with the prediction'}"
            + (f"; {undecided:,} have not ended" if undecided else "")
        )
    if not found.holds:
        raise CheckFailedError(
            "no run has ended" if not found.ends else "runs ended where the theory excludes it",
            hint="train longer: --steps" if not found.ends else None,
        )


@linear.command(epilog=closing("lcstool linear critical --kernels 2,2 --target 1,0.3,1"))
def critical(
    kernels: Kernels,
    target: Annotated[str, typer.Option("--target", help="The filter to learn, highest power of x first.")],
    strides: Strides = None,
    starts: Annotated[int, typer.Option("--starts", help="Random starts.", min=1)] = 200,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find critical points of one target's loss from many starts, and tell what they are."""
    from lcstool.stages.linear.critical import critical as run_stage

    result = run_stage(*parse_architecture(kernels, strides), parse_filter(target, "target"), starts, seed)
    if as_json:
        print_json(result.to_json())
        return
    survey = result.survey
    table = new_table(
        f"{len(survey.points)} critical points from {survey.num_searches} searches, {survey.num_lost} lost", "kind",
        "filter", "roots", "loss", "negative", "flat", "from", "on the boundary", "found", "layerings",
    )  # fmt: skip
    for point in survey.points:
        table.add_row(
            point.kind, numbers(point.filter_K.tolist()), point.pattern.label if point.pattern else "zero",
            f"{point.excess:.6g}", str(point.num_negative), str(point.num_flat),
            "function space" if point.is_pure else f"rank {point.rank} of {result.architecture.dimension}",
            _yes(point.on_boundary), f"{point.num_hits:,}", str(point.num_layerings),
        )  # fmt: skip
    stdout().print(table)


@linear.command(epilog=closing("lcstool linear ends --kernels 2,2,2 --targets 10 --starts 100"))
def ends(
    kernels: Kernels,
    strides: Strides = None,
    targets: Annotated[
        int, typer.Option("--targets", help="Random targets of each number of real roots.", min=1)
    ] = 10,
    starts: Annotated[int, typer.Option("--starts", help="Runs of each target.", min=1)] = 100,
    scale: Annotated[
        float, typer.Option("--init-scale", help="Standard deviation of initial entries.")
    ] = 1.0,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate.")] = 0.02,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Tabulate where gradient descent ends, for random targets by their number of real roots."""
    from lcstool.stages.linear.critical import ends as run_stage

    result = run_stage(*parse_architecture(kernels, strides), targets, starts, scale, lr, seed)
    if as_json:
        print_json(result.to_json())
        return
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
        member = "-" if row.is_member is None else _yes(row.is_member)
        table.add_row(
            str(row.num_real), member, f"{row.num_runs:,}", percent(row.zero_loss / row.num_runs, 1), shared or "-",
            f"{row.other:,}", f"{row.unfinished + row.diverged:,}", percent(row.lowest / row.num_runs, 1),
            _yes(row.agrees),
        )  # fmt: skip
    stdout().print(table)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
