"""A path as a file of kind `path`: every point's tensors under its number, so that one is read without the others."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header, StreamedTensor
from lcstool.errors import BadInputError, UsageError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.paths import Blend, Points

PATH = "path"


def path_tensors(points: Points | Blend) -> dict[str, Tensor | StreamedTensor]:
    """`INDEX/NAME` for every tensor of every point; weighted sums are made while they are written."""
    width = len(str(points.num_points - 1))
    made = points.ends if isinstance(points, Blend) else points
    tensors: dict[str, Tensor | StreamedTensor] = {}
    for index in range(points.num_points):
        for name, tensor in (made.parameters | made.buffers).items():
            tensors[f"{index:0{width}d}/{name}"] = (
                StreamedTensor(tensor.dtype, tuple(tensor.shape[1:]), partial(_blocks, points, index, name))
                if isinstance(points, Blend)
                else tensor[index]
            )
    return tensors


def _blocks(blend: Blend, index: int, name: str) -> list[Tensor]:
    return [blend.slice(index, index + 1).tensor(name)[0]]


def path_metrics(header: Header, where: str) -> dict[str, Any]:
    """What the stage that wrote the path measured: alphas, scores, best point; BadInputError if that is not there."""
    metrics = header.history[-1].get("metrics") if header.history else None
    if not isinstance(metrics, dict) or not isinstance(metrics.get("alphas"), list):
        raise BadInputError(f"{where}: the header does not say where the points of the path lie")
    return metrics


def read_point(checkpoint: Checkpoint, wanted: str) -> tuple[dict[str, Tensor], Header, float]:
    """One point of a path file as a network's tensors; only these are read.

    Args:
        checkpoint: Of kind `path`.
        wanted: `best`, or a position.

    Returns:
        The state dict, the file's header, and the point's position.
    """
    header = checkpoint.require_kind(PATH)
    metrics = path_metrics(header, checkpoint.where)
    alphas = metrics["alphas"]
    index = point_index(wanted, alphas, metrics.get("best_alpha"))
    width = len(str(len(alphas) - 1))
    expected = empty_model(ModelSpec.from_json(header.model or {}, checkpoint.where)).state_dict()
    state: dict[str, Tensor] = {}
    for name, tensor in expected.items():
        state[name] = checkpoint[f"{index:0{width}d}/{name}"]
        if state[name].shape != tensor.shape:
            raise BadInputError(
                f"{checkpoint.where}: tensor {name!r} of point {index} has shape {list(state[name].shape)}, "
                f"expected {list(tensor.shape)}"
            )
    return state, header, float(alphas[index])


def read_points(checkpoint: Checkpoint, num_points: int, names: Iterable[str]) -> Points:
    """All points of a path file, their tensors in this order; BadInputError if one is not there."""
    width = len(str(num_points - 1))
    ordered = list(names)
    states = [
        {name: checkpoint[f"{index:0{width}d}/{name}"] for name in ordered} for index in range(num_points)
    ]
    try:
        return Points.stack(states)
    except ValueError as error:
        raise BadInputError(f"{checkpoint.where}: its points cannot be read: {error}") from None


def point_index(wanted: str, alphas: list[float], best_alpha: float | None) -> int:
    """Which point `best` or a position means; UsageError for a position between points."""
    if wanted == "best":
        target = best_alpha
    else:
        try:
            target = float(wanted)
        except ValueError:
            raise UsageError(f"export {wanted!r} is neither 'best' nor a position") from None
    for index, alpha in enumerate(alphas):
        if target is not None and abs(alpha - target) < 1e-9:
            return index
    listed = ", ".join(f"{alpha:.4g}" for alpha in alphas)
    raise UsageError(f"there is no point of the path at {wanted}; its points lie at {listed}")
