"""The report of `lcstool prune-stats` for a person."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lcstool.cli.console import new_table, percent, plain

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.locality import Locality
    from lcstool.stages.prune_stats.result import FileStats, PruneStatsResult

_ACCURACIES = {
    "whole": "",
    "without_off_local": "without off-local weights ",
    "without_local": "without local weights ",
}


def show(result: "PruneStatsResult", out: "Console") -> None:
    """Every table that has something to say."""
    if result.written is not None:
        _show_written(result, out)
    for look in result.files:
        _show_counts(look, out)
        _show_locality(look, out)
        _show_fields(look, out)
        _show_subspace(look, out)
        _show_discovery(look, out)
    if len(result.files) > 1:
        _show_series(result.files, out)


def _show_written(result: "PruneStatsResult", out: "Console") -> None:
    assert result.written is not None
    out.print(f"pruned {result.written.num_pruned:,} weights")
    compaction, agreement = result.written.compaction, result.written.agreement
    if compaction is not None and agreement is not None:
        table = new_table("Compaction", "layer", "units", "kept", "dead", "silent", "remark")
        for name, layer in compaction.layers.items():
            remarks = [f"{count} kept: {reason}" for reason, count in layer.kept.items()]
            table.add_row(
                plain(name), f"{layer.num_before:,}", f"{layer.num_kept:,}", f"{layer.num_dead:,}",
                f"{layer.num_silent:,}", plain(layer.fixed or "; ".join(remarks)),
            )  # fmt: skip
        out.print(table)
        out.print(f"parameters {compaction.num_parameters_before:,} -> {compaction.num_parameters_after:,}")
        out.print(
            f"same function on {agreement.num_images:,} {agreement.images} images: logits differ by at most "
            f"{agreement.max_difference:.2g} (spread {agreement.logit_spread:.3g}), "
            f"{agreement.changed_predictions} predictions changed"
        )


def _show_counts(look: "FileStats", out: "Console") -> None:
    epoch = "" if look.epoch is None else f", epoch {look.epoch}"
    if look.header is not None and look.header.state is not None:
        epoch += ", an unfinished run"
    table = new_table(
        f"{plain(look.where)}{epoch}",
        "layer", "kind", "weights", "non-zeros", "density", "as conv", "as local", "units", "dead", "duplicate",
        "silent", "fan-in", "connections an input",
    )  # fmt: skip
    for layer in look.layers:
        c = layer.counts
        table.add_row(
            plain(c.layer), c.kind, f"{c.num_weights:,}", f"{c.nonzeros:,}", percent(c.density),
            _count(c.num_conv), _count(c.num_local), f"{c.num_units:,}", f"{c.num_dead:,}", f"{c.num_duplicate:,}",
            _count(layer.num_silent), _spread(layer.to_json()["fan_in"]),
            _spread(layer.to_json()["connections_per_input"]),
        )  # fmt: skip
    if len(look.layers) > 1:
        table.add_row("all", "", f"{look.num_weights:,}", f"{look.nonzeros:,}", percent(look.density))
    out.print(table)
    _show_rest(look, out)
    for note in look.notes:
        out.print(f"[yellow]left out: {plain(note)}[/]")
    for name, value in (look.accuracy or {}).items():
        out.print(f"test accuracy {_ACCURACIES[name]}{percent(value)}")
    if look.sparse_layers:
        out.print(f"[dim]computed with sparse products in {plain(', '.join(look.sparse_layers))}[/]")


def _show_rest(look: "FileStats", out: "Console") -> None:
    """The tensors of the file that belong to no layer: how many are of norms, and what the others are."""
    norms, other = look.roles.norms, look.roles.other
    if norms:
        count = sum(map(len, norms.values()))
        out.print(f"[dim]norms: {len(norms)}, of {count} tensors; neither counted nor pruned[/]")
    names = [f"{plain(name)} ({kind})" for name, kind in other.items() if kind != "of an unfinished run"]
    if names:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        out.print(f"other tensors, neither counted nor pruned: {', '.join(names[:8])}{more}")


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _spread(values: dict[str, float]) -> str:
    """Smallest, median and largest."""
    return " / ".join(f"{values[name]:,.0f}" for name in ("min", "median", "max"))


def _show_locality(look: "FileStats", out: "Console") -> None:
    layers = [layer for layer in look.layers if layer.grid is not None]
    if not layers:
        return
    table = new_table(
        "Locality, value / null",
        "layer", "non-zeros", "units", "rms radius", "best window", "pixels that matter", "neighbours, same channel",
        "other channel", "shift match",
    )  # fmt: skip
    for layer in layers:
        grid = layer.grid
        assert grid is not None
        pairs = grid.to_json()["neighbour_pairs"]
        first = True
        for scores in (grid.min10, grid.min20):
            extra: Iterable[str] = ("", "", "")
            if first:
                match = grid.shifts
                extra = (
                    _pairs(pairs, "same_channel"),
                    _pairs(pairs, "different_channels"),
                    f"{match.value:.3f} / {match.null:.3f} +- {match.null_sd:.3f}" if match else "-",
                )
            table.add_row(
                plain(layer.counts.layer) if first else "", f">= {scores.min_nonzeros}",
                percent(scores.units_frac, 1), *_scores(scores), *extra,
            )  # fmt: skip
            first = False
    out.print(table)
    sampled = [
        f"{layer.counts.layer} ({layer.grid.num_units:,} of {layer.counts.num_units:,})"
        for layer in layers
        if layer.grid is not None and layer.grid.num_units < layer.counts.num_units
    ]
    if sampled:
        out.print(
            f"[dim]measured on evenly spaced units of {plain(', '.join(sampled))}; --units 0 takes all[/]"
        )


def _scores(scores: "Locality") -> tuple[str, str, str]:
    value, null = scores.value, scores.null
    if value is None or null is None:
        return "-", "-", "-"
    return (
        f"{value.rms_radius_pixels:.2f} / {null.rms_radius_pixels:.2f}",
        f"{value.window_energy_frac:.3f} / {null.window_energy_frac:.3f}",
        f"{value.participation_pixels:.1f}",  # its null has the same pixels elsewhere
    )


def _pairs(pairs: dict[str, Any], which: str) -> str:
    ratio, z = pairs[f"{which}_over_null"], pairs[f"{which}_z"]
    return "-" if ratio is None or z is None else f"{ratio:.2f}x, z {z:.0f}"


def _show_fields(look: "FileStats", out: "Console") -> None:
    if not any(layer.field for layer in look.layers):
        return
    table = new_table(
        "Receptive fields through the masks", "layer", "units", "share of the image", "rms radius / full"
    )
    for layer in look.layers:
        field = layer.field
        if field is not None:
            table.add_row(
                plain(layer.counts.layer), percent(field.units_frac, 1), percent(field.pixels_frac, 1),
                f"{field.rms_radius_pixels:.2f} / {field.full_radius_pixels:.2f}",
            )  # fmt: skip
    out.print(table)


def _show_subspace(look: "FileStats", out: "Console") -> None:
    if look.subspace is None:
        return
    table = new_table(
        f"Beside the convolutional subspace: delta {look.subspace['off_local_frac']:.4f}",
        "layer", "conv", "unshared local", "off-local", "RMS off-local / local",
    )  # fmt: skip
    for name, split in (*look.subspace["layers"].items(), ("all", look.subspace["in_all"])):
        parts = [split[part] for part in ("conv", "unshared_local", "off_local")]
        total = sum(parts)
        ratio = split["rms_off_over_local"]
        table.add_row(
            plain(name), *(percent(part / total if total else 0.0) for part in parts),
            "-" if ratio is None else f"{ratio:.4f}",
        )  # fmt: skip
    out.print(table)


def _show_discovery(look: "FileStats", out: "Console") -> None:
    found = look.discovery
    if found is None:
        return
    fits = ", ".join(f"{name.replace('_', ' ')} {error:.3f}" for name, error in found.procrustes.items())
    if not found.is_two_dimensional:
        verdict = "no two dimensions found"
    elif found.best == "grid":
        verdict = "height and width found"
    else:
        verdict = f"two dimensions found, those of the image {found.best.replace('_', ' ')}"
    out.print(
        f"arrangement from shared units: {verdict}; Procrustes error {fits} (chance, the best of these: "
        f"{found.chance_mean:.3f} +- {found.chance_sd:.3f}); {percent(found.neighbour_frac, 0)} of nearest pixels are "
        f"neighbours (chance {percent(found.chance_neighbour_frac, 0)}); {found.num_components} eigenvectors explain "
        f"{percent(found.readout_r2[0], 0)} of height, {percent(found.readout_r2[1], 0)} of width"
        + ("" if found.best == "grid" else f", {percent(min(found.best_r2), 0)} or more of the folded axes")
        + f" (chance {percent(found.chance_r2, 0)}, at most {percent(found.chance_r2_max, 0)})"
    )


def _show_series(files: tuple["FileStats", ...], out: "Console") -> None:
    names = list(dict.fromkeys(layer.counts.layer for look in files for layer in look.layers))
    extra = {
        "delta": [_delta(look) for look in files],
        "RMS off / local": [_rms_ratio(look) for look in files],
        "test": [percent(look.accuracy["whole"]) if look.accuracy else "-" for look in files],
        "without off-local": [percent((look.accuracy or {}).get("without_off_local")) for look in files],
        "without local": [percent((look.accuracy or {}).get("without_local")) for look in files],
    }
    extra = {title: cells for title, cells in extra.items() if set(cells) != {"-"}}
    table = new_table(
        "Series", "file", "epoch", *(f"{plain(name)} density" for name in names), "radius / null", *extra
    )
    for index, look in enumerate(files):
        density = {layer.counts.layer: layer.counts.density for layer in look.layers}
        ratios = [layer.grid.min10.radius_ratio for layer in look.layers if layer.grid is not None]
        table.add_row(
            plain(look.where), "-" if look.epoch is None else str(look.epoch),
            *(percent(density.get(name)) for name in names),
            f"{ratios[0]:.3f}" if ratios and ratios[0] is not None else "-",
            *(cells[index] for cells in extra.values()),
        )  # fmt: skip
    out.print(table)


def _delta(look: "FileStats") -> str:
    return "-" if look.subspace is None else f"{look.subspace['off_local_frac']:.4f}"


def _rms_ratio(look: "FileStats") -> str:
    ratio = look.subspace["in_all"]["rms_off_over_local"] if look.subspace else None
    return "-" if ratio is None else f"{ratio:.4f}"
