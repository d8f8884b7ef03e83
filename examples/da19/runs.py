"""The runs of da19, by file name: kind, seed, switch time t_w: `efcn-0-04`, `alexnet-efcn-0-04`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.ticker import LogLocator, NullLocator
from recipe import Recipe, trained

from lcstool.plots.style import COLOURS, SEQUENTIAL

BY_SECTION = "The paper's caption of this number was not at hand: drawn is the experiment of its section."
T_W = r"$t_\mathrm{w}$"
CNN_COLOUR, FCN_COLOUR = "black", COLOURS[1]
# The paper's values as they stand in the text, for CIFAR-10.
PAPER = {"cnn": "~72 %", "fcn": "55 to 57.5 %", "efcn at 0": "~62.5 %", "best": "above 0, t_w ~ 20"}


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
        """The switch times as they stand in names, ascending."""
        return sorted({time for _, time in self._parts("efcn")})

    @property
    def seeds(self) -> list[str]:
        return sorted({seed for seed, _ in self._parts("efcn")})

    def file(self, kind: str, time: str | None = None, seed: str | None = None) -> Path:
        seed = self.seeds[0] if seed is None else seed
        return self.made.input(f"{self.net}{kind}-{seed}" + (f"-{time}" if time is not None else ""))

    def copy(self, time: str, seed: str | None = None) -> Path:
        """The CNN as it was at a switch time: it lies beside the CNN's file."""
        cnn = self.file("cnn", seed=seed)
        return cnn.with_name(f"{cnn.stem}.epoch{time}{cnn.suffix}")

    def differs(self) -> str:
        """What of images and size is not as in the paper: for the remark beside a value of the paper's."""
        config = trained(self.file("cnn"))["config"]
        other = "other images" if self.made.dataset == "leaves" else ""
        side = f"images of side {config['image_size']}" if config["image_size"] else ""
        size = f"alpha {config['alpha']}, not 64" if config["alpha"] not in (None, 64) else ""
        return ", ".join(filter(None, (other, side, size)))

    def of_seeds(self, kind: str, time: str | None, *keys: str) -> list[float]:
        """A metric of all seeds: metrics[key][key]..."""
        return [dig(trained(self.file(kind, time, seed))["metrics"], *keys) for seed in self.seeds]

    def accuracies(self, kind: str, time: str | None = None) -> list[float]:
        """Test accuracies of all seeds, in %."""
        return [100 * value for value in self.of_seeds(kind, time, "test_accuracy_frac")]


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


def shades(times: Sequence[str]) -> list[Any]:
    """A colour for each switch time, from purple to light green."""
    return [colormaps[SEQUENTIAL](0.92 * place / max(1, len(times) - 1)) for place in range(len(times))]


def against_time(axis: Any, last: float, label: str = f"switch time {T_W} (epochs)", first: int = 0) -> None:
    """A logarithmic axis of epochs that begins at 0, or at 1."""
    axis.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = [tick for tick in (0, 1, 2, 5, 10, 20, 50, 100, 200) if first <= tick <= last]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlim(first * 0.9 if first else -0.15, last * 1.12)
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
