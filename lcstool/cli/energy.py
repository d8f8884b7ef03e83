"""`lcstool energy`: energy profiles of first layers, how similar they are, and the theory that predicts them."""

from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.app import app
from lcstool.cli.console import new_table, percent, plain, stderr
from lcstool.cli.options import AsJson, Plots, closing, configured
from lcstool.cli.outputs import Outputs, dataset_file
from lcstool.stages.energy.config import EnergyConfig

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import Console

    from lcstool.energy import Band
    from lcstool.stages.energy.result import EnergyResult

EPILOG = closing(
    "lcstool train --arch vgg11 --optim sgd -o vgg.safetensors && "
    "lcstool train --arch resnet18 --optim sgd -o resnet.safetensors && "
    "lcstool energy vgg.safetensors resnet.safetensors --plots figures",
    columns="r: Pearson correlation of two energy profiles. with random init: with filters drawn as for a new "
    "network. with own init: with this network's own filters before training. by chance: between two unrelated sets "
    "of as many filters. 95 %: the interval in which r lies in 95 % of cases.",
)


@app.command(epilog=EPILOG)
@configured(EnergyConfig)
def energy(
    config: EnergyConfig,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="File for the profiles, which this command can read again; '-' for stdout.",
                     rich_help_panel="Output", show_default=False),
    ] = None,
    save_basis: Annotated[
        str | None,
        typer.Option("--save-basis", help="Write the basis to this file, for --basis.", rich_help_panel="Output",
                     show_default=False),
    ] = None,
    plots: Plots = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure how strongly first-layer filters respond to each principal component of image patches.

    The result, one number for each component, is the energy profile of the layer. Files of any program
    can be read, with kernels of any size. Each profile is correlated with those of the other files, of random filters,
    and of its own filters before training; the correlations that arise by chance are given as well. --theory predicts
    the profile that a linear CNN would have on the same images, without training one.
    """
    from lcstool.stages.energy.stage import energy as run_stage

    outputs = Outputs(
        {"-o": out, "--save-basis": save_basis},
        as_json=as_json,
        reads=[*config.files, config.basis, *dataset_file(config.dataset)],
        plots=plots,
    )
    result = run_stage(config, out, save_basis)
    for warning in (*result.warnings, *(result.theory.warnings if result.theory else ())):
        stderr().print(f"[yellow]warning:[/] {plain(warning)}")
    outputs.publish(result, _show, _draw)


def _draw(result: "EnergyResult", folder: "Path") -> "Iterable[Path]":
    from lcstool.plots.energy import draw

    return draw(result, folder)


def _show(result: "EnergyResult", out: "Console") -> None:
    basis = result.basis
    if basis is not None:
        rows, columns = basis.kernel_size
        total = basis.eigenvalues_D.sum().item()
        share = percent(basis.eigenvalues_D[0].item() / total if total else None, 1)
        out.print(
            f"basis of {plain(basis.images)}: {basis.num_components} components of {basis.moments.num_patches:,} "
            f"{rows}x{columns} patches, {'raw pixels in [0, 1]' if basis.is_raw else 'standardised pixels'}; "
            f"the first holds {share} of the variance; {basis.digest[:19]}..."
        )
    elif result.banks:
        out.print(f"basis: {plain(result.banks[0].profile.basis[:19])}...")
    if result.banks:
        _show_banks(result, out)
    if len(result.banks) > 1:
        _show_correlation(result, out)
    _show_labels(result, out)
    _show_theory(result, out)


def _names(result: "EnergyResult") -> list[str]:
    """The files, numbered where there are several."""
    names = [plain(bank.where) for bank in result.banks]
    return names if len(names) == 1 else [f"{index} {name}" for index, name in enumerate(names, 1)]


def _show_banks(result: "EnergyResult", out: "Console") -> None:
    table = new_table(
        "Profiles", "file", "layer", "kind", "filters", "r with random init (95 %)", "r with own init",
        "r by chance (95 %)",
    )  # fmt: skip
    for name, bank in zip(_names(result), result.banks, strict=True):
        size = bank.profile.num_filters
        table.add_row(
            name, plain(bank.layer), bank.kind,
            f"{size:,}" if size == bank.num_units else f"{size:,} of {bank.num_units:,}",
            _band(bank.random), _r(bank.initial_r), _band(result.chance[bank.chance, bank.chance]),
        )  # fmt: skip
    out.print(table)


def _band(band: "Band | None") -> str:
    return "-" if band is None else f"{band.mean:.2f} ({band.low:.2f} to {band.high:.2f})"


def _r(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _r_band(value: float | None, band: "Band | None") -> str:
    """r and its interval, with the same number of digits."""
    return _r(value) if band is None else f"{_r(value)} ({band.low:.3f} to {band.high:.3f})"


def _show_correlation(result: "EnergyResult", out: "Console") -> None:
    count = len(result.banks)
    table = new_table("Pearson r between profiles", "", *(str(index + 1) for index in range(count)))
    for name, row in zip(_names(result), result.correlations(), strict=True):
        table.add_row(name, *map(_r, row))
    out.print(table)
    bands = [
        f"{first} with {second}: {band.low:.2f} to {band.high:.2f}"
        for (first, second), band in result.chance.items()
    ]
    out.print(f"r by chance (95 %), by numbers of filters: {'; '.join(bands)}")


def _show_labels(result: "EnergyResult", out: "Console") -> None:
    if result.labels_LD is None:
        return
    shown = min(10, result.labels_LD.shape[1])
    table = new_table(
        f"Correlation of class and mean projection (noise {result.num_images**-0.5:.2g}; the first {shown} of "
        f"{result.labels_LD.shape[1]} components)",
        "class",
        *(f"p{index}" for index in range(shown)),
    )
    for name, row in zip(result.class_names, result.labels_LD.tolist(), strict=True):
        table.add_row(plain(name), *(f"{r:.3f}" for r in row[:shown]))
    out.print(table)


def _show_theory(result: "EnergyResult", out: "Console") -> None:
    theory = result.theory
    if theory is None:
        return
    if theory.energy_D is not None and not theory.comparisons:
        numbers = " ".join(f"{value:.3g}" for value in theory.energy_D.tolist())
        out.print(f"predicted profile ({theory.name}): {numbers}")
        return
    table = new_table(
        f"Linear CNN, {theory.name}: {theory.width} filters, initial sd {theory.sigma:.3g}",
        "file", "r (95 %)", "best steps (95 %)", "r there (95 %)",
    )  # fmt: skip
    for name, comparison in zip(_names(result), theory.comparisons, strict=True):
        fit = comparison.fit
        steps = "-" if fit is None else f"{fit.steps:.4g}"
        if fit is not None and fit.steps_low is not None and fit.steps_high is not None:
            steps += f" ({fit.steps_low:.3g} to {fit.steps_high:.3g})"
        if fit is not None and fit.at_edge:
            steps += ", at the range's end"
        there = "-" if fit is None else _r_band(fit.pearson, fit.band)
        table.add_row(name, _r_band(comparison.pearson, comparison.band), steps, there)
    out.print(table)
