"""The interpolate stage: join networks by a path, measure it, write it or one of its points.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), appendix C and Fig. 12.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lcstool.checkpoint import Checkpoint, Header, open_checkpoint, write_checkpoint
from lcstool.choices import LOSSES
from lcstool.data.augment import build_augmentation
from lcstool.devices import memory_errors, require_memory, resolve_device
from lcstool.errors import UsageError
from lcstool.images import input_map, load_images
from lcstool.paths import Blend, Points, StringOptions, barrier, positions, train_string_epoch
from lcstool.randomness import stream
from lcstool.record import portable_config, versions
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.ends import Ends, open_ends
from lcstool.stages.interpolate.measure import Bench, score_output_path, score_path, score_plane
from lcstool.stages.interpolate.path_file import PATH, path_tensors, point_index, read_point, read_points
from lcstool.stages.interpolate.result import InterpolateResult, PathScores

OnEpoch = Callable[[int, float, float], None]


def interpolate(
    config: InterpolateConfig,
    out: str | None = None,
    export: str | None = None,
    partial: Path | None = None,
    resume: bool = False,
    on_epoch: OnEpoch = lambda epoch, barrier, loss: None,
) -> InterpolateResult:
    """Join networks by a path, and measure it.

    Args:
        config: What to join, how, on what data.
        out: Where to write the path, or with `export` one of its points as a model; None writes nothing.
        export: `best` or a position.
        partial: Where an unfinished string is kept after every epoch; removed at the end.
        resume: Go on from that file where it exists; the string's points are those of an uninterrupted run, bit for
            bit on the CPU.
        on_epoch: Told of the string's epochs done, of its barrier and of its largest loss; the inner points' losses are
            means over the epoch, the ends' over all training images.

    Raises:
        LcsError: for everything a user can mend.
    """
    with memory_errors():
        checkpoints = [open_checkpoint(file) for file in config.files]
        kinds = {c.header.kind if c.header is not None else None for c in checkpoints}
        if kinds == {PATH} and len(checkpoints) == 1:
            return _export_from_file(config, checkpoints[0], out, export)
        if len(checkpoints) < 2:
            raise UsageError(f"a path joins two networks or more, got {len(checkpoints)} file")
        if out is not None and (len(config.methods()) > 1 or config.method == "output"):
            raise UsageError(
                f"--method {config.method} has no one path of networks to write", hint="leave -o out"
            )
        ends = open_ends(config, checkpoints)
        bench = _bench(config, ends)
        alphas = positions(
            config.points, config.extrapolate if config.method not in ("string", "output") else 0.0
        )
        paths = tuple(_path(bench, method, alphas, partial, resume, on_epoch) for method in config.methods())
        plane = score_plane(bench, config.plane) if config.plane is not None else None
        result = InterpolateResult(ends.names, bench.loss, paths, plane, ends.distances)
        if out is not None:
            result = _write(bench, paths[0], result, out, export)
        if partial is not None:
            partial.unlink(missing_ok=True)
        return result


def _bench(config: InterpolateConfig, ends: Ends) -> Bench:
    device = resolve_device(config.device)
    dataset = load_images(config.dataset, config.data_dir, ends.spec, ends.names[0])
    if config.train_size is not None:
        dataset = dataset.with_train_size(config.train_size, stream(config.seed, "subset"))
    dtype = next(ends.models[0].parameters()).dtype
    prepare = input_map(ends.header.input, ends.spec, ends.names[0], device, dtype)
    trained = [e.get("config", {}).get("loss") for e in ends.header.history if e["stage"] == "train"]
    loss = config.loss or (trained[-1] if trained and trained[-1] in LOSSES else "cross-entropy")
    on_device = replace(dataset, train=dataset.train.to(device), test=dataset.test.to(device))
    return Bench(config, ends, on_device, prepare, loss, device)


def _path(
    bench: Bench, method: str, alphas: torch.Tensor, partial: Path | None, resume: bool, on_epoch: OnEpoch
) -> PathScores:
    states = [model.state_dict() for model in bench.ends.models]
    if method == "output":
        return score_output_path(bench, alphas)
    if method == "string":
        return score_path(bench, method, alphas, _string(bench, alphas, partial, resume, on_epoch))
    blend = Blend.linear(states, alphas) if method == "linear" else Blend.curvilinear(states, alphas)
    return score_path(bench, method, alphas, blend)


def _string(
    bench: Bench, alphas: torch.Tensor, partial: Path | None, resume: bool, on_epoch: OnEpoch
) -> Points:
    """The straight line, trained as a string; its state is kept after every epoch."""
    config = bench.config
    # All points and their gradients; what the layers keep for backward is held by the chunk.
    own = sum(parameter.nbytes for parameter in bench.model.parameters())
    require_memory(2 * config.points * own, bench.device, f"a string of {config.points} points")
    options = StringOptions(config.lr, config.stiffness, config.nudge, config.spring)
    points = Blend.linear([model.state_dict() for model in bench.ends.models], alphas).points()
    first = 0
    asked: dict[str, Any] = {
        "config": portable_config(config) | {"method": "string"},
        "seed": config.seed,
        "inputs": list(bench.ends.digests),
    }
    if resume and partial is not None and partial.exists():
        saved = open_checkpoint(partial)
        state = saved.require_kind(PATH).state or {}
        if {name: state.get(name) for name in asked} != asked:
            raise UsageError(
                f"--resume: {partial} is the state of another path",
                hint="repeat its command, or delete that file",
            )
        first, points = int(state["epoch"]), read_points(saved, config.points, bench.model.state_dict())
    points = points.to(bench.device)
    augment = build_augmentation("none")
    first_loss, last_loss = bench.end_losses(points)
    for epoch in range(first, config.epochs):
        losses = train_string_epoch(
            bench.model,
            points,
            bench.dataset.train,
            bench.prepare,
            augment,
            bench.loss,
            options,
            config.batch_size,
            stream(config.seed, "string", epoch),
            chunk=bench.chunk,
        )
        if partial is not None and epoch + 1 < config.epochs:
            header = _header(bench, PATH, asked | {"epoch": epoch + 1})
            write_checkpoint(partial, header, path_tensors(points))
        along = [first_loss, *losses.tolist(), last_loss]
        on_epoch(epoch + 1, barrier(along, alphas), max(along))
    return points.to(torch.device("cpu"))


def _header(bench: Bench, kind: str, state: dict[str, Any] | None = None) -> Header:
    given = bench.ends.header
    return Header(kind, given.model, given.input, given.layers, {}, given.history, state)


def _write(
    bench: Bench, path: PathScores, result: InterpolateResult, out: str, export: str | None
) -> InterpolateResult:
    """The path, or one of its points as a model."""
    assert path.points is not None
    named = enumerate(zip(bench.ends.names, bench.ends.digests, strict=True))
    inputs = {f"{index}: {Path(name).name}": digest for index, (name, digest) in named}
    entry: dict[str, Any] = {
        "stage": "interpolate",
        "config": portable_config(bench.config),
        "seed": bench.config.seed,
        "versions": versions(),
        "inputs": inputs,
        "metrics": path.to_json(bench.loss),
    }
    header = _header(bench, PATH)
    header = replace(header, history=(*header.history, entry))
    if export is None:
        write_checkpoint(out, header, path_tensors(path.points))
        return result
    index = point_index(export, list(path.alphas), path.alphas[path.best])
    entry |= {"metrics": entry["metrics"] | {"exported_alpha": path.alphas[index]}}
    model = replace(header, kind="model", history=(*header.history[:-1], entry))
    write_checkpoint(out, model, path.points.state(index))
    return replace(result, exported=path.alphas[index])


def _export_from_file(
    config: InterpolateConfig, checkpoint: Checkpoint, out: str | None, export: str | None
) -> InterpolateResult:
    """One point of a path that is in a file; the other points are not read."""
    if out is None or export is None:
        raise UsageError(
            "of a path in a file one point is written", hint="--export best -o model.safetensors"
        )
    state, header, alpha = read_point(checkpoint, export)
    last = header.history[-1]
    entry = last | {"metrics": last["metrics"] | {"exported_alpha": alpha}}
    write_checkpoint(
        out, replace(header, kind="model", storage={}, history=(*header.history[:-1], entry)), state
    )
    return InterpolateResult((checkpoint.where,), "cross-entropy", (), exported=alpha)
