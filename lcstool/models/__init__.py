"""The architectures of the papers, by name.

To add one, write a module with a function `build(spec) -> nn.Module` and add a line to ARCHITECTURES.
This file imports no torch, so that the command line can list the names at once.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lcstool.errors import BadInputError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lcstool.checkpoint import Checkpoint


@dataclass(frozen=True)
class Architecture:
    """One line of the registry.

    Attributes:
        module: Where its `build` is.
        summary: One line for people.
        alpha: Default number of base channels (the hidden width for 3-fc follows from it).
        smallest_image: Height and width below which its first kernel does not fit the image.
        fc_counterpart: The architecture whose parameter count sizes this one (`--fc-params`), if there is one.
        takes_kernel_size: Whether `kernel_size` means something to it.
    """

    module: str
    summary: str
    alpha: int
    smallest_image: int = 1
    fc_counterpart: str | None = None
    takes_kernel_size: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "s-conv": Architecture("lcstool.models.shallow", "9x9 conv stride 2, two FC layers", 32, 9, "s-fc"),
    "s-local": Architecture("lcstool.models.shallow", "s-conv without weight sharing", 32, 9, "s-fc"),
    "s-fc": Architecture("lcstool.models.shallow", "s-conv with a dense layer in its place", 32, 9, "s-fc"),
    "d-conv": Architecture("lcstool.models.deep", "eight 3x3 convs, two FC layers", 16, 3, "d-fc"),
    "d-local": Architecture("lcstool.models.deep", "d-conv without weight sharing", 8, 3, "d-fc"),
    "d-fc": Architecture("lcstool.models.deep", "d-conv with dense layers in their place", 4, 3, "d-fc"),
    "3-fc": Architecture("lcstool.models.three_fc", "two hidden layers of equal width", 32, 1, "3-fc"),
    "resnet18": Architecture(
        "lcstool.models.resnet",
        "ResNet-18, CIFAR form; --kernel-size 3, 5, 7 or 9",
        64,
        3,
        takes_kernel_size=True,
    ),
}


@dataclass(frozen=True)
class ModelSpec:
    """Enough to rebuild a module: an architecture's name and its arguments.

    Attributes:
        arch: A name in ARCHITECTURES.
        image: Height and width of the input in pixels.
        channels: Channels of the input.
        classes: Number of outputs.
        alpha: Base channels.
        dropout: Probability of dropping an input of the last two FC layers in training.
        kernel_size: Replaces every 3x3 kernel, for the architectures that take one.
        width: Hidden width of 3-fc; None gives it as many parameters as s-fc has with the same alpha.
    """

    arch: str
    image: tuple[int, int]
    channels: int
    classes: int
    alpha: int
    dropout: float = 0.0
    kernel_size: int = 3
    width: int | None = None

    def __post_init__(self) -> None:
        if self.arch not in ARCHITECTURES:
            raise UsageError(f"unknown architecture {self.arch!r}; known: {', '.join(ARCHITECTURES)}")
        if min(self.alpha, self.channels, self.classes, *self.image, self.kernel_size, self.width or 1) < 1:
            raise UsageError(f"an architecture needs positive sizes, got {self}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.kernel_size != 3 and not ARCHITECTURES[self.arch].takes_kernel_size:
            raise UsageError(f"{self.arch} takes no kernel size", hint="resnet18 does")
        if self.width is not None and self.arch != "3-fc":
            raise UsageError(f"{self.arch} takes no width", hint="use alpha")
        smallest = max(
            ARCHITECTURES[self.arch].smallest_image, self.kernel_size if self.kernel_size != 3 else 1
        )
        if min(self.image) < smallest:
            raise BadInputError(
                f"the image is {self.image[0]}x{self.image[1]}, smaller than the {smallest}x{smallest} kernel "
                f"of {self.arch}"
            )

    def to_json(self) -> dict[str, Any]:
        """{"arch": name, "args": {...}}, the arguments that mean nothing to this architecture left out."""
        args = asdict(self) | {"image": list(self.image)}
        del args["arch"]
        if not ARCHITECTURES[self.arch].takes_kernel_size:
            del args["kernel_size"]
        if self.width is None:
            del args["width"]
        return {"arch": self.arch, "args": args}

    @staticmethod
    def from_json(spec: Mapping[str, Any], where: str) -> "ModelSpec":
        """The inverse of `to_json`; BadInputError says what is wrong with a spec from outside."""
        try:
            args = dict(spec["args"])
            height, width = args.pop("image")
            if not all(type(side) is int for side in (height, width)):
                raise TypeError(f"image {[height, width]}")
            typed = {"channels": int, "classes": int, "alpha": int, "kernel_size": int, "width": int}
            for name, value in args.items():
                if name in typed and type(value) is not int:
                    raise TypeError(f"{name} {value!r}")
            return ModelSpec(arch=str(spec["arch"]), image=(height, width), **args)
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise BadInputError(f"{where}: the architecture in the header cannot be built: {error}") from None


def build_model(spec: ModelSpec, generator: "torch.Generator | None" = None) -> "nn.Module":
    """Build and initialise an architecture.

    Args:
        spec: Which, and of what size.
        generator: Source of the initial weights; None seeds a fresh one with 0.

    Returns:
        The module on the CPU, float32, in training mode.
    """
    import torch

    from lcstool.models.build import empty_model, initialise

    model = empty_model(spec).to_empty(device="cpu")
    initialise(model, generator or torch.Generator().manual_seed(0))
    return model


def load_model(checkpoint: "Checkpoint") -> "nn.Module":
    """Rebuild the module a `model` file holds; names, shapes and dtypes are checked before a tensor is read.

    Raises:
        BadInputError: naming the first tensor that is missing, superfluous, of another shape, or non-finite.
    """
    from lcstool.models.build import empty_model, load_tensors

    header = checkpoint.require_kind("model")
    if header.model is None:
        raise BadInputError(f"{checkpoint.where} names no architecture")
    model = empty_model(ModelSpec.from_json(header.model, checkpoint.where))
    load_tensors(model, checkpoint)
    return model
