"""What decides a bound, with the defaults and the help. No torch here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcstool.data import parse_dataset
from lcstool.errors import UsageError
from lcstool.options import check_choices, data_dir_option, option

CODES = ("paper", "comb", "structured", "entropy")
QUANTIZERS = ("uniform", "kmeans")
BN = ("fold", "count")


@dataclass(frozen=True)
class BoundConfig:
    """One bound. The same fields as the flags of `lcstool bound`; `file` is its argument."""

    file: str = option("", "A network, or with --decode its bit string.", "Network", argument=True)
    bn: str = option(
        "fold",
        "Batch norms: folded into the layers before them, or every scale, shift and statistic counted.",
        "Network",
        choices=BN,
    )
    bits: int = option(
        32,
        "Bits of a value: 32 as they are, 16 rounded to half precision, 1 to 12 on a grid a layer.",
        "Network",
    )
    quantizer: str = option(
        "uniform",
        "The grid: equal steps, or the k-means of a layer's weights.",
        "Network",
        choices=QUANTIZERS,
    )

    dataset: str = option(
        "leaves", "Data set whose training images are the evidence.", "Evidence", choices="datasets"
    )
    data_dir: str | None = data_dir_option("Evidence")
    samples: int | None = option(None, "Instead of a data set: the number of training images.", "Evidence")
    train_error: float | None = option(
        None, "With --samples: the network's training error, 0 to 1.", "Evidence"
    )
    delta: float = option(0.05, "The bound may fail with this probability.", "Evidence")

    code: str = option("all", "Code of the description.", "Code", choices=(*CODES, "all"))
    most: int = option(
        2_000_000,
        "Encode and decode networks of up to so many non-zeros; beyond, lengths are by formula.",
        "Code",
    )

    search: bool = option(
        False,
        "Prune and quantise in many ways, pay for the choice, and report the best certificate.",
        "Search",
    )
    search_prune: tuple[str, ...] = option(
        ("0", "0.3", "0.5", "0.7", "0.8", "0.9", "0.95"),
        "Shares of the weights to prune, joined by commas.",
        "Search",
    )
    search_bits: tuple[str, ...] = option(
        ("2", "3", "4", "5", "8"), "Bits of a value, joined by commas.", "Search"
    )

    device: str = option("auto", "auto, cpu, cuda or cuda:i.", "Run")

    def __post_init__(self) -> None:
        check_choices(self)
        parse_dataset(self.dataset)
        if not (1 <= self.bits <= 12 or self.bits in (16, 32)):
            raise UsageError(f"bits must be 1 to 12, 16 or 32, got {self.bits}")
        if not 0 < self.delta < 1:
            raise UsageError(f"delta must lie strictly between 0 and 1, got {self.delta}")
        if (self.samples is None) != (self.train_error is None):
            raise UsageError("--samples and --train-error belong together")
        if self.samples is not None and self.samples < 1:
            raise UsageError(f"samples must be >= 1, got {self.samples}")
        if self.train_error is not None and not 0 <= self.train_error <= 1:
            raise UsageError(f"train_error must lie in [0, 1], got {self.train_error}")
        if self.samples is not None and self.search:
            raise UsageError("--search measures the training error of every candidate; it needs a --dataset")
        if self.samples is not None and self.bits != 32:
            raise UsageError("--bits changes the network, so its training error must be measured, not given")
        self.fractions()
        self.widths()

    def codes(self) -> tuple[str, ...]:
        return CODES if self.code == "all" else (self.code,)

    def fractions(self) -> tuple[float, ...]:
        """`search_prune` as numbers."""
        shares = tuple(
            _number(part, "search_prune") for text in self.search_prune for part in text.split(",")
        )
        if not shares or not all(0 <= share <= 1 for share in shares):
            raise UsageError(f"search_prune takes shares from 0 to 1, got {', '.join(self.search_prune)}")
        return shares

    def widths(self) -> tuple[int, ...]:
        """`search_bits` as numbers."""
        widths = tuple(_number(part, "search_bits") for text in self.search_bits for part in text.split(","))
        if not widths or not all(width in (*range(1, 13), 16, 32) for width in widths):
            raise UsageError(f"search_bits takes 1 to 12, 16 and 32, got {', '.join(self.search_bits)}")
        return tuple(int(width) for width in widths)

    def portable(self) -> dict[str, Any]:
        """The configuration as a history entry keeps it: what can change a number, without folders."""
        fields = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}
        for name in ("file", "data_dir", "device"):
            del fields[name]
        source, colon, path = self.dataset.partition(":")
        return fields | {"dataset": source + colon + Path(path).name if colon else source}


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name}: {text!r} is not a number") from None
