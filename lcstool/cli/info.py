"""`lcstool info`: what is in a file or a data set (`--dataset`), and the sizes of all architectures (`--archs`)."""

from typing import TYPE_CHECKING

from lcstool.cli.app import app
from lcstool.cli.console import new_table, percent, plain
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.stages.info.config import InfoConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.info.result import ArchitectureSizes, DatasetInfo, FileInfo, TensorSummary

EPILOG = closing(
    "lcstool info net.safetensors --json | jq .history",
    "lcstool info --dataset leaves",
    "lcstool info --archs --alpha 15 --alpha 150",
)


@app.command(epilog=EPILOG)
@configured(InfoConfig)
def info(config: InfoConfig, as_json: AsJson = False) -> None:
    """Show what is in a file or a data set, or how many parameters each architecture has.

    Of a file it shows kind, architecture, history (the stages that led to it) and tensors.
    """
    from lcstool.stages.info.stage import info as run_stage

    show = _show_sizes if config.archs else _show_dataset if config.dataset is not None else _show_file
    Outputs(as_json=as_json).publish(run_stage(config), show)


def _show_sizes(found: "ArchitectureSizes", out: "Console") -> None:
    table = new_table(
        "Parameters (3 channels, 10 classes, batch norm not counted)",
        "architecture", "alpha", "image", "parameters", "FC-equivalent",
    )  # fmt: skip
    for row in found.architectures:
        fc = "-" if row.fc_equivalent is None else f"{row.fc_equivalent:,}"
        table.add_row(
            row.arch, str(row.alpha), f"{row.image_pixels}x{row.image_pixels}", f"{row.num_parameters:,}", fc
        )
    out.print(table)
    out.print(
        "[dim]d-local: Neyshabur 2020, Table 3, prints 3.42 M at alpha 15; its terms, summed rightly, give this.[/]"
    )


def _show_dataset(found: "DatasetInfo", out: "Console") -> None:
    dataset = found.dataset
    channels, height, width = dataset.in_shape
    out.print(f"[bold]{plain(dataset.name)}[/]")
    out.print(f"images   {channels} x {height} x {width} (channels, height, width)")
    out.print(f"content  {dataset.digest}")
    for name, values in (("mean", found.mean), ("std", found.std)):
        out.print(f"{name:<8} {', '.join(f'{value:.4f}' for value in values)} of white, training images")
    out.print(f"cache    {plain(dataset.entry or 'could not be kept')}")
    table = new_table("", "class", *found.splits)
    counts = {split: found.counts(split) for split in found.splits}
    for label, name in enumerate(dataset.class_names):
        table.add_row(plain(name), *(f"{own[label]:,}" for own in counts.values()))
    table.add_row("all", *(f"{sum(own):,}" for own in counts.values()))
    out.print(table)


def _show_file(found: "FileInfo", out: "Console") -> None:
    header = found.header
    out.print(f"[bold]{plain(found.file)}[/]")
    if header is None:
        out.print("kind     not written by lcstool")
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
        if found.unfinished:
            where = f"epoch {plain(found.unfinished['epoch'])}, step {plain(found.unfinished['step'])}"
            out.print(f"[yellow]unfinished: {where}; go on with --resume[/]")
        for number, entry in enumerate(header.history, start=1):
            out.print(f"stage {number}  {plain(_one_line(entry))}")
    out.print(f"content  {found.digest or 'not all tensors can be read'}")
    table = new_table("", "tensor", "part of", "dtype", "shape", "elements", "non-zeros", "density")
    for tensor in found.tensors:
        table.add_row(
            plain(tensor.name), _part_of(tensor), tensor.dtype, " x ".join(map(str, tensor.shape)) or "scalar",
            f"{tensor.num_elements:,}", "-" if tensor.nonzeros is None else f"{tensor.nonzeros:,}",
            percent(tensor.density),
        )  # fmt: skip
    out.print(table)


def _part_of(tensor: "TensorSummary") -> str:
    """`layer conv1`, `norm bn1`, or in brackets what it is instead."""
    if tensor.role == "other":
        return f"({plain(tensor.part_of)})"
    return "-" if tensor.role is None else f"{tensor.role} {plain(tensor.part_of)}"


def _pairs(value: object) -> str:
    """A mapping's items in one line; anything else as it is."""
    if isinstance(value, dict):
        return plain(", ".join(f"{name} {item}" for name, item in value.items() if item is not None))
    return plain(value)


def _one_line(entry: dict[str, object]) -> str:
    """A history entry in one line: the stage, what it was asked, its seed if it drew anything, and its accuracies."""
    metrics, config = entry.get("metrics"), entry.get("config")
    parts = [str(entry["stage"])]
    if isinstance(config, dict):
        wanted = ("dataset", "optim", "epochs", "to", "storage")
        parts += [f"{name} {config[name]}" for name in wanted if config.get(name) is not None]
    done = entry.get("epochs_done")
    if isinstance(config, dict) and done is not None and done != config.get("epochs"):
        parts.append(f"after {done} of them")
    if entry.get("seed") is not None:
        parts.append(f"seed {entry['seed']}")
    if isinstance(metrics, dict):
        scores = {name: value for name, value in metrics.items() if name.endswith("accuracy_frac")}
        parts += [
            f"{name.removesuffix('_frac')} {percent(value) if isinstance(value, float) else value}"
            for name, value in scores.items()
        ]
    return ", ".join(parts)
