"""`lcstool linear`: the geometry of linear convolutional networks, one subcommand a question."""

from typing import TYPE_CHECKING, Annotated

import typer

from lcstool.cli.app import app
from lcstool.cli.console import new_table, plain, show_files, stderr, stdout
from lcstool.cli.options import AsJson, Plots, closing
from lcstool.cli.outputs import print_json
from lcstool.parsing import parse_architecture, parse_filter

if TYPE_CHECKING:
    from lcstool.stages.linear.compose import Composed
    from lcstool.stages.linear.space import SpaceResult

linear = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)
app.add_typer(
    linear, name="linear", help="The geometry of linear convolutional networks: filters as polynomials."
)

Kernels = Annotated[
    str, typer.Option("--kernels", help="Kernel size of each layer, first applied first: 3,2,2.")
]
Strides = Annotated[
    str | None, typer.Option("--strides", help="Stride of each layer [default: all 1].", show_default=False)
]
Noise = Annotated[
    float,
    typer.Option("--noise", help="Relative uncertainty of a filter; roots that coincide within it are joined.",
                 min=0.0),
]  # fmt: skip
Seed = Annotated[int, typer.Option("--seed", help="Seed of random starts.", min=0)]


@linear.command(epilog=closing("lcstool linear space --kernels 3,2,2 --strides 1,1,1"))
def space(kernels: Kernels, strides: Strides = None, as_json: AsJson = False) -> None:
    """What an architecture can represent: size, dimension, whether every filter is a member, and its boundary."""
    from lcstool.stages.linear.space import describe_space

    result = describe_space(*parse_architecture(kernels, strides))
    if as_json:
        print_json(result.to_json())
        return
    own, out = result.architecture, stdout()
    out.print(f"end-to-end filter: {own.end_size} entries, stride {own.end_stride}")
    among = "full-dimensional" if own.is_full_dimensional else f"among {own.end_size} dimensions"
    out.print(f"function space: dimension {own.dimension}, {among}, {_filling(result)}")
    out.print(f"boundary: {result.boundary}")
    if result.patterns:
        out.print(f"root patterns there (real|complex pairs): {', '.join(result.patterns)}")


def _filling(result: "SpaceResult") -> str:
    own = result.architecture
    if own.is_filling:
        return "filling: every filter is a member"
    if own.num_real_roots_required is not None:
        return f"not filling: members have at least {own.num_real_roots_required} real roots, counted with multiplicity"
    return "not filling: almost no filter is a member"


@linear.command(epilog=closing("lcstool linear scan --max-size 7"))
def scan(
    max_size: Annotated[int, typer.Option("--max-size", help="Largest end-to-end size.", min=2, max=12)] = 7,
    as_json: AsJson = False,
) -> None:
    """Tabulate all small architectures; equal function spaces are told."""
    from lcstool.stages.linear.space import scan_spaces

    rows = scan_spaces(max_size)
    if as_json:
        print_json({"architectures": [row.to_json() for row in rows]})
        return
    table = new_table(
        f"{len(rows)} architectures of end-to-end size up to {max_size}", "kernels", "strides", "size", "dimension",
        "full", "filling", "real roots", "same space as",
    )  # fmt: skip
    for row in rows:
        own, other = row.architecture, row.same_space_as
        required = own.num_real_roots_required
        table.add_row(
            _list(own.kernels), _list(own.strides), str(own.end_size), str(own.dimension),
            "yes" if own.is_full_dimensional else "no", "yes" if own.is_filling else "no",
            "-" if required is None else f">= {required}", "" if other is None else _list(other.kernels),
        )  # fmt: skip
    stdout().print(table)


