"""Root patterns: which roots of a filter are real, which are complex, and how many of them coincide.

Noise of relative size eps scatters an m-fold root over a disc of radius about eps^(1/m), so no fixed distance tells a
multiple root from near ones. Roots are therefore joined with their neighbours, cluster by cluster, wherever a form
with that multiple root reproduces the filter within the noise: a backward error, whatever the distance.

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
        clusters: Real roots first, most multiple first, then by place.
        radius: Roots were joined that are this close (chordal distance) or linked by such; 0 where none were.
        residual: Distance from the filter, relative to it, of the form that has exactly these multiple roots.
    """

    clusters: tuple[RootCluster, ...]
    radius: float
    residual: float

    @property
    def real_roots(self) -> tuple[tuple[float, int], ...]:
        """Value (infinity included) and multiplicity of each real root."""
        return tuple((own.value.real, own.multiplicity) for own in self.clusters if own.is_real)

    @property
    def complex_pairs(self) -> tuple[tuple[complex, int], ...]:
        """The root of positive imaginary part, and multiplicity, of each conjugate pair."""
        return tuple((own.value, own.multiplicity) for own in self.clusters if not own.is_real)

    @property
    def real(self) -> str:
        """Multiplicities of the real roots in falling order, "21" for a double and a simple one, "0" for none."""
        return _digits([own.multiplicity for own in self.clusters if own.is_real])

    @property
    def complex(self) -> str:
        """Multiplicities of the conjugate pairs, as `real`."""
        return _digits([own.multiplicity for own in self.clusters if not own.is_real])

    @property
    def label(self) -> str:
        """Both, as "21|0"."""
        return f"{self.real}|{self.complex}"

    @property
    def num_real(self) -> int:
        """Real roots counted with multiplicity."""
        return sum(own.multiplicity for own in self.clusters if own.is_real)

    @property
    def num_odd(self) -> int:
        """Real roots of odd multiplicity: so many stay real under any small change of the filter."""
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
        radius: Join all roots linked by chordal distances up to this one, whatever the residual. By default each
            group of neighbours, the widest first, is joined where that changes the filter by no more than `noise`.
        noise: Relative distance from the filter, in norm, that counts as no difference. About 1e-10 suits filters
            computed in float64, 1e-5 trained ones in float32.

    Raises:
        BadInputError: not one finite filter, or zero.
    """
    w_K = filter_entries(filter_K)
    roots = Roots(w_K)
    if radius is not None:
        clusters, residual = roots.join(roots.parts(tuple(range(len(roots.points_D2))), radius))
        return RootPattern(clusters, radius, residual)
    # Joins that are each within the noise may leave it together; then each is allowed less.
    for allowed in (noise, noise / 10, noise / 100, -1.0):
        parts = roots.choose(allowed)
        clusters, residual = roots.join(parts)
        if residual <= noise:
            break
    return RootPattern(clusters, max(map(roots.widest_link, parts), default=0.0), residual)
