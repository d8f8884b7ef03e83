"""The options of a bound, with the defaults and the help. No torch here."""

from dataclasses import dataclass, fields

from lcstool.choices import CODES, DESCRIBED_NORMS, GRIDS
from lcstool.errors import UsageError
from lcstool.options import (
    Config,
    data_dir_option,
    dataset_option,
    device_option,
    file_argument,
    key_option,
    model_option,
    option,
)


@dataclass(frozen=True, kw_only=True)
class BoundConfig(Config):
    """One bound. The same fields as the flags of `lcstool bound`; `file` is its argument."""

    file: str = file_argument("A network, or with --decode the bit string of one.", default="")
    model: str | None = model_option("Network")
    key: str | None = key_option("Network")
    num_classes: int | None = option(
        None,
        "For a file that names no architecture: how many classes the network tells apart [default: the width of the "
        "layer whose output no other layer takes].",
        "Network",
        at_least=2,
        recorded_if_set=True,
    )
    bn: str = option(
        "fold",
        "Batch norms. fold: merge them into the layers before them; count: describe all their scales, shifts and "
        "statistics as well.",
        "Network",
        choices=DESCRIBED_NORMS,
    )
    bits: int = option(
        32,
        "Bits of each weight. 32: left as it is; 16: rounded to float16; 1 to 12: rounded to one of a few values, "
        "the layer's grid.",
        "Network",
    )
    quantizer: str = option(
        "uniform",
        "The grid for 1 to 12 bits. uniform: values at equal steps; kmeans: means of the layer's weights by k-means.",
        "Network",
        choices=GRIDS,
    )

    dataset: str | None = dataset_option(
        "Evidence",
        "Data set that the network was trained on, to measure its training error [default: as its file says].",
    )
    data_dir: str | None = data_dir_option("Evidence")
    samples: int | None = option(
        None, "Instead of a data set: the number of training images.", "Evidence", at_least=1
    )
    train_error: float | None = option(
        None, "With --samples: the network's training error, 0 to 1.", "Evidence", at_least=0, at_most=1
    )
    delta: float = option(0.05, "The bound may fail with this probability.", "Evidence", above=0, below=1)

    code: str = option(
        "all",
        "The code that turns the network into bits; all compares the codes.",
        "Code",
        choices=(*CODES, "all"),
    )
    most: int = option(
        2_000_000,
        "Make and decode bit strings for networks of at most this many non-zero weights; for larger ones only "
        "compute the length by its formula.",
        "Code",
        recorded=False,
    )

    search: bool = option(
        False,
        "Prune and round the network in many ways, and report the smallest bound. The bits that say which way was "
        "chosen are counted too.",
        "Search",
    )
    search_prune: tuple[str, ...] = option(
        ("0", "0.3", "0.5", "0.7", "0.8", "0.9", "0.95"),
        "Shares of the weights that the search prunes, joined by commas; of equal weights the first are pruned.",
        "Search",
    )
    search_bits: tuple[str, ...] = option(
        ("2", "3", "4", "5", "8"), "Bits of each weight that the search tries, joined by commas.", "Search"
    )

    device: str = device_option("Run")

    def check(self) -> None:
        if not (1 <= self.bits <= 12 or self.bits in (16, 32)):
            raise UsageError(f"bits must be 1 to 12, 16 or 32, got {self.bits}")
        if (self.samples is None) != (self.train_error is None):
            raise UsageError("--samples and --train-error belong together")
        if self.samples is not None and self.search:
            raise UsageError("--search measures the training error of every candidate; it needs a --dataset")
        if self.samples is not None and self.bits != 32:
            raise UsageError("--bits changes the network, so its training error must be measured, not given")
        self.fractions()
        self.widths()

    def effective(self) -> set[str]:
        """The fields that have an effect beside the others; a history entry keeps no more."""
        idle = set() if self.search else {"search_prune", "search_bits"}
        if self.search:
            idle |= {"bits", "quantizer"}
        if self.bits >= 16:
            idle.add("quantizer")
        if self.samples is not None:
            idle.add("dataset")
        return {entry.name for entry in fields(self)} - idle

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


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name}: {text!r} is not a number") from None
