"""Score a path of any method, and the plane through three networks."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lcstool.data.dataset import ImageDataset
from lcstool.devices import host_memory_bytes
from lcstool.evaluation import Score
from lcstool.images import UsedDataset
from lcstool.paths import (
    BatchedNetwork,
    Blend,
    Points,
    barrier,
    best_point,
    path_length,
    reestimate_norms,
    score_outputs,
    score_points,
    straight_length,
)
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.ends import Ends
from lcstool.stages.interpolate.result import PathScores, Plane

# Shape suffixes: N points, E ends, S grid side.

_NORM_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a path is measured with: networks, data, device.

    Attributes:
        config, ends: Of the run.
        used: Which data set it is.
        dataset: On the device.
        prepare: From its images to the networks' input.
        loss: Name of the loss.
        device: Where the networks run.
    """

    config: InterpolateConfig
    ends: Ends
    used: UsedDataset
    dataset: ImageDataset
    prepare: Callable[[Tensor], Tensor]
    loss: str
    device: torch.device

    @property
    def model(self) -> nn.Module:
        return self.ends.models[0]

    @property
    def chunk(self) -> int:
        """Points held and run at once: as many as take half of the memory, with gradients and temporaries."""
        if self.config.points_at_a_time is not None:
            return self.config.points_at_a_time
        own = sum(tensor.nbytes for tensor in self.model.state_dict().values())
        there: int = host_memory_bytes()
        if self.device.type == "cuda":
            there = int(torch.cuda.mem_get_info(self.device)[0])
        return int(max(1, there // 2 // max(1, 6 * own)))

    @property
    def network(self) -> BatchedNetwork:
        """What scores points; on a CPU one after another, since the activations of all would not fit its cache."""
        return BatchedNetwork(self.model, batched=self.device.type != "cpu")

    def with_norms(self, points: Points) -> Points:
        """The points, if asked with batch-norm statistics estimated anew."""
        if self.config.bn == "keep":
            return points
        images = self.dataset.train.images
        return reestimate_norms(self.model, points, images, self.prepare, _NORM_BATCH, self.chunk)

    def score(self, points: Points, blend: Blend | None = None) -> tuple[list[Score], list[Score]]:
        """Training and test scores of every point."""
        network = self.network
        train, test = (
            list(score_points(network, points, split, self.prepare, self.loss, chunk=self.chunk, blend=blend))
            for split in (self.dataset.train, self.dataset.test)
        )
        return train, test

    def end_losses(self, points: Points) -> tuple[float, float]:
        """Training losses of the first and of the last point."""
        both = Points.stack([points.state(0), points.state(points.num_points - 1)])
        network, split = self.network, self.dataset.train
        first, last = score_points(
            network, self.with_norms(both), split, self.prepare, self.loss, chunk=self.chunk
        )
        return first.loss, last.loss

    def score_blend(self, blend: Blend) -> tuple[Blend, list[Score], list[Score]]:
        """Training and test scores of weighted sums of the ends; only as many as memory holds are made at once.

        Returns:
            The blend with the batch-norm statistics that were used, training scores, test scores.
        """
        train: list[Score] = []
        test: list[Score] = []
        buffers: dict[str, list[Tensor]] = {}
        for start in range(0, blend.num_points, self.chunk):
            part = blend.slice(start, start + self.chunk)
            points = self.with_norms(part.points())
            some_train, some_test = self.score(points, part)
            train += some_train
            test += some_test
            for name, tensor in points.buffers.items():
                buffers.setdefault(name, []).append(tensor)
        statistics = {name: torch.cat(parts) for name, parts in buffers.items()}
        return replace(blend, statistics=statistics), train, test


def score_path(bench: Bench, method: str, alphas: Tensor, path: Points | Blend) -> PathScores:
    """Measure a path in weight space."""
    if isinstance(path, Blend):
        path, train, test = bench.score_blend(path)
        length, straight = path.length(), straight_length(path.ends)
        return _scored(bench, method, alphas, train, test, length=length, straight=straight, points=path)
    path = bench.with_norms(path)
    train, test = bench.score(path)
    length, straight = path_length(path), straight_length(path)
    return _scored(bench, method, alphas, train, test, length=length, straight=straight, points=path)


def score_output_path(bench: Bench, alphas: Tensor) -> PathScores:
    """Measure the averages of two networks' outputs."""
    ends = bench.with_norms(Points.of(bench.ends.models))
    models = [model.to(bench.device) for model in bench.ends.models]
    for index, model in enumerate(models):
        ends.load_into(model, index)
    average = "probabilities" if bench.config.probabilities else "logits"
    train, test = (
        list(score_outputs(models[0], models[1], alphas, split, bench.prepare, bench.loss, average))
        for split in (bench.dataset.train, bench.dataset.test)
    )
    straight = straight_length(ends)
    return _scored(bench, "output", alphas, train, test, length=None, straight=straight, points=None)


def _scored(
    bench: Bench,
    method: str,
    alphas: Tensor,
    train: list[Score],
    test: list[Score],
    *,
    length: float | None,
    straight: float,
    points: Points | Blend | None,
) -> PathScores:
    return PathScores(
        method=method,
        alphas=tuple(alphas.tolist()),
        loss=bench.loss,
        train=tuple(train),
        test=tuple(test),
        barrier=barrier([score.loss for score in train], alphas),
        test_barrier=barrier([score.loss for score in test], alphas),
        length=length,
        straight=straight,
        best=best_point(test),
        points=points,
    )


def score_plane(bench: Bench, side: int, margin: float = 0.25) -> Plane:
    """Training loss and test accuracy on a grid of the plane through three networks.

    The first network is the origin and the second lies on the x axis. The grid goes beyond the three networks by
    `margin` times their extent.
    """
    ends = Points.of(bench.ends.models)
    first, second = (_difference(ends, 0, index) for index in (1, 2))
    gram = torch.tensor([[_dot(a, b) for b in (first, second)] for a in (first, second)], dtype=torch.float64)
    width = gram[0, 0].sqrt()
    across = gram[0, 1] / width
    height = (gram[1, 1] - across.square()).clamp(min=0).sqrt()
    corners_32 = torch.tensor([[0.0, 0.0], [width, 0.0], [across, height]], dtype=torch.float64)
    low, high = corners_32.amin(dim=0), corners_32.amax(dim=0)
    room = margin * (high - low)
    x_S, y_S = (
        torch.linspace(float(low[i] - room[i]), float(high[i] + room[i]), side, dtype=torch.float64)
        for i in (0, 1)
    )
    # (x, y) = b (width, 0) + c (across, height): the weights of the second and the third network.
    c_SS = (
        (y_S[:, None] / height).expand(side, side)
        if height > 0
        else torch.zeros(side, side, dtype=torch.float64)
    )
    b_SS = (x_S[None, :] - c_SS * across) / width
    weight_NE = torch.stack([1 - b_SS - c_SS, b_SS, c_SS], dim=-1).flatten(0, 1)
    _, train, test = bench.score_blend(Blend(ends=ends, weight_NE=weight_NE, buffer_weight_NE=weight_NE))
    loss_SS, accuracy_SS = (
        torch.tensor(values, dtype=torch.float64).view(side, side)
        for values in ([score.loss for score in train], [score.accuracy for score in test])
    )
    return Plane(
        loss=bench.loss, x_S=x_S, y_S=y_S, loss_SS=loss_SS, accuracy_SS=accuracy_SS, corners_32=corners_32
    )


def _difference(ends: Points, start: int, stop: int) -> dict[str, Tensor]:
    return {name: tensor[stop].double() - tensor[start].double() for name, tensor in ends.parameters.items()}


def _dot(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    return sum(float((left[name] * right[name]).sum()) for name in left)
