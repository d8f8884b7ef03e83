"""`lcstool linear certify`: did the runs of a file end where theory says that they can end?"""

from typing import TYPE_CHECKING

from lcstool.cli.console import new_table, plain
from lcstool.cli.linear.group import linear
from lcstool.cli.linear.words import numbers, yes
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.errors import CheckFailedError
from lcstool.stages.linear.certify.config import CertifyConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.linear.certify.result import CertifyResult

EPILOG = closing("lcstool linear train --kernels 2,2 --target 1,0.3,1 -o - | lcstool linear certify -")


@linear.command(epilog=EPILOG)
@configured(CertifyConfig)
def certify(config: CertifyConfig, as_json: AsJson = False) -> None:
    """Predict from architecture and target where training can end, and check whether the runs of a file ended there.

    If one did not, the exit code is 4. A run whose gradient is not yet zero counts as unfinished and is not judged.
    """
    from lcstool.stages.linear.certify.stage import certify as run_stage

    result = run_stage(config)
    Outputs(as_json=as_json).publish(result, _show)
    if not result.certificate.ends:
        raise CheckFailedError("no run has ended", hint="train longer: --steps")
    if not result.certificate.holds:
        raise CheckFailedError("runs ended where the theory excludes it")


def _show(result: "CertifyResult", out: "Console") -> None:
    prediction, found = result.prediction, result.certificate
    for sentence in prediction.certain:
        out.print(f"certain: {sentence}")
    for sentence in prediction.typical:
        out.print(f"typical: {sentence}")
    table = new_table(
        f"{len(found.verdicts):,} runs of {plain(result.file)}", "end", "filter", "roots", "loss above the floor",
        "on the boundary", "runs", "as predicted", "typical",
    )  # fmt: skip
    for end in found.ends[:20]:
        table.add_row(
            end.verdict, numbers(end.filter_K.tolist()), end.pattern.label if end.pattern else "-",
            f"{end.excess:.4g}", yes(end.on_boundary), f"{end.num_runs:,}", yes(end.agrees), yes(end.is_typical),
        )  # fmt: skip
    out.print(table)
    undecided = len(found.verdicts) - found.num_decided
    out.print(
        f"{'the runs agree with the prediction' if found.holds else 'the runs do not agree with the prediction'}"
        + (f"; {undecided:,} have not ended" if undecided else "")
    )
