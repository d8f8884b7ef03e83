"""What decides an embedding, with the defaults and the help the command line shows. No torch here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcstool.data import parse_dataset
from lcstool.errors import UsageError
from lcstool.models.registry import TORCHVISION
from lcstool.models.spec import CONNECTIVITIES, NORMS
from lcstool.options import STORAGES, check_choices, data_dir_option, option, parse_input_shape


@dataclass(frozen=True)
class EmbedConfig:
    """One embedding. The same fields as the flags of `lcstool embed`; `file` is its argument."""

    file: str = option("-", "The network's file.", "Network", argument=True)
    model: str | None = option(
        None, "For a state dict lcstool did not write: its architecture (torchvision:vgg11_bn).", "Network"
    )
    input: str | None = option(None, "For such a state dict: the input's shape, CxHxW.", "Network")

    to: str = option("fc", "Connectivity of the embedded layers.", "Embedding", choices=CONNECTIVITIES)
    layers: tuple[str, ...] = option(
        (), "Layers to embed, by name or pattern; may be repeated [default: all].", "Embedding"
    )
    norm: str = option(
        "units",
        "Batch norm after embedded layers: over units, over channels as it was (equal in training too), or folded.",
        "Embedding",
        choices=NORMS,
    )
    fold_bn: bool = option(False, "The same as --norm folded.", "Embedding")
    pad_inputs: bool = option(
        False, "Let the matrices see the zero padding too, as the paper does.", "Embedding"
    )
    storage: str = option(
        "dense",
        "How large matrices are stored: csr keeps what the convolution reaches, auto the smaller of both.",
        "Embedding",
        choices=STORAGES,
    )

    dataset: str | None = option(
        None, "Compare the logits on this data set's images too.", "Check", choices="datasets"
    )
    data_dir: str | None = data_dir_option("Check")
    tolerance: float | None = option(
        None,
        "Largest difference of the logits, relative to their spread over the images [default: 1e-10; folded: 1e-4].",
        "Check",
    )
    seed: int = option(0, "Seed of the random images of the check.", "Check")

    def __post_init__(self) -> None:
        check_choices(self)
        if self.model is not None and not self.model.startswith(TORCHVISION):
            raise UsageError(f"model {self.model!r} is not of the form {TORCHVISION}NAME")
        if (self.model is None) != (self.input is None):
            raise UsageError("--model and --input go together: the architecture and the shape of its images")
        if self.input is not None:
            self.input_shape()
        if self.dataset is not None:
            parse_dataset(self.dataset)
        if self.tolerance is not None and not self.tolerance >= 0:
            raise UsageError(f"tolerance must be >= 0, got {self.tolerance}")
        if self.fold_bn and self.norm == "channels":
            raise UsageError("--fold-bn and --norm channels contradict each other")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must be in [0, 2^32), got {self.seed}")

    def norm_name(self) -> str:
        return "folded" if self.fold_bn else self.norm

    def input_shape(self) -> tuple[int, int, int]:
        """`input` as channels, height, width."""
        return parse_input_shape(self.input or "")

    def portable(self) -> dict[str, Any]:
        """The configuration as a history entry keeps it: what can change a number, without folders."""
        source, colon, path = (self.dataset or "").partition(":")
        return {
            "to": self.to,
            "layers": list(self.layers),
            "norm": self.norm_name(),
            "pad_inputs": self.pad_inputs,
            "storage": self.storage,
            "model": self.model,
            "input": self.input,
            "dataset": (source + colon + Path(path).name if colon else source) or None,
        }
