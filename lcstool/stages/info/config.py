"""What `lcstool info` is asked, with the defaults and the help. No torch here."""

from dataclasses import dataclass

from lcstool.errors import UsageError
from lcstool.options import Config, data_dir_option, dataset_option, key_option, option

_PANEL = "Architectures"
_SIDES = (16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class InfoConfig(Config):
    """What to describe: a file, which is the argument, a data set, or the architectures."""

    file: str | None = option(None, "A file of tensors.", "", argument=True, optional=True, recorded=False)
    key: str | None = key_option("File")
    dataset: str | None = dataset_option(
        "Data", "Describe this data set: its images and classes, and where the decoded images are kept."
    )
    data_dir: str | None = data_dir_option("Data")
    archs: bool = option(False, "Print the parameter counts of all architectures.", _PANEL)
    alpha: tuple[int, ...] = option(
        (), "Number of base channels; may be repeated [default: those of the papers].", _PANEL, at_least=1
    )
    image_size: tuple[int, ...] = option(
        _SIDES,
        "Side of the images in pixels; with --archs it may be repeated. Without it a data set has its own size.",
        _PANEL,
        at_least=1,
    )

    def check(self) -> None:
        if [self.file is not None, self.dataset is not None, self.archs].count(True) != 1:
            raise UsageError(
                "give a file to describe, or --dataset, or --archs", hint="lcstool info net.safetensors"
            )
        if not self.archs:
            self.refuse(("alpha",), "without --archs")
        if self.file is None:
            self.refuse(("key",), "without a file")
        if self.file is not None:
            self.refuse(("image_size", "data_dir"), "on a file")
        if self.dataset is not None:
            self.image_side()

    def image_side(self) -> int | None:
        """The side asked for of a data set's images; None for their own."""
        if self.image_size == _SIDES:
            return None
        if len(self.image_size) > 1:
            raise UsageError("a data set is described at one --image-size at a time")
        return self.image_size[0]
