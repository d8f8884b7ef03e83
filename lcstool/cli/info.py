"""`lcstool info`: what a file holds; `--archs`: how the architectures scale."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.app import app
from lcstool.cli.console import new_table, percent, plain, stdout
from lcstool.cli.options import closing
from lcstool.cli.outputs import print_json
from lcstool.errors import UsageError

if TYPE_CHECKING:
    from lcstool.stages.info import FileInfo

EPILOG = closing(
    "lcstool info net.safetensors --json | jq .history", "lcstool info --archs --alpha 15 --alpha 150"
)


@app.command(epilog=EPILOG)
def info(
    file: Annotated[str | None, typer.Argument(help="A safetensors file, '-' for stdin.", show_default=False)] = None,
    archs: Annotated[
        bool, typer.Option("--archs", help="Print the parameter counts of all architectures.", metavar=" ")
    ] = False,
    alpha: Annotated[
        list[int] | None,
        typer.Option("--alpha", min=1, help="With --archs: base channels \\[default: the papers']; may be repeated.",
                     show_default=False),
    ] = None,
    image_size: Annotated[
        list[int] | None,
        typer.Option("--image-size", min=1, help="With --archs: sides \\[default: 16, 32, 64]; may be repeated.",
                     show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.", metavar=" ")] = False,
) -> None:  # fmt: skip
    """Show what a file holds: kind, architecture, history, tensors and their densities."""
    if archs == (file is not None):
        raise UsageError("give a file to describe, or --archs", hint="lcstool info net.safetensors")
    if archs:
        _show_archs(alpha, image_size or [16, 32, 64], as_json)
        return
    assert file is not None
    from lcstool.checkpoint import open_checkpoint
    from lcstool.stages.info import describe

    found = describe(open_checkpoint(file))
    if as_json:
        print_json(found.to_json())
    else:
        _show_file(found)


def _show_archs(alphas: list[int] | None, images: list[int], as_json: bool) -> None:
    from lcstool.stages.info import scaling_table

    rows = scaling_table(alphas, images)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    table = new_table(
        "Parameters (3 channels, 10 classes, batch norm not counted)",
        "architecture", "alpha", "image", "parameters", "FC-equivalent",
    )  # fmt: skip
    for row in rows:
        fc = "-" if row.fc_equivalent is None else f"{row.fc_equivalent:,}"
        table.add_row(row.arch, str(row.alpha), f"{row.image}x{row.image}", f"{row.num_parameters:,}", fc)
    stdout().print(table)
    stdout().print(
        "[dim]d-local: Neyshabur 2020, Table 3, prints 3.42 M at alpha 15; its terms, summed rightly, give this.[/]"
    )


def _show_file(found: "FileInfo") -> None:
    from lcstool.stages.info import unfinished

    header, out = found.header, stdout()
    out.print(f"[bold]{plain(found.where)}[/]")
    if header is None:
        out.print("kind     not written by lcstool (a plain safetensors file)")
    else:
        out.print(f"kind     {plain(header.kind)}")
        if header.model:
            out.print(f"model    {plain(header.model.get('arch'))} ({_pairs(header.model.get('args'))})")
        if header.model and header.model.get("embedding"):
            out.print(f"embedded {_pairs(header.model['embedding'])}")
        if header.input:
            out.print(
                f"input    {_pairs({name: v for name, v in header.input.items() if name != 'classes'})}"
            )
            classes = header.input.get("classes")
            out.print(
                f"classes  {plain(', '.join(map(str, classes)) if isinstance(classes, list) else classes)}"
            )
        position = unfinished(header)
        if position:
            where = f"epoch {plain(position['epoch'])}, step {plain(position['step'])}"
            out.print(f"[yellow]unfinished: {where}; go on with --resume[/]")
        for number, entry in enumerate(header.history, start=1):
            out.print(f"stage {number}  {plain(_one_line(entry))}")
    out.print(f"content  {found.digest}")
    table = new_table("", "tensor", "dtype", "shape", "elements", "non-zeros", "density")
    for tensor in found.tensors:
        table.add_row(
            plain(tensor.name), tensor.dtype, " x ".join(map(str, tensor.shape)) or "scalar",
            f"{tensor.num_elements:,}", f"{tensor.nonzeros:,}", percent(tensor.density),
        )  # fmt: skip
    out.print(table)


def _pairs(value: object) -> str:
    """A mapping's items in one line; anything else as it is."""
    if isinstance(value, dict):
        return plain(", ".join(f"{name} {item}" for name, item in value.items() if item is not None))
    return plain(value)


def _one_line(entry: dict[str, object]) -> str:
    """A history entry in one line: the stage and its accuracies."""
    metrics, config = entry.get("metrics"), entry.get("config")
    parts = [str(entry["stage"])]
    if isinstance(config, dict):
        wanted = ("dataset", "optim", "epochs", "to", "storage")
        parts += [f"{name} {config[name]}" for name in wanted if config.get(name) is not None]
    done = entry.get("epochs_done")
    if isinstance(config, dict) and done is not None and done != config.get("epochs"):
        parts.append(f"after {done} of them")
    parts.append(f"seed {entry.get('seed')}")
    if isinstance(metrics, dict):
        scores = {name: value for name, value in metrics.items() if name.endswith("accuracy_frac")}
        parts += [
            f"{name.removesuffix('_frac')} {percent(value) if isinstance(value, float) else value}"
            for name, value in scores.items()
        ]
    return ", ".join(parts)
