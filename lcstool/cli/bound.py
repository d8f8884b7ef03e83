"""`lcstool bound`: in how few bits a network can be written, and the generalization bounds that follow."""

from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.app import app
from lcstool.cli.console import new_table, percent, plain, stderr
from lcstool.cli.options import AsJson, Plots, closing, configured
from lcstool.cli.outputs import Outputs, dataset_file
from lcstool.errors import CheckFailedError, UsageError
from lcstool.stages.bound.config import BoundConfig

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import Console

    from lcstool.stages.bound.result import BoundResult

EPILOG = closing(
    "lcstool train -o net.safetensors && lcstool bound net.safetensors --search --plots figures",
    "lcstool bound net.safetensors --bits 4 --code entropy --emit net.code.safetensors",
    columns="formula: length of the code in bits, by its formula. measured: length of the bit string, which was made "
    "and decoded again. choice: bits that say which code was used and, after a search, which pruning and rounding. as "
    "printed, in nats, inverse kl: three forms of the bound: as the paper prints it; with the length in nats; by the "
    "inverse relative entropy, which never exceeds 100 %. vacuous: not below the error of guessing. non-zeros that "
    "would not be vacuous: the largest number of non-zero weights for which the bound would be below the error of "
    "guessing.",
)


@app.command(epilog=EPILOG)
@configured(BoundConfig)
def bound(
    config: BoundConfig,
    emit: Annotated[
        str | None,
        typer.Option("--emit", help="Write the shortest bit string to this file; '-' for stdout.",
                     rich_help_panel="Output", show_default=False),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Turn the bit string in the file into a network, for -o.", metavar=" ",
                           rich_help_panel="Output"),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="Write the network that the bits describe: folded, pruned, rounded.",
                     rich_help_panel="Output", show_default=False),
    ] = None,
    require_nonvacuous: Annotated[
        bool, typer.Option("--require-nonvacuous", help="Exit with code 4 if the bound is vacuous.",
                           metavar=" ", rich_help_panel="Output"),
    ] = False,
    plots: Plots = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write a network in as few bits as possible, and bound its error on new images by the number of bits.

    If a network has at most --most non-zero weights, the bit strings are really made, decoded and compared with it. The
    bound starts from the training error, measured without augmentation, and grows with the number of bits. A bound that
    is not below the error of guessing says nothing: it is vacuous.
    """
    from lcstool.stages.bound.stage import bound as run_stage

    if decode and (out is None or emit is not None or as_json or require_nonvacuous or plots is not None):
        raise UsageError("--decode FILE gives a network back; name it with -o, and nothing else")
    if plots is not None and not config.search:
        raise UsageError("--plots draws the candidates of a search", hint="add --search")
    reads: list[str | Path | None] = [config.file, *dataset_file(config.dataset)]
    outputs = Outputs({"--emit": emit, "-o": out}, as_json=as_json, reads=reads, plots=plots)
    if decode:
        from lcstool.stages.bound.file import decode_file

        decode_file(config.file, str(out))
        return
    progress = None if as_json or not stderr().is_terminal else _progress
    result = run_stage(config, emit, out, progress)
    outputs.publish(result, _show, _draw)
    if require_nonvacuous and result.is_vacuous:
        raise CheckFailedError(
            f"the best bound, {percent(result.certificate)}, is vacuous: guessing has an error of "
            f"{percent(result.chance)}"
        )


def _draw(result: "BoundResult", folder: "Path") -> "Iterable[Path]":
    from lcstool.plots.bound import draw

    return draw(result, folder)


def _progress(done: int, total: int) -> None:
    stderr().print(f"candidate {done}/{total}", end="\r" if done < total else "\n")


def _show(result: "BoundResult", out: "Console") -> None:
    size, evidence = result.size, result.evidence
    test = "" if result.test_error is None else f", test error {percent(result.test_error)}"
    out.print(
        f"{plain(result.where)}: {size.num_parameters:,} parameters, {size.num_nonzeros:,} non-zero, "
        f"{size.num_distinct:,} different values of {size.value_bits} bits\n"
        f"{evidence.num_samples:,} training images, training error {percent(evidence.train_error)}{test}, "
        f"guessing {percent(result.chance)}, delta {evidence.delta:g}"
    )
    for note in result.notes:
        out.print(note)
    if result.search is not None:
        _show_search(result, out)
    terms = new_table(
        "What each code spends, in bits", "code", *_term_names(result), "formula", "measured", "choice"
    )
    for code in result.codes:
        spent = [f"{code.terms[name]:,.0f}" if name in code.terms else "-" for name in _term_names(result)]
        measured = "-" if code.measured_bits is None else f"{code.measured_bits:,}"
        terms.add_row(code.code, *spent, f"{code.formula_bits:,.0f}", measured, f"{code.choice_bits:,}")
    out.print(terms)
    table = new_table(
        "Bounds on the true error", "description", "as printed", "in nats", "inverse kl", "",
        "non-zeros that would not be vacuous",
    )  # fmt: skip
    rows: list[tuple[str, dict[str, float], int | None]] = [("all values (Theorem 1)", result.theorem1, None)]
    rows += [(code.code, code.bounds(evidence), code.affordable_nonzeros) for code in result.codes]
    for name, bounds, affordable in rows:
        verdict = "vacuous" if bounds["kl"] >= result.chance else "not vacuous"
        table.add_row(
            name, *(_bound(bounds[form]) for form in ("printed", "nats", "kl")), verdict,
            "-" if affordable is None else "none" if affordable < 0 else f"{affordable:,}",
        )  # fmt: skip
    out.print(table)
    if result.is_vacuous:
        out.print(f"no certificate: every bound is at or above guessing, {percent(result.chance)}")
    else:
        out.print(
            f"certificate: error at most {percent(result.certificate)} by the code {result.best.code}, with confidence "
            f"{1 - evidence.delta:g}"
        )


def _bound(frac: float) -> str:
    return percent(frac) if frac <= 1 else "> 100 %"


def _term_names(result: "BoundResult") -> list[str]:
    names: dict[str, None] = {}
    for code in result.codes:
        names |= dict.fromkeys(code.terms)
    return list(names)


def _show_search(result: "BoundResult", out: "Console") -> None:
    search = result.search
    assert search is not None
    table = new_table(
        f"Best trade-offs of {len(search.candidates)} candidates (* the smallest bound)", "pruned", "bits",
        "grid", "code", "length", "train error", "test error", "bound",
    )  # fmt: skip
    for index in search.pareto():
        found = search.candidates[index]
        mark = " *" if index == search.best else ""
        table.add_row(
            percent(found.pruned_frac, 1), str(found.value_bits), found.quantizer, found.code,
            f"{found.code_bits:,}", percent(found.train_error_frac), percent(found.test_error_frac),
            f"{_bound(found.bound_frac)}{mark}",
        )  # fmt: skip
    out.print(table)
