"""The description of a network that every file carries: enough to rebuild it without a pickle. No torch here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lcstool.choices import CONNECTIVITIES, EMBEDDED_NORMS
from lcstool.errors import BadInputError, UsageError
from lcstool.models.arguments import ModelArgs, keywords, model_args
from lcstool.models.permission import require_permission
from lcstool.models.registry import ARCHITECTURES, Architecture, architecture

MAX_SIZE = 1_000_000  # of alpha, sides and classes: beyond it even counting weights would overflow


@dataclass(frozen=True)
class Embedding:
    """Which layers of a network are embedded, and how.

    Attributes:
        layers: Name and connectivity (`fc` or `local`) of each embedded layer.
        pad_inputs: Whether fully-connected layers see their input with its zero padding, as in d'Ascoli et al. 2019.
        norm: What becomes of batch norm after embedded layers. `units`: each unit has its own statistics; the
            network then equals the convolutional one in evaluation, but not in training. `channels`: statistics are
            shared by a channel, as before; equal in both. `folded`: it becomes part of the layer's weights and bias.
    """

    layers: tuple[tuple[str, str], ...]
    pad_inputs: bool = False
    norm: str = "units"

    def to_json(self) -> dict[str, Any]:
        return {"layers": dict(self.layers), "pad_inputs": self.pad_inputs, "norm": self.norm}

    @staticmethod
    def from_json(fields: Any, where: str) -> "Embedding":
        """The inverse of `to_json`; BadInputError for what is not of that form."""
        try:
            layers, pad_inputs, norm = fields["layers"], fields["pad_inputs"], fields["norm"]
            good = (
                set(layers.values()) <= set(CONNECTIVITIES)
                and type(pad_inputs) is bool
                and norm in EMBEDDED_NORMS
            )
        except (KeyError, TypeError, AttributeError):
            good = False
        if not good:
            raise BadInputError(f"{where}: the header's description of the embedding is not usable")
        return Embedding(tuple(sorted(layers.items())), pad_inputs=pad_inputs, norm=norm)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Enough to rebuild a module: an architecture's name and its arguments.

    Attributes:
        arch: A name in ARCHITECTURES, `torchvision:NAME`, `timm:NAME` or `PACKAGE.MODULE:CALLABLE`.
        image: Height and width of the input in pixels.
        channels: Channels of the input.
        classes: Number of outputs.
        alpha: Base channels.
        dropout: Probability of dropping an input of the last two FC layers in training.
        kernel_size: Replaces every 3x3 kernel, for the architectures that take one.
        width: Hidden width of 3-fc; None gives it as many parameters as s-fc has with the same alpha.
        embedding: Which of its layers are embedded; None for the network as it is.
        flattened: Dense layers on images that output vectors, so that their units can be dropped one by one.
        widths: Name and number of output channels (or units) of each layer narrower than the architecture's.
        model_args: Further arguments of the constructor, for networks that are not in ARCHITECTURES.
    """

    arch: str
    image: tuple[int, int]
    channels: int
    classes: int
    alpha: int = 1
    dropout: float = 0.0
    kernel_size: int = 3
    width: int | None = None
    embedding: Embedding | None = None
    flattened: tuple[str, ...] = ()
    widths: tuple[tuple[str, int], ...] = ()
    model_args: ModelArgs = ()

    def __post_init__(self) -> None:
        entry = self.architecture
        self._check_sizes()
        self._check_arguments(entry)
        self._check_image(entry)

    def _check_sizes(self) -> None:
        """UsageError for sizes that no network can have."""
        sizes = (self.alpha, self.channels, self.classes, *self.image, self.kernel_size, self.width or 1)
        if min(sizes) < 1:
            raise UsageError(f"an architecture needs positive sizes, got {self}")
        if max(sizes) > MAX_SIZE:
            raise UsageError(f"a size of {max(sizes)} is beyond any memory (at most {MAX_SIZE} is taken)")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must be in [0, 1), got {self.dropout}")
        if len(dict(self.widths)) != len(self.widths) or any(not 1 <= n <= MAX_SIZE for _, n in self.widths):
            raise UsageError(f"the widths of layers must be positive, one a layer, got {dict(self.widths)}")

    def _check_arguments(self, entry: Architecture) -> None:
        """UsageError for arguments that this architecture does not take."""
        if entry.num_classes not in (None, self.classes):
            raise UsageError(
                f"{self.arch} tells {entry.num_classes} classes apart, not {self.classes}",
                hint="keep so many of them: --classes A,B",
            )
        if self.kernel_size != 3 and not entry.takes_kernel_size:
            raise UsageError(f"{self.arch} takes no kernel size", hint="resnet18 and linear-cnn do")
        if self.kernel_size % 2 == 0 and not entry.takes_even_kernels:
            raise UsageError(f"the kernel size must be odd to keep the image's size, got {self.kernel_size}")
        if self.width is not None and self.arch != "3-fc":
            raise UsageError(f"{self.arch} takes no width", hint="use alpha")
        if self.model_args and self.arch in ARCHITECTURES:
            raise UsageError(f"{self.arch} takes no argument {self.model_args[0][0]!r}")

    def _check_image(self, entry: Architecture) -> None:
        """BadInputError for images that the first kernel does not fit."""
        smallest = self.kernel_size if entry.takes_kernel_size else entry.smallest_image
        if min(self.image) < smallest:
            raise BadInputError(
                f"the image is {self.image[0]}x{self.image[1]}, smaller than the {smallest}x{smallest} kernel "
                f"of {self.arch}"
            )

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of the input."""
        return self.channels, *self.image

    @property
    def architecture(self) -> Architecture:
        """Its line in the registry; UsageError for an unknown name."""
        entry = architecture(self.arch)
        if entry is None:
            raise UsageError(f"unknown architecture {self.arch!r}; known: {', '.join(ARCHITECTURES)}")
        return entry

    def to_json(self) -> dict[str, Any]:
        """{"arch": name, "args": {...}}, without the arguments that this architecture does not take."""
        args = asdict(self) | {"image": list(self.image)}
        del args["arch"], args["embedding"], args["flattened"], args["widths"], args["model_args"]
        if self.arch not in ARCHITECTURES:
            del args["alpha"], args["dropout"]
        if not self.architecture.takes_kernel_size:
            del args["kernel_size"]
        if self.width is None:
            del args["width"]
        embedded = {"embedding": self.embedding.to_json()} if self.embedding else {}
        widths = {"widths": dict(self.widths)} if self.widths else {}
        flattened = {"flattened": list(self.flattened)} if self.flattened else {}
        own = {"model_args": keywords(self.model_args)} if self.model_args else {}
        return {"arch": self.arch, "args": args} | embedded | flattened | widths | own

    @staticmethod
    def from_json(spec: Mapping[str, Any], where: str) -> "ModelSpec":
        """The inverse of `to_json`, for a spec from outside.

        Raises:
            BadInputError: it describes no network.
            UsageError: it asks for code that neither the command line nor a plug-in names (`models.permission`).
        """
        if not spec:
            raise BadInputError(f"{where} does not say what network it is")
        try:
            args = dict(spec["args"])
            height, width = args.pop("image")
            if not all(type(side) is int for side in (height, width)):
                raise TypeError(f"image {[height, width]}")
            typed = {"channels": int, "classes": int, "alpha": int, "kernel_size": int, "width": int}
            for name, value in args.items():
                if name in typed and type(value) is not int:
                    raise TypeError(f"{name} {value!r}")
            embedding = Embedding.from_json(spec["embedding"], where) if "embedding" in spec else None
            widths = spec.get("widths", {})
            if type(widths) is not dict or not all(type(width) is int for width in widths.values()):
                raise TypeError(f"widths {widths!r}")
            flattened = spec.get("flattened", [])
            if type(flattened) is not list or not all(type(name) is str for name in flattened):
                raise TypeError(f"flattened {flattened!r}")
            own = spec.get("model_args", {})
            if type(own) is not dict:
                raise TypeError(f"model_args {own!r}")
            made = ModelSpec(
                arch=str(spec["arch"]),
                image=(height, width),
                embedding=embedding,
                flattened=tuple(sorted(set(flattened))),
                widths=tuple(sorted(widths.items())),
                model_args=model_args(own),
                **args,
            )
        except (KeyError, TypeError, ValueError, RecursionError, UsageError) as error:
            raise BadInputError(f"{where}: the architecture in the header cannot be built: {error}") from None
        require_permission(made.arch, where)
        return made
