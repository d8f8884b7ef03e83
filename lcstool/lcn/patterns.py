"""Root patterns: which roots of a filter are real, which are complex, and which of them coincide.

Noise of relative size eps scatters an m-fold root over a disc of radius about eps^(1/m). So no fixed distance tells a
multiple root from several close ones. Instead, a group of neighbouring roots is joined into one multiple root if a
polynomial with that multiple root is as close to the filter as the noise allows.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 4, for the patterns; how to find them is ours.
"""

from dataclasses import dataclass

from torch import Tensor

from lcstool.lcn.joining import Roots
from lcstool.lcn.multiple import RootCluster
from lcstool.lcn.polynomial import filter_entries

NOISE = 1e-10


@dataclass(frozen=True, eq=False)
class RootPattern:
    """The roots of a filter, coinciding ones joined.

    Attributes:
        clusters: Real roots first, those of high multiplicity first, then by place.
        radius: The longest link (chordal distance) between roots that were joined; 0 if none were.
        residual: How far the polynomial with just these multiple roots is from the filter, as a fraction of its norm.
    """

    clusters: tuple[RootCluster, ...]
    radius: float
    residual: float

    @property
    def real_roots(self) -> tuple[tuple[float, int], ...]:
        """Value (which may be infinite) and multiplicity of each real root."""
        return tuple((own.value.real, own.multiplicity) for own in self.clusters if own.is_real)

    @property
    def complex_pairs(self) -> tuple[tuple[complex, int], ...]:
        """For each conjugate pair, the root with positive imaginary part, and its multiplicity."""
        return tuple((own.value, own.multiplicity) for own in self.clusters if not own.is_real)

    @property
    def real(self) -> str:
        """Multiplicities of the real roots in falling order, "21" for a double and a simple one, "0" for none."""
        return _digits([own.multiplicity for own in self.clusters if own.is_real])

    @property
    def complex(self) -> str:
        """Multiplicities of the conjugate pairs, written as in `real`."""
        return _digits([own.multiplicity for own in self.clusters if not own.is_real])

    @property
    def label(self) -> str:
        """Both together, such as "21|0"."""
        return f"{self.real}|{self.complex}"

    @property
    def num_real(self) -> int:
        """How many real roots there are, counted with multiplicity."""
        return sum(own.multiplicity for own in self.clusters if own.is_real)

    @property
    def num_odd(self) -> int:
        """How many real roots have odd multiplicity: at least so many stay real when the filter changes a little."""
        return sum(own.multiplicity % 2 for own in self.clusters if own.is_real)


def pattern_label(real: list[int], pairs: list[int]) -> str:
    """ "21|0" from the multiplicities of the real roots and of the conjugate pairs."""
    return f"{_digits(real)}|{_digits(pairs)}"


def _digits(multiplicities: list[int]) -> str:
    falling = sorted(multiplicities, reverse=True)
    return ("" if max(falling, default=0) < 10 else ",").join(map(str, falling)) or "0"


def root_pattern(filter_K: Tensor, radius: float | None = None, noise: float = NOISE) -> RootPattern:
    """Find the roots of a filter and join those that coincide.

    Args:
        filter_K: One filter; any multiple of it gives the same.
        radius: Join all roots that are linked by chordal distances up to this one, however much the filter changes. By
            default a group of neighbours is joined if that changes the filter by at most `noise`, large groups first.
        noise: How far a filter may be from another, as a fraction of its norm, and count as the same. About 1e-10 suits
            filters computed in float64, 1e-5 filters trained in float32.

    Raises:
        BadInputError: the filter is zero, not finite, or not one filter.
    """
    w_K = filter_entries(filter_K)
    roots = Roots(w_K)
    if radius is not None:
        clusters, residual = roots.join(roots.parts(tuple(range(len(roots.points_D2))), radius))
        return RootPattern(clusters, radius, residual)
    # Several joins, each within the noise, may together change the filter by more; then each is allowed less.
    for allowed in (noise, noise / 10, noise / 100, -1.0):
        parts = roots.choose(allowed)
        clusters, residual = roots.join(parts)
        if residual <= noise:
            break
    return RootPattern(clusters, max(map(roots.widest_link, parts), default=0.0), residual)
