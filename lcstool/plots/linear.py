"""Figures of training runs: losses and invariants over time, and the paths of filters in the space of all filters."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from lcstool.plots.style import COLOURS, COLUMN_INCHES, figure

if TYPE_CHECKING:
    from lcstool.stages.linear.compose.trajectories import Trajectories


def draw(runs: "Trajectories", folder: Path) -> list[Path]:
    """Draw `training` for any architecture, and `space` for two layers of two entries; return the files made."""
    made: list[Path] = []
    _draw_training(runs, folder, made)
    if runs.architecture.kernels == (2, 2) and runs.architecture.strides[0] == 1:
        _draw_space(runs, folder, made)
    return made


def _draw_training(runs: "Trajectories", folder: Path, made: list[Path]) -> None:
    times = runs.times_C.numpy()[1:]
    label = "time of the flow" if runs.method == "flow" else "step"
    with figure(folder, "training", COLUMN_INCHES, 4.0, made) as fig:
        top, bottom = fig.subplots(2, 1, sharex=True)
        top.plot(
            times, np.maximum(runs.losses_CR.numpy()[1:], 1e-30), color=COLOURS[0], linewidth=0.7, alpha=0.7
        )
        top.set(xscale="log", yscale="log", ylabel="loss above the floor")
        change = (runs.invariants_CRL[1:] - runs.invariants_CRL[:1]).abs().amax(dim=2).numpy()
        bottom.plot(times, np.maximum(change, 1e-17), color=COLOURS[1], linewidth=0.7, alpha=0.7)
        bottom.set(xscale="log", yscale="log", xlabel=label, ylabel="change of an invariant")


def _draw_space(runs: "Trajectories", folder: Path, made: list[Path]) -> None:
    """Draw filters a x^2 + b x + c as points: where runs go, and the cone b^2 = 4 a c of filters with a double root.

    Filters outside the cone have real roots, and are those that the network can represent.
    """
    ends, target = runs.ends_CRK.numpy(), runs.target_K.numpy()
    reach = 1.15 * max(np.abs(ends[-1]).max(), np.abs(target).max(), np.quantile(np.abs(ends[0]), 0.8))
    radius, turn = np.meshgrid(np.linspace(0, np.sqrt(reach), 30), np.linspace(0, 2 * np.pi, 60))
    p, q = radius * np.cos(turn), radius * np.sin(turn)
    with figure(folder, "space", COLUMN_INCHES, COLUMN_INCHES, made) as fig:
        axis = fig.add_subplot(projection="3d")
        for sign in (1, -1):  # +-(p x + q)^2
            axis.plot_surface(
                sign * p * p, sign * 2 * p * q, sign * q * q, color="0.75", alpha=0.35, linewidth=0
            )
        for run in range(ends.shape[1]):
            path = np.where(np.abs(ends[:, run]) <= reach, ends[:, run], np.nan)
            axis.plot(*path.T, color=COLOURS[0], linewidth=0.7)
            axis.plot(*ends[:1, run].T, "o", color=COLOURS[0], markersize=1.5)
            axis.plot(*ends[-1:, run].T, "o", color=COLOURS[1], markersize=3)
        axis.plot(*target[:, None], "*", color=COLOURS[2], markersize=8)
        axis.set(
            xlabel="$a$",
            ylabel="$b$",
            zlabel="$c$",
            xlim=(-reach, reach),
            ylim=(-reach, reach),
            zlim=(-reach, reach),
        )
        for own in (axis.xaxis, axis.yaxis, axis.zaxis):
            own.set_major_locator(MaxNLocator(4))
        axis.tick_params(labelsize=6, pad=-2)
        axis.set_box_aspect((1, 1, 1), zoom=0.92)
        handles = [
            axis.plot([], [], "o-", color=COLOURS[0], markersize=1.5, linewidth=0.7, label="runs")[0],
            axis.plot([], [], "o", color=COLOURS[1], markersize=3, label="where they end")[0],
            axis.plot([], [], "*", color=COLOURS[2], label="target")[0],
            axis.plot([], [], "s", color="0.75", label="double roots: $b^2 = 4ac$")[0],
        ]
        fig.legend(handles=handles, loc="outside upper center", ncols=2)
        axis.view_init(elev=18, azim=-50)
