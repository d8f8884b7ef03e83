"""Points that are weighted sums of a few networks: the straight line, polylines, the line of interpolated norm."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lcstool.errors import UsageError
from lcstool.paths.points import Points

# Shape suffixes: N points of the path, E networks it joins (its ends), D entries of a tensor.

_BLOCK_ENTRIES = 1 << 20  # of a tensor, in float64 at a time


def positions(num_points: int, extrapolate: float = 0.0) -> Tensor:
    """Where the points of a path lie: 0 the first network, 1 the last.

    Args:
        num_points: In all, both ends among them.
        extrapolate: The share of the path by which it goes on beyond either end; 0 and 1 stay among the points.

    Returns:
        Ascending (N,) float64, mirrored in 0.5 to the last bit: the upper half is 1 minus the lower.

    Raises:
        UsageError: if the points do not suffice.
    """
    beyond = 0
    if extrapolate > 0:
        share = extrapolate / (1 + 2 * extrapolate)
        beyond = max(1, min(round((num_points - 1) * share), (num_points - 2) // 2))
    inside = num_points - 2 * beyond
    if inside < 2:
        raise UsageError(
            f"{num_points} points are too few for a path{' with points beyond its ends' if beyond else ''}",
            hint=f"take at least {2 + 2 * beyond}",
        )
    lower = [-extrapolate * (beyond - index) / beyond for index in range(beyond)]
    lower += [index / (inside - 1) for index in range((inside + 1) // 2)]
    half = torch.tensor(lower, dtype=torch.float64)
    return torch.cat((half, 1 - half[: num_points // 2].flip(0)))


@dataclass(frozen=True, kw_only=True)
class Blend:
    """A path whose every point is a weighted sum of its ends.

    Attributes:
        ends: The E networks.
        weight_NE: The weight of each end at each point, for parameters, float64; a point that is an end has one 1 and
            zeros.
        buffer_weight_NE: The same for buffers.
        statistics: Buffers to take instead of weighted sums, (N, *shape) by name; none by default.
    """

    ends: Points
    weight_NE: Tensor
    buffer_weight_NE: Tensor
    statistics: dict[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def linear(ends: Sequence[Mapping[str, Tensor]], alphas: Tensor) -> "Blend":
        """The straight line from the first network to the last; of more networks, the polyline through them.

        Each leg of a polyline takes an equal share of the positions.

        Args:
            ends: State dicts.
            alphas: Positions (N,); those below 0 and above 1 lie on the extensions of the first and the last leg.

        Ref:
            d'Ascoli et al. 2019 (arXiv 1906.06766), appendix C.
        """
        weight_NE = torch.stack([_leg_weights(float(alpha), len(ends)) for alpha in alphas])
        return Blend(ends=Points.stack(ends), weight_NE=weight_NE, buffer_weight_NE=weight_NE)

    @staticmethod
    def curvilinear(ends: Sequence[Mapping[str, Tensor]], alphas: Tensor) -> "Blend":
        """The line rescaled: each point's norm over all parameters is interpolated between the norms of the ends.

        Ref:
            d'Ascoli et al. 2019 (arXiv 1906.06766), appendix C.
        """
        line = Blend.linear(ends, alphas)
        wanted_N = line.weight_NE @ line.ends.norms().cpu()
        norm_N = line._lengths(line.weight_NE)
        is_end_N = (line.weight_NE == 1).any(dim=1)
        scale_N = torch.where(is_end_N | (norm_N == 0), 1.0, wanted_N / norm_N)
        return replace(line, weight_NE=line.weight_NE * scale_N[:, None])

    @property
    def num_points(self) -> int:
        return len(self.weight_NE)

    def slice(self, start: int, stop: int) -> "Blend":
        """Some of the points."""
        return replace(
            self,
            weight_NE=self.weight_NE[start:stop],
            buffer_weight_NE=self.buffer_weight_NE[start:stop],
            statistics={name: tensor[start:stop] for name, tensor in self.statistics.items()},
        )

    def to(self, device: torch.device) -> "Blend":
        statistics = {name: tensor.to(device) for name, tensor in self.statistics.items()}
        return replace(self, ends=self.ends.to(device), statistics=statistics)

    def state(self, index: int) -> dict[str, Tensor]:
        """One point as a state dict, made on demand."""
        return self.slice(index, index + 1).points().state(0)

    def length(self) -> float:
        """The sum of the Euclidean distances between neighbours, like `path_length`, but without making the points."""
        return float(self._lengths(self.weight_NE.diff(dim=0)).sum())

    def _lengths(self, weight_NE: Tensor) -> Tensor:
        """Euclidean norms (N,) of weighted sums of the ends, over all parameters, from E^2 inner products.

        The products are of the first end and of the others' differences from it, so that the distance between close
        networks keeps its digits.
        """
        num_ends = self.ends.num_points
        gram_EE = torch.zeros(num_ends, num_ends, dtype=torch.float64)
        for tensor in self.ends.parameters.values():
            for block in tensor.flatten(1).split(_BLOCK_ENTRIES, dim=1):
                rows_ED = block.double()
                rows_ED = torch.cat((rows_ED[:1], rows_ED[1:] - rows_ED[:1]))
                gram_EE += (rows_ED @ rows_ED.T).cpu()
        weight_NE = torch.cat((weight_NE.sum(dim=1, keepdim=True), weight_NE[:, 1:]), dim=1)
        return ((weight_NE @ gram_EE) * weight_NE).sum(dim=1).clamp(min=0).sqrt()

    def points(self, without: Collection[str] = ()) -> Points:
        """The networks themselves; buffers of whole numbers are the nearest end's (of two as near, the larger).

        Args:
            without: Parameters to leave out, such as `BatchedNetwork.first_names`.
        """
        return Points(
            {name: self.tensor(name) for name in self.ends.parameters if name not in without},
            {name: self.tensor(name) for name in self.ends.buffers},
        )

    def tensor(self, name: str) -> Tensor:
        """One tensor of all points (N, *shape)."""
        if name in self.statistics:
            return self.statistics[name]
        if name in self.ends.parameters:
            return _mix(self.ends.parameters[name], self.weight_NE)
        ends = self.ends.buffers[name]
        if not ends.dtype.is_floating_point:
            return torch.stack([_nearest(ends, row_E) for row_E in self.buffer_weight_NE])
        mixed = _mix(ends, self.buffer_weight_NE)
        # Beyond the ends a variance could become negative.
        return mixed.clamp_(min=0) if name.endswith("running_var") else mixed


def linear_path(ends: Sequence[Mapping[str, Tensor]], alphas: Tensor) -> Points:
    """The points of `Blend.linear`; bit for bit, ends are the inputs, and swapping them mirrors the path."""
    return Blend.linear(ends, alphas).points()


def curvilinear_path(ends: Sequence[Mapping[str, Tensor]], alphas: Tensor) -> Points:
    """The points of `Blend.curvilinear`; bit for bit, ends are the inputs."""
    return Blend.curvilinear(ends, alphas).points()


def _leg_weights(alpha: float, num_ends: int) -> Tensor:
    """The weights (E,) of the ends at a position.

    The distance along the path is counted from the nearer side, and computed from the larger of alpha and 1 - alpha,
    so that a position and its mirror image have the same weights to the last bit.
    """
    legs = num_ends - 1
    way = (1 - max(alpha, 1 - alpha)) * legs
    if abs(way - round(way)) < 1e-12:  # a corner of the polyline, but for rounding
        way = float(round(way))
    leg = min(max(int(way), 0), legs - 1)
    weight_E = torch.zeros(num_ends, dtype=torch.float64)
    weight_E[leg], weight_E[leg + 1] = 1 - (way - leg), way - leg
    return weight_E.flip(0) if alpha > 0.5 else weight_E


def _mix(tensor: Tensor, weight_NE: Tensor) -> Tensor:
    """Weighted sums over the first axis; a point with one weight of 1 is copied, so that -0.0 stays -0.0."""
    out = tensor.new_empty(len(weight_NE), *tensor.shape[1:])
    for row, weights in zip(out, weight_NE.tolist(), strict=True):
        terms = [(weight, end) for weight, end in zip(weights, tensor, strict=True) if weight != 0]
        # Of two terms the sum does not depend on the order: products are rounded before they are added.
        torch.mul(terms[0][1], terms[0][0], out=row) if terms[0][0] != 1 else row.copy_(terms[0][1])
        for weight, end in terms[1:]:
            row.add_(end * weight)
    return out


def _nearest(tensor: Tensor, weight_E: Tensor) -> Tensor:
    return tensor[(weight_E == weight_E.max()).to(tensor.device)].amax(dim=0)
