"""The interpolate stage: join networks by a path, measure it, write it or one of its points.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), appendix C and Fig. 12.
"""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.devices import memory_errors, resolve_device
from lcstool.errors import UsageError
from lcstool.images import images_of, input_map
from lcstool.paths import Blend, positions
from lcstool.record import trained_loss
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.ends import Ends, open_ends
from lcstool.stages.interpolate.file import PATH, export_point, write_path
from lcstool.stages.interpolate.measure import Bench, score_output_path, score_path, score_plane
from lcstool.stages.interpolate.result import InterpolateResult, PathScores
from lcstool.stages.interpolate.string import OnEpoch, trained_string


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
        resume: Go on from that file where it exists; on the CPU the points are then, bit for bit, those of a training
            that was not interrupted.
        on_epoch: Told of the string's epochs done, of its barrier and of its largest loss. The losses of inner points
            are means over the epoch, those of the ends over all training images.

    Raises:
        LcsError: for everything a user can mend.
    """
    with memory_errors():
        checkpoints = [open_checkpoint(file) for file in config.files]
        kinds = {c.header.kind if c.header is not None else None for c in checkpoints}
        if kinds == {PATH} and len(checkpoints) == 1:
            if out is None or export is None:
                raise UsageError(
                    "of a path in a file one point is written", hint="--export best -o model.safetensors"
                )
            alpha = export_point(out, checkpoints[0], export)
            return InterpolateResult(files=(checkpoints[0].where,), paths=(), exported=alpha)
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
        exported = write_path(out, paths[0], bench, export) if out is not None else None
        if partial is not None:
            partial.unlink(missing_ok=True)
        return InterpolateResult(
            files=ends.files,
            paths=paths,
            dataset=bench.used,
            plane=plane,
            aligned=ends.aligned,
            exported=exported,
        )


def _bench(config: InterpolateConfig, ends: Ends) -> Bench:
    device = resolve_device(config.device)
    images = images_of(
        config.dataset,
        config.data_dir,
        ends.spec,
        ends.header,
        ends.files[0],
        train_size=config.train_size,
        seed=config.seed,
    )
    dataset = images.dataset
    dtype = next(ends.models[0].parameters()).dtype
    return Bench(
        config=config,
        ends=ends,
        used=images.used,
        dataset=replace(dataset, train=dataset.train.to(device), test=dataset.test.to(device)),
        prepare=input_map(ends.header.input, ends.spec, ends.files[0], device, dtype),
        loss=config.loss or trained_loss(ends.header.history),
        device=device,
    )


def _path(
    bench: Bench, method: str, alphas: Tensor, partial: Path | None, resume: bool, on_epoch: OnEpoch
) -> PathScores:
    states = [model.state_dict() for model in bench.ends.models]
    if method == "output":
        return score_output_path(bench, alphas)
    if method == "string":
        return score_path(bench, method, alphas, trained_string(bench, alphas, partial, resume, on_epoch))
    blend = Blend.linear(states, alphas) if method == "linear" else Blend.curvilinear(states, alphas)
    return score_path(bench, method, alphas, blend)
