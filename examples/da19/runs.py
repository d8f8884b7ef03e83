"""The runs of da19, by file name: kind, seed, switch time t_w: `efcn-0-04`, `alexnet-efcn-0-04`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.ticker import LogLocator, NullLocator
from recipe import Recipe, epochs, load, trained

from lcstool.plots.style import COLOURS, SEQUENTIAL

T_W = r"$t_\mathrm{w}$"
CNN_COLOUR, FCN_COLOUR, EFCN_COLOUR = "black", COLOURS[1], COLOURS[0]
NOISE = 1.0  # points of test accuracy: about the standard error of a difference, on 4,000 to 10,000 images
CONVERGED = 0.05  # nats of training loss
NO_ALEXNET = "needs a second data set: CIFAR100=cifar100 or CIFAR100=npz:FILE"


@dataclass(frozen=True)
class Runs:
    """The networks among a recipe's inputs.

    Attributes:
        made: The recipe.
        net: What names begin with: nothing for VanillaCNN, `alexnet-`.
    """

    made: Recipe
    net: str = ""

    def _parts(self, kind: str) -> list[list[str]]:
        """Seed and, where there is one, switch time of all files of a kind."""
        start = f"{self.net}{kind}-"
        return [f.stem.removeprefix(start).split("-") for f in self.made.files if f.stem.startswith(start)]

    @property
    def times(self) -> list[str]:
        """The switch times as they stand in names, ascending; none where there are no runs."""
        return sorted({time for _, time in self._parts("efcn")})

    @property
    def moments(self) -> list[int]:
        return [int(time) for time in self.times]

    @property
    def seeds(self) -> list[str]:
        return sorted({seed for seed, _ in self._parts("efcn")})

    def file(self, kind: str, time: str | None = None, seed: str | None = None) -> Path:
        seed = self.seeds[0] if seed is None else seed
        return self.made.input(f"{self.net}{kind}-{seed}" + (f"-{time}" if time is not None else ""))

    def copies(self, kind: str, time: str) -> dict[int, Path]:
        """The copies of a network that were kept in its training, by epoch: they lie beside its file."""
        file = self.file(kind, time)
        found = file.parent.glob(f"{file.stem}.epoch*{file.suffix}")
        return dict(sorted((int(path.stem.rpartition(".epoch")[2]), path) for path in found))

    def scores(self, kind: str, seed: str | None = None) -> dict[str, list[float]]:
        """Losses and accuracies of the CNN at each switch time and at its end; or of the FCN at its end and start."""
        return dict(load(self.file(f"scores-{kind}", seed=seed))["paths"][0])

    def starts(self, measure: str, seed: str | None = None) -> list[float]:
        """What eFCNs start from, at each switch time: `train_loss_nats`, `test_accuracy_frac`."""
        return self.scores("cnn", seed)[measure][: len(self.times)]

    def differs(self) -> str:
        """What of images and size is not as in the paper: for the remark beside a value of the paper's."""
        config = trained(self.file("cnn"))["config"]
        other = "other images" if self.made.dataset == "leaves" else ""
        side = f"images of side {config['image_size']}" if config["image_size"] else ""
        size = f"alpha {config['alpha']}, not 64" if config["alpha"] not in (None, 64) else ""
        length = f"{config['epochs']} epochs of the CNN, not 150" if config["epochs"] != 150 else ""
        return ", ".join(filter(None, (other, side, size, length)))

    def of_seeds(self, kind: str, time: str | None, *keys: str) -> list[Any]:
        """A metric of all seeds: metrics[key][key]..."""
        return [dig(trained(self.file(kind, time, seed))["metrics"], *keys) for seed in self.seeds]

    def accuracies(self, kind: str, time: str | None = None) -> list[float]:
        """Test accuracies of all seeds, in %."""
        return [100 * value for value in self.of_seeds(kind, time, "test_accuracy_frac")]

    def best_accuracy(self, kind: str) -> float:
        """The best test accuracy over the epochs, in %, mean over seeds."""
        return mean(
            [
                100 * max(record["test_accuracy_frac"] for record in epochs(self.file(kind, seed=seed)))
                for seed in self.seeds
            ]
        )

    def gains(self) -> list[float]:
        """Test accuracy that each eFCN gains in its training, in points, mean over seeds."""
        starts = [self.starts("test_accuracy_frac", seed) for seed in self.seeds]
        return [
            mean(self.accuracies("efcn", time)) - 100 * mean([start[place] for start in starts])
            for place, time in enumerate(self.times)
        ]

    def noise(self) -> float:
        """The difference of test accuracies, in points, below which they are the same."""
        spreads = [max(found) - min(found) for found in (self.accuracies("efcn", t) for t in self.times)]
        return max(NOISE, *spreads)

    @property
    def converged(self) -> bool:
        """Whether all eFCNs end at a training loss near zero."""
        return max(self._end_loss("efcn", time) for time in self.times) <= CONVERGED

    @property
    def cnn_converged(self) -> bool:
        return self._end_loss("cnn") <= CONVERGED

    def _end_loss(self, kind: str, time: str | None = None) -> float:
        return float(epochs(self.file(kind, time))[-1]["train_loss_nats"])

    def if_ended(self, holds: bool | None) -> bool | None:
        """A verdict on where training ends: far from zero loss, eFCNs speak neither for nor against it."""
        return holds if self.converged else None


def dig(metrics: Any, *keys: str) -> Any:
    for key in keys:
        metrics = metrics[key]
    return metrics


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def spread(values: Sequence[float]) -> str:
    """What to remark where a mean stands for several seeds."""
    return f"seeds {min(values):.4g} to {max(values):.4g}" if len(values) > 1 else ""


def joined(*remarks: str) -> str:
    return "; ".join(filter(None, remarks))


def listed(values: Sequence[float], digits: int = 3) -> str:
    return ", ".join(f"{value:.{digits}g}" for value in values)


def always(margins: Sequence[float], noise: float) -> bool | None:
    """Whether all are positive; None where some are not, by no more than noise."""
    if min(margins) > 0:
        return True
    return False if min(margins) < -noise else None


def clearly(margin: float, noise: float) -> bool | None:
    """Whether a difference is positive; None where it is within the noise."""
    return None if abs(margin) <= noise else margin > 0


def rises(values: Sequence[float]) -> list[float]:
    return [after - before for before, after in pairwise(values)]


def shades(times: Sequence[Any]) -> list[Any]:
    """A colour for each switch time, from purple to light green."""
    return [colormaps[SEQUENTIAL](0.92 * place / max(1, len(times) - 1)) for place in range(len(times))]


def against_time(axis: Any, last: float, label: str = f"switch time {T_W} (epochs)") -> None:
    """A logarithmic axis of epochs that begins at 0."""
    axis.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = [tick for tick in (0, 1, 2, 5, 10, 20, 50, 100, 200) if tick <= last]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlim(-0.15, last * 1.12)
    axis.set_xlabel(label)


def log_scale(axis: Any) -> None:
    """A logarithmic axis with numbers enough to read it by: 1, 2 and 5 of each decade where there are few decades."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_locator(NullLocator())


def curve_of_seeds(axis: Any, x: Sequence[float], values: Sequence[Sequence[float]], **style: Any) -> None:
    """The mean over seeds, and bars from the lowest to the highest where there are several."""
    middle = [mean(v) for v in values]
    low = [m - min(v) for m, v in zip(middle, values, strict=True)]
    high = [max(v) - m for m, v in zip(middle, values, strict=True)]
    several = any(len(v) > 1 for v in values)
    axis.errorbar(x, middle, [low, high] if several else None, capsize=1.5, elinewidth=0.7, **style)
