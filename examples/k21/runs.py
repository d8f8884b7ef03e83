"""What the figures share: reading training runs of linear networks, and words for the captions."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lcstool.checkpoint import open_checkpoint
from lcstool.lcn.file import LcnFile, read_lcn
from lcstool.plots.style import COLOURS
from lcstool.stages.linear.compose.trajectories import Trajectories, follow

_MULTIPLE = {"1": "simple", "2": "double", "3": "triple"}
TARGET, END, RUN = COLOURS[2], COLOURS[1], COLOURS[0]


def networks(file: Path) -> LcnFile:
    """The networks of a training run, before and after."""
    return read_lcn(open_checkpoint(str(file)))


def followed(file: Path, num_runs: int) -> Trajectories:
    """The first runs of a file once more, with all that happens on the way."""
    return follow(networks(file), num_runs)


def kernels(sizes: Sequence[int], strides: Sequence[int] | None = None) -> str:
    """`k = (3,2)`, and strides where one is not 1: `k = (3,2), s = (2,1)`."""
    text = f"k = ({','.join(map(str, sizes))})"
    return text if strides is None or set(strides) == {1} else f"{text}, s = ({','.join(map(str, strides))})"


def entries(values: Sequence[float]) -> str:
    """A filter in few digits, without negative zeros."""
    return ", ".join(f"{round(value, 4) + 0.0:g}" for value in values)


def percent(part: int, whole: int) -> float:
    return 100 * part / whole


def roots(pattern: str) -> str:
    """`211|1` in words: double, 2 simple, complex pair."""
    words = []
    for text, kind in zip(pattern.split("|"), ("", "complex pair"), strict=True):
        for multiplicity, number in sorted(Counter(text.replace("0", "")).items(), reverse=True):
            name = (
                _MULTIPLE.get(multiplicity, f"{multiplicity}-fold") if multiplicity != "1" or not kind else ""
            )
            count = "" if number == 1 else str(number)
            words.append(" ".join(word for word in (count, name, kind) if word))
    return ", ".join(words)


def is_repeated(pattern: str) -> bool:
    """Whether a filter of this pattern has a root more than once."""
    return any("1" < multiplicity <= "9" for multiplicity in pattern)


def by_stem(files: Sequence[Path], prefix: str) -> dict[str, Path]:
    """`ends-3,2.json` of the inputs under `3,2`."""
    return {file.stem.removeprefix(prefix): file for file in files if file.stem.startswith(prefix)}


Document = dict[str, Any]
