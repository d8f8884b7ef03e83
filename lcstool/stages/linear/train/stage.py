"""Train linear convolutional networks on a regression, many initialisations at once.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5 and the experiments.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lcstool.devices import memory_errors, resolve_device
from lcstool.errors import BadInputError, NonFiniteError, UsageError
from lcstool.lcn import LinearConvArchitecture, root_pattern
from lcstool.lcn.descent import descend
from lcstool.lcn.file import LcnFile, layer_names, write_lcn
from lcstool.lcn.flow import flow
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.runs import Runs, initial_filters
from lcstool.parsing import parse_architecture, parse_filter
from lcstool.randomness import stream
from lcstool.record import versions
from lcstool.stages.train.config import TrainConfig

# Shape suffixes: R runs, K entries of the end-to-end filter, N samples, T entries of an input, P outputs.

END_NOISE = 1e-5  # relative: a descent that ends at a multiple root comes near it slowly


@dataclass(frozen=True, eq=False)
class LcnResult:
    """What the runs came to.

    Attributes:
        runs: All of them.
        patterns: Root pattern of the end-to-end filter: how many converged runs ended so.
        drift: The largest change of an invariant, of all runs that did not diverge.
        metrics: For the history and JSON.
    """

    runs: Runs
    patterns: Counter[str]
    drift: float
    metrics: dict[str, Any]


def train_lcn(config: TrainConfig, out: str, on_record: Callable[[float], None] | None = None) -> LcnResult:
    """Train, and write one file of kind `lcn` with the networks before and after, losses, and what the runs came to.

    Args:
        config: With `arch` lcn.
        out: The file, or `-`.
        on_record: Told now and then of the steps done, or of the time reached by a flow.

    Raises:
        NonFiniteError: all runs diverged.
        LcsError: for everything else a user can mend.
    """
    assert config.kernels is not None
    architecture = LinearConvArchitecture(*parse_architecture(config.kernels, config.strides))
    with memory_errors():
        device = resolve_device(config.device)
        loss, inputs = _loss(config, architecture)
        loss = QuadraticLoss(loss.target.to(device), loss.moment_KK.to(device), loss.floor)
        generator = stream(config.seed, "init")
        initial = [
            layer.to(device)
            for layer in initial_filters(architecture, config.runs, config.init_scale, generator)
        ]
        if config.method == "flow":
            runs = flow(architecture, loss, initial, max_steps=config.steps, progress=on_record)
        else:
            runs = descend(architecture, loss, initial, config.lr, config.steps, progress=on_record)
    if bool(runs.diverged_R.all()):
        raise NonFiniteError("all runs diverged", hint=f"lower --lr (now {config.lr:g}) or --init-scale")
    result = _result(runs)
    entry = {
        "stage": "train",
        "config": _portable(config),
        "seed": config.seed,
        "versions": versions(),
        "inputs": inputs,
        "metrics": result.metrics,
    }
    write_lcn(out, _file(runs), entry)
    return result


def _portable(config: TrainConfig) -> dict[str, Any]:
    """The fields that such a run depends on, as a history entry keeps them."""
    names = (
        "kernels",
        "strides",
        "target",
        "noise",
        "runs",
        "init_scale",
        "method",
        "steps",
        "lr",
        "train_size",
    )
    regression = Path(config.regression).name if config.regression else None
    return {"arch": config.arch, "regression": regression} | {name: getattr(config, name) for name in names}


def _loss(config: TrainConfig, architecture: LinearConvArchitecture) -> tuple[QuadraticLoss, dict[str, str]]:
    """The loss, and digests of what it was made of."""
    if config.regression is not None:
        x_NT, y_NP = _read_regression(config.regression)
        return QuadraticLoss.of_data(x_NT, y_NP, architecture), {"regression": _digest(x_NT, y_NP)}
    assert config.target is not None
    target_K = torch.tensor(parse_filter(config.target, "target"), dtype=torch.float64)
    if len(target_K) != architecture.end_size:
        raise UsageError(
            f"the target has {len(target_K)} entries; layers of sizes {list(architecture.kernels)} and strides "
            f"{list(architecture.strides)} compose to {architecture.end_size}"
        )
    if config.train_size is None:
        if config.noise:
            raise UsageError("--noise is of sampled targets; say with --train-size how many")
        return QuadraticLoss.of_target(target_K), {}
    generator = stream(config.seed, "samples")
    x_NT = torch.randn(config.train_size, architecture.end_size, generator=generator, dtype=torch.float64)
    noise_N = torch.randn(config.train_size, generator=generator, dtype=torch.float64)
    y_NP = (x_NT @ target_K + config.noise * noise_N)[:, None]
    return QuadraticLoss.of_data(x_NT, y_NP, architecture), {}


def _read_regression(path: str) -> tuple[Tensor, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            x, y = (np.asarray(archive[name], dtype=np.float64) for name in ("x", "y"))
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # numpy raises many kinds for a damaged archive
        raise BadInputError(
            f"{path} is not an .npz archive with numbers x (samples, length) and y (samples, outputs): "
            f"{str(error)[:160]}"
        ) from None
    return torch.from_numpy(x), torch.from_numpy(y)


def _digest(*arrays: Tensor) -> str:
    """SHA-256 over shapes and bytes, as `sha256:...`."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(repr(list(array.shape)).encode())
        whole.update(array.numpy().tobytes())
    return f"sha256:{whole.hexdigest()}"


def _result(runs: Runs) -> LcnResult:
    filters_RK = runs.end_RK.cpu()
    patterns: Counter[str] = Counter()
    for index in torch.nonzero(runs.converged_R.cpu()).flatten().tolist():
        filter_K = filters_RK[index]
        zero = float(filter_K.norm()) <= END_NOISE * float(runs.loss.target.norm())
        patterns["zero" if zero else root_pattern(filter_K, noise=END_NOISE).label] += 1
    kept_R = ~runs.diverged_R
    drift = float(runs.drift_R[kept_R].max())
    losses_R = runs.losses_CR[-1][kept_R]
    metrics = {
        "num_runs": len(runs.converged_R),
        "num_converged": int(runs.converged_R.sum()),
        "num_diverged": int(runs.diverged_R.sum()),
        "patterns": dict(sorted(patterns.items())),
        "loss_min": float(losses_R.min()),
        "loss_median": float(losses_R.median()),
        "loss_max": float(losses_R.max()),
        "loss_floor": runs.loss.floor,
        "invariant_drift": drift,
        "steps_max": float(runs.stopped_R.max()),
    }
    return LcnResult(runs, patterns, drift, metrics)


def _file(runs: Runs) -> LcnFile:
    recorded = dict(zip(layer_names(runs.architecture, "initial/"), runs.initial, strict=True))
    recorded |= {
        "target": runs.loss.target,
        "moment": runs.loss.moment_KK,
        "times": runs.times_C,
        "losses": runs.losses_CR,
        "gradient_norm": runs.gradient_norm_R,
        "converged": runs.converged_R,
        "diverged": runs.diverged_R,
    }
    cpu = {name: tensor.cpu() for name, tensor in recorded.items()}
    # A diverged run has no end; zeros keep the file free of NaN, and `diverged` says which they are.
    filters = tuple(torch.nan_to_num(layer, nan=0.0).cpu() for layer in runs.filters)
    cpu["losses"] = torch.nan_to_num(cpu["losses"], nan=-1.0, posinf=-1.0)
    cpu["gradient_norm"] = torch.nan_to_num(cpu["gradient_norm"], nan=-1.0, posinf=-1.0)
    return LcnFile(runs.architecture, filters, cpu)
