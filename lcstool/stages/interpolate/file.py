"""A path as a file of kind `path`, and one of its points as a file of kind `model`.

Every point's tensors stand under its number, `INDEX/NAME`, so that one point is read without the others.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from lcstool.checkpoint import Checkpoint, Header, StreamedTensor, write_checkpoint
from lcstool.errors import BadInputError, UsageError
from lcstool.models import ModelSpec
from lcstool.models.build import empty_model
from lcstool.paths import Blend, Points
from lcstool.record import Entry, history_entry, portable_config
from lcstool.stages.interpolate.ends import Ends
from lcstool.stages.interpolate.measure import Bench
from lcstool.stages.interpolate.result import PathScores

PATH = "path"


def write_path(out: str, path: PathScores, bench: Bench, export: str | None) -> float | None:
    """Write a path, or one of its points as a model.

    Args:
        out: The file.
        path: With points.
        bench: What it was measured with.
        export: `best` or a position; None writes the path.

    Returns:
        The position of the point written, if one was.

    Raises:
        UsageError: there is no such point.
    """
    assert path.points is not None
    config, ends = bench.config, bench.ends
    settings = portable_config(config, config.deciding(path.method)) | {"dataset": bench.used.name}
    entry = history_entry(
        "interpolate",
        settings,
        inputs=ends.inputs,
        metrics=path.to_json() | {"dataset": bench.used.to_json()},
        seed=config.seed if config.draws(path.method) else None,
    )
    header = replace(_path_header(ends), history=(*ends.header.history, entry))
    if export is None:
        write_checkpoint(out, header, _path_tensors(path.points))
        return None
    index = _point_index(export, list(path.alphas), path.alphas[path.best])
    return _write_point(out, header, path.points.state(index), path.alphas[index])


def export_point(out: str, checkpoint: Checkpoint, wanted: str) -> float:
    """Write one point of a path file as a model, and return its position; the other points are not read.

    Raises:
        UsageError: there is no such point.
        BadInputError: the file does not hold what its header says.
    """
    header = checkpoint.require_kind(PATH)
    metrics = _path_metrics(header, checkpoint.where)
    alphas = metrics["alphas"]
    index = _point_index(wanted, alphas, metrics.get("best_alpha"))
    expected = empty_model(ModelSpec.from_json(header.model or {}, checkpoint.where)).state_dict()
    state: dict[str, Tensor] = {}
    for name, tensor in expected.items():
        state[name] = checkpoint[_tensor_name(index, len(alphas), name)]
        if state[name].shape != tensor.shape:
            raise BadInputError(
                f"{checkpoint.where}: tensor {name!r} of point {index} has shape {list(state[name].shape)}, "
                f"expected {list(tensor.shape)}"
            )
    return _write_point(out, replace(header, storage={}), state, float(alphas[index]))


def write_unfinished(out: Path, points: Points, ends: Ends, state: dict[str, Any]) -> None:
    """Write the points of a string that is being trained, and the state of its training."""
    write_checkpoint(out, replace(_path_header(ends), state=state), _path_tensors(points))


def read_points(checkpoint: Checkpoint, num_points: int, names: Iterable[str]) -> Points:
    """All points of a path file, their tensors in this order; BadInputError if one is not there."""
    ordered = list(names)
    states = [
        {name: checkpoint[_tensor_name(index, num_points, name)] for name in ordered}
        for index in range(num_points)
    ]
    try:
        return Points.stack(states)
    except ValueError as error:
        raise BadInputError(f"{checkpoint.where}: its points cannot be read: {error}") from None


def _path_header(ends: Ends) -> Header:
    return replace(ends.header, kind=PATH, storage={}, state=None)


def _write_point(out: str, header: Header, state: dict[str, Tensor], alpha: float) -> float:
    *earlier, last = header.history
    entry: Entry = last | {"metrics": last["metrics"] | {"exported_alpha": alpha}}
    write_checkpoint(out, replace(header, kind="model", history=(*earlier, entry)), state)
    return alpha


def _path_tensors(points: Points | Blend) -> dict[str, Tensor | StreamedTensor]:
    """Every tensor of every point; weighted sums are made while they are written."""
    made = points.ends if isinstance(points, Blend) else points
    tensors: dict[str, Tensor | StreamedTensor] = {}
    for index in range(points.num_points):
        for name, tensor in (made.parameters | made.buffers).items():
            tensors[_tensor_name(index, points.num_points, name)] = (
                StreamedTensor(tensor.dtype, tuple(tensor.shape[1:]), partial(_blocks, points, index, name))
                if isinstance(points, Blend)
                else tensor[index]
            )
    return tensors


def _blocks(blend: Blend, index: int, name: str) -> list[Tensor]:
    return [blend.slice(index, index + 1).tensor(name)[0]]


def _tensor_name(index: int, num_points: int, name: str) -> str:
    return f"{index:0{len(str(num_points - 1))}d}/{name}"


def _path_metrics(header: Header, where: str) -> dict[str, Any]:
    """What the stage that wrote the path measured: alphas, scores, best point; BadInputError if that is not there."""
    metrics = header.history[-1].get("metrics") if header.history else None
    if not isinstance(metrics, dict) or not isinstance(metrics.get("alphas"), list):
        raise BadInputError(f"{where}: the header does not say where the points of the path lie")
    return metrics


def _point_index(wanted: str, alphas: list[float], best_alpha: float | None) -> int:
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
