"""The options of a conversion, with the defaults and the help that the command line shows. No torch here."""

from dataclasses import dataclass

from lcstool.choices import CONVERTED_WEIGHTS, STORAGES
from lcstool.errors import UsageError
from lcstool.options import (
    Config,
    described_model_option,
    file_argument,
    input_option,
    key_option,
    model_arg_option,
    option,
)
from lcstool.parsing import parse_channels, parse_input_shape


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(Config):
    """One conversion. The same fields as the flags of `lcstool convert`; `file` is its argument."""

    file: str = file_argument("A network's file: safetensors, an index of several, or of torch.save.")
    key: str | None = key_option("Network")
    model: str | None = described_model_option(
        "Network", "The network that the weights belong to; the file then is one like those of lcstool train."
    )
    model_arg: tuple[str, ...] = model_arg_option("Network")
    input: str | None = input_option("Network", "With --model: the shape of the network's input, CxHxW.")
    mean: str | None = option(
        None,
        "What the network's training subtracted from each channel, in units of white; one number, or one "
        "a channel joined by commas.",
        "Network",
    )
    std: str | None = option(None, "What it then divided each channel by, in units of white.", "Network")
    weights: str = option(
        "effective",
        "effective: the weights as the layers apply them, those kept in parts (weight norm, pruning masks) put "
        "together; stored: all tensors as they are.",
        "Weights",
        choices=CONVERTED_WEIGHTS,
    )
    storage: str = option(
        "dense",
        "How weights are stored. csr: the non-zero ones only (compressed sparse rows); auto: the smaller of both.",
        "Weights",
        choices=STORAGES,
    )

    def check(self) -> None:
        if self.model is None:
            self.refuse(("model_arg", "input"), "without --model")
        elif self.weights == "stored":
            raise UsageError(
                "--weights stored and --model contradict each other: a network has effective weights"
            )
        if (self.mean is None) != (self.std is None):
            raise UsageError("--mean and --std belong together")
        if self.input is not None:
            self.normalisation(self.input_shape()[0])

    def input_shape(self) -> tuple[int, int, int]:
        """`input` as channels, height, width."""
        return parse_input_shape(self.input or "")

    def normalisation(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """`mean` and `std`, a number for each channel; None where nothing is known of them."""
        if self.mean is None or self.std is None:
            return None
        mean, std = (
            parse_channels(text, channels, name) for text, name in ((self.mean, "mean"), (self.std, "std"))
        )
        if min(std) <= 0:
            raise UsageError(f"std {self.std!r} must be positive")
        return mean, std