@linear.command(epilog=closing("lcstool linear compose runs.safetensors"))
def compose(
    file: Annotated[str, typer.Argument(help="Linear convolutional networks; '-' for stdin.")],
    noise: Noise = 1e-8,
    radius: Annotated[
        float, typer.Option("--radius", help="Chordal distance up to which layers share a root.", min=0.0)
    ] = 1e-4,
    show: Annotated[int, typer.Option("--show", help="Most networks of the table.", min=1)] = 20,
    plots: Plots = None,
    drawn: Annotated[int, typer.Option("--drawn", help="Most runs of the figures.", min=1)] = 24,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """The end-to-end filters of networks: polynomial, roots, factors that layers share, invariants, rank."""
    from lcstool.checkpoint import open_checkpoint
    from lcstool.stages.linear.compose import compose as run_stage

    checkpoint = open_checkpoint(file)  # once: it may be standard input

    if plots is not None:
        from lcstool.plots.linear import draw
        from lcstool.stages.linear.trajectory import follow

        prepared_folder(plots)
        show_files(draw(follow(checkpoint, drawn), plots))
    result = run_stage(checkpoint, noise, radius)
    if as_json:
        print_json(result.to_json())
        return
    table = new_table(
        f"{plain(result.where)}: kernels {_list(result.architecture.kernels)}, strides "
        f"{_list(result.architecture.strides)}, dimension {result.architecture.dimension}",
        "network", "filter", "real roots", "complex pairs", "pattern", "radius", "rank", "shared roots", "invariants",
    )  # fmt: skip
    for index, network in enumerate(result.networks[:show]):
        table.add_row(str(index), *_network_cells(network))
    stdout().print(table)
    if len(result.networks) > show:
        stdout().print(f"{len(result.networks) - show} more; --show or --json gives them")


def _network_cells(network: "Composed") -> list[str]:
    pattern, shared = network.pattern, network.shared
    return [
        numbers(network.filter_K.tolist()),
        " ".join(_power(f"{root:.4g}", count) for root, count in (pattern.real_roots if pattern else ()))
        or "-",
        " ".join(
            _power(f"{root.real:.4g}±{root.imag:.4g}i", count)
            for root, count in (pattern.complex_pairs if pattern else ())
        )
        or "-",
        pattern.label if pattern else "zero",
        f"{pattern.radius:.2g}" if pattern else "-",
        str(network.rank),
        "all"
        if shared is None
        else ", ".join(f"layer {own.layer + 1}: {own.root:.3g}" for own in shared) or "none",
        numbers(network.invariants.tolist()) or "-",
    ]


@linear.command(
    epilog=closing(
        "lcstool linear factor 1,0.3,1 --kernels 2,2", "lcstool linear factor --kernels 2,2 -- -1,0,1"
    )
)
def factor(
    filter_: Annotated[
        str, typer.Argument(metavar="FILTER", help="Entries of the filter, highest power of x first: 1,0.3,1.")
    ],
    kernels: Kernels,
    strides: Strides = None,
    noise: Noise = 1e-10,
    starts: Annotated[int, typer.Option("--starts", help="Random starts for the nearest member.", min=1)] = 200,
    limit: Annotated[int, typer.Option("--limit", help="Most factorizations to list.", min=1)] = 1000,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", help="The factorizations, or the nearest member, as networks of one file.",
                     show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Is a filter in the function space? All its real factorizations, or the nearest filter that has one."""
    from lcstool.checkpoint import check_writable
    from lcstool.stages.linear.factor import factor as run_stage

    if out is not None:
        check_writable(out)
    sizes, steps = parse_architecture(kernels, strides)
    result = run_stage(parse_filter(filter_), sizes, steps, noise, starts, limit, seed, out)
    if as_json:
        print_json(result.to_json())
        return
    console = stderr() if out == "-" else stdout()
    verdict, near = result.membership, result.nearest
    roots = (
        ""
        if verdict.required is None
        else f"; it has {verdict.num_real} real roots, {verdict.required} are needed"
    )
    console.print(
        f"{'a member' if verdict.is_member else 'no member'}{roots}; root pattern {result.pattern.label}"
    )
    if verdict.margin is not None:
        console.print(f"margin: {verdict.margin:.4g} (chordal distance of roots before the verdict changes)")
    if result.ways:
        table = new_table(
            f"{len(result.ways)} factorizations, up to the scales of the layers",
            *(f"layer {index + 1}" for index in range(len(sizes))), "residual",
        )  # fmt: skip
        for way in result.ways:
            table.add_row(*(numbers(own.tolist()) for own in way.filters), f"{way.residual:.1g}")
        console.print(table)
    if near is not None:
        console.print(
            f"nearest member: {numbers(near.filter_K.tolist())} at distance {near.distance:.6g}, roots "
            f"{near.pattern.label if near.pattern else 'none: it is zero'}; {near.num_agree} of {near.num_starts} "
            f"starts agree" + (f", on {len(near.ties_NK)} different filters" if len(near.ties_NK) > 1 else "")
        )
        console.print("its layers: " + "  *  ".join(numbers(own.tolist()) for own in near.filters))


@linear.command(epilog=closing("lcstool linear probe mobilenet.safetensors"))
def probe(
    file: Annotated[
        str, typer.Argument(help="Any network with depthwise or single-channel layers; '-' for stdin.")
    ],
    as_json: AsJson = False,
) -> None:
    """Compare neighbouring depthwise layers of a real network: cosine similarity and common roots of their filters."""
    from lcstool.stages.linear.probe import probe as run_stage

    result = run_stage(file)
    if as_json:
        print_json(result.to_json())
        return
    table = new_table(
        f"{plain(result.where)}: neighbouring layers, channel by channel", "layers", "channels", "mean |cos|",
        "of random directions", "largest", "separable channels", "channels with common roots",
    )  # fmt: skip
    for pair in result.pairs:
        chance, cosines = pair.random_cosine, pair.cosines
        compared = sum(bool(own.common_roots) for own in pair.channels)
        common = sum(any(own.common_roots.values()) for own in pair.channels)
        table.add_row(
            f"{plain(pair.first)} - {plain(pair.second)}", f"{len(pair.channels):,}",
            f"{sum(cosines) / len(cosines):.3f}" if cosines else "-", "-" if chance is None else f"{chance:.3f}",
            f"{max(cosines):.3f}" if cosines else "-", f"{compared:,}", f"{common:,}",
        )  # fmt: skip
    stdout().print(table)


def _list(sizes: tuple[int, ...]) -> str:
    return ",".join(map(str, sizes))


def numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)


def _power(root: str, multiplicity: int) -> str:
    return root if multiplicity == 1 else f"({root})^{multiplicity}"
