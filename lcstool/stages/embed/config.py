"""The options of an embedding, with the defaults and the help that the command line shows. No torch here."""

from dataclasses import dataclass

from lcstool.choices import CONNECTIVITIES, EMBEDDED_NORMS, STORAGES
from lcstool.errors import UsageError
from lcstool.options import (
    Config,
    data_dir_option,
    dataset_option,
    described_model_option,
    file_argument,
    input_option,
    key_option,
    model_arg_option,
    model_arguments,
    option,
    seed_option,
)
from lcstool.parsing import parse_input_shape


@dataclass(frozen=True, kw_only=True)
class EmbedConfig(Config):
    """One embedding. The same fields as the flags of `lcstool embed`; `file` is its argument."""

    file: str = file_argument("The network's file.")
    key: str | None = key_option("Network")
    model: str | None = described_model_option(
        "Network",
        "The network of a file that lcstool did not write; or leave to run the code that one of its own names.",
    )
    model_arg: tuple[str, ...] = model_arg_option("Network")
    input: str | None = input_option(
        "Network", "For a file that lcstool did not write: the shape of the network's input, CxHxW."
    )

    to: str = option(
        "fc",
        "Replace convolutions by fully-connected (fc) or locally-connected layers (local).",
        "Embedding",
        choices=CONNECTIVITIES,
    )
    layers: tuple[str, ...] = option(
        (), "Convolutions to replace, by name or pattern; may be repeated [default: all].", "Embedding"
    )
    norm: str = option(
        "units",
        "Batch norm after an embedded layer. units: normalises each unit; channels: normalises each channel, as in the "
        "CNN, so that training is the same too; folded: becomes part of the layer's weights.",
        "Embedding",
        choices=EMBEDDED_NORMS,
    )
    fold_bn: bool = option(False, "The same as --norm folded.", "Embedding", recorded=False)
    pad_inputs: bool = option(
        False, "Give fully-connected layers their input with its zero padding, as in the paper.", "Embedding"
    )
    storage: str = option(
        "dense",
        "How weights of fully-connected layers are stored. csr: only the entries that the convolution has (compressed "
        "sparse rows); auto: the smaller of both.",
        "Embedding",
        choices=STORAGES,
    )

    dataset: str | None = dataset_option(
        "Check", "Compare the logits of both networks on the images of this data set too."
    )
    data_dir: str | None = data_dir_option("Check")
    tolerance: float | None = option(
        None,
        "Largest difference allowed between the logits of both networks, divided by their spread over the images "
        "[default: 1e-10; folded: 1e-4].",
        "Check",
        at_least=0,
        recorded=False,
    )
    seed: int = seed_option("Check", "Seed of the random images on which logits are compared.")

    def check(self) -> None:
        if self.model is None:
            self.refuse(("model_arg", "input"), "without --model")
        model_arguments(self.model_arg)
        if self.input is not None:
            self.input_shape()
        if self.fold_bn and self.norm == "channels":
            raise UsageError("--fold-bn and --norm channels contradict each other")

    def norm_name(self) -> str:
        return "folded" if self.fold_bn else self.norm

    def input_shape(self) -> tuple[int, int, int]:
        """`input` as channels, height, width."""
        return parse_input_shape(self.input or "")
