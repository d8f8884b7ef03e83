"""Several networks of one architecture, each tensor stacked along a first axis of points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Shape suffixes: N points, D entries of a tensor.

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def is_buffer(name: str, tensor: Tensor) -> bool:
    """Whether a tensor of a state dict is no parameter: statistics of a batch norm, or whole numbers."""
    return name.rpartition(".")[2] in _STATISTICS or not tensor.dtype.is_floating_point


def difference(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> str | None:
    """In words, the first tensor that two state dicts do not have in one shape; None if there is none."""
    for name in {**left, **right}:
        words = [
            f"has shape {list(state[name].shape)}" if name in state else "is missing"
            for state in (left, right)
        ]
        if words[0] != words[1]:
            return f"tensor {name!r} {words[0]} in the one, {words[1]} in the other"
    return None


@dataclass(frozen=True)
class Points:
    """Some networks of one architecture, in the order of a path.

    Attributes:
        parameters: By their names in the state dict, each (N, *shape).
        buffers: Statistics of batch norms and the like, likewise.
    """

    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]

    @staticmethod
    def of(models: Sequence[nn.Module]) -> "Points":
        """The networks' tensors, copied."""
        return Points.stack([model.state_dict() for model in models])

    @staticmethod
    def stack(states: Sequence[Mapping[str, Tensor]]) -> "Points":
        """State dicts of one architecture, copied.

        Raises:
            ValueError: naming the first tensor in which they differ.
        """
        first = states[0]
        for state in states:
            differing = difference(first, state)
            if differing is not None:
                raise ValueError(f"the networks of a path differ: {differing}")
        parameters: dict[str, Tensor] = {}
        buffers: dict[str, Tensor] = {}
        for name, tensor in first.items():
            stacked = torch.stack([state[name].detach() for state in states])
            (buffers if is_buffer(name, tensor) else parameters)[name] = stacked
        return Points(parameters, buffers)

    @property
    def num_points(self) -> int:
        return len(next(iter((self.parameters | self.buffers).values())))

    @property
    def device(self) -> torch.device:
        return next(iter((self.parameters | self.buffers).values())).device

    def state(self, index: int) -> dict[str, Tensor]:
        """One point as a state dict; the tensors are views."""
        return {name: tensor[index] for name, tensor in (self.parameters | self.buffers).items()}

    def load_into(self, model: nn.Module, index: int) -> None:
        """Copy one point into a network."""
        model.load_state_dict(self.state(index))

    def slice(self, start: int, stop: int) -> "Points":
        """The points from `start` up to, not including, `stop`; the tensors are views."""
        return Points(
            {name: tensor[start:stop] for name, tensor in self.parameters.items()},
            {name: tensor[start:stop] for name, tensor in self.buffers.items()},
        )

    def to(self, device: torch.device) -> "Points":
        return Points(
            {name: tensor.to(device) for name, tensor in self.parameters.items()},
            {name: tensor.to(device) for name, tensor in self.buffers.items()},
        )

    def norms(self) -> Tensor:
        """The Euclidean norm of each point over all parameters, (N,) float64."""
        squares_N = torch.zeros(self.num_points, dtype=torch.float64, device=self.device)
        for tensor in self.parameters.values():
            for index in range(
                self.num_points
            ):  # one at a time: float64 copies of all would double the memory
                squares_N[index] += tensor[index].double().square().sum()
        return squares_N.sqrt()


def path_length(points: Points) -> float:
    """The sum of the Euclidean distances between neighbours, over all parameters, in float64."""
    return sum(_distance(points, index, index + 1) for index in range(points.num_points - 1))


def straight_length(points: Points) -> float:
    """The Euclidean distance from the first point to the last, over all parameters, in float64."""
    return _distance(points, 0, points.num_points - 1)


def _distance(points: Points, i: int, j: int) -> float:
    squares = [(t_ND[j].double() - t_ND[i].double()).square().sum() for t_ND in points.parameters.values()]
    return float(torch.stack(squares).sum().sqrt())
