"""The linear train stage: learn a filter from many initialisations at once, and write where each run started and ended.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), section 5 and the experiments.
"""

from collections import Counter
from typing import Any

import torch

from lcstool.devices import memory_errors, resolve_device
from lcstool.errors import NonFiniteError
from lcstool.lcn import LinearConvArchitecture, root_pattern
from lcstool.lcn.descent import descend
from lcstool.lcn.file import LcnFile, layer_names, write_lcn
from lcstool.lcn.flow import flow
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.runs import Runs, initial_filters
from lcstool.parsing import parse_architecture
from lcstool.randomness import stream
from lcstool.record import history_entry, portable_config
from lcstool.stages.linear.train.config import LinearTrainConfig
from lcstool.stages.linear.train.regression import regression_loss
from lcstool.stages.linear.train.result import LinearTrainResult

END_NOISE = 1e-5  # relative: a descent that ends at a multiple root comes near it slowly


def train(config: LinearTrainConfig, out: str) -> LinearTrainResult:
    """Train, and write one file of kind `lcn` with the networks before and after, losses, and what the runs came to.

    Args:
        config: The training.
        out: The file, or `-`.

    Raises:
        NonFiniteError: all runs diverged.
        LcsError: for everything else a user can mend.
    """
    architecture = LinearConvArchitecture(*parse_architecture(config.kernels, config.strides))
    with memory_errors():
        device = resolve_device(config.device)
        loss, inputs = regression_loss(config, architecture)
        loss = QuadraticLoss(loss.target.to(device), loss.moment_KK.to(device), loss.floor)
        generator = stream(config.seed, "init")
        initial = [
            layer.to(device)
            for layer in initial_filters(architecture, config.runs, config.init_scale, generator)
        ]
        if config.method == "flow":
            runs = flow(architecture, loss, initial, max_steps=config.steps)
        else:
            runs = descend(architecture, loss, initial, config.lr, config.steps)
    if bool(runs.diverged_R.all()):
        rate = "" if config.method == "flow" else f"--lr (now {config.lr:g}) or "
        raise NonFiniteError("all runs diverged", hint=f"lower {rate}--init-scale")
    metrics = _metrics(runs)
    entry = history_entry(
        "linear-train", portable_config(config), inputs=inputs, metrics=metrics, seed=config.seed
    )
    write_lcn(out, _file(runs), entry)
    return LinearTrainResult(out, runs, metrics)


def _metrics(runs: Runs) -> dict[str, Any]:
    kept_R = ~runs.diverged_R
    losses_R = runs.losses_CR[-1][kept_R]
    return {
        "num_runs": runs.num_runs,
        "num_converged": int(runs.converged_R.sum()),
        "num_diverged": int(runs.diverged_R.sum()),
        "patterns": dict(sorted(_patterns(runs).items())),
        "loss_min": float(losses_R.min()),
        "loss_median": float(losses_R.median()),
        "loss_max": float(losses_R.max()),
        "loss_floor": runs.loss.floor,
        "invariant_drift": float(runs.drift_R[kept_R].max()),
        "steps_max": float(runs.stopped_R.max()),
    }


def _patterns(runs: Runs) -> Counter[str]:
    """Root patterns of the end-to-end filters: how many converged runs ended at each."""
    filters_RK = runs.end_RK.cpu()
    smallest = END_NOISE * float(runs.loss.target.norm())
    return Counter(
        "zero" if float(filter_K.norm()) <= smallest else root_pattern(filter_K, noise=END_NOISE).label
        for filter_K in filters_RK[runs.converged_R.cpu()]
    )


def _file(runs: Runs) -> LcnFile:
    recorded = dict(zip(layer_names(runs.architecture, "initial/"), runs.initial, strict=True))
    recorded |= {
        "target": runs.loss.target,
        "moment": runs.loss.moment_KK,
        "times": runs.times_C,
        # A diverged run has no end: zeros and -1 keep the file free of NaN, and `diverged` says which they are.
        "losses": torch.nan_to_num(runs.losses_CR, nan=-1.0, posinf=-1.0),
        "gradient_norm": torch.nan_to_num(runs.gradient_norm_R, nan=-1.0, posinf=-1.0),
        "converged": runs.converged_R,
        "diverged": runs.diverged_R,
    }
    return LcnFile(
        architecture=runs.architecture,
        filters=tuple(torch.nan_to_num(layer, nan=0.0).cpu() for layer in runs.filters),
        recorded={name: tensor.cpu() for name, tensor in recorded.items()},
    )
