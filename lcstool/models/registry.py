"""The registry of architectures; it imports no torch, so that the command line can list the names at once.

To add an architecture, write a module with a function `build(spec) -> nn.Module` and add a line here.
"""

from dataclasses import dataclass


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
        takes_even_kernels: Whether that may be even; not where a layer has to keep its image's size.
        num_classes: The only number of classes that it is for; None for any.
        init_gain: Initial weights of convolutions are uniform in +-gain/sqrt(fan-in); 1 is PyTorch's own, sqrt(6)
            that of He et al. 2015 (arXiv 1502.01852), without which deep networks without batch norm do not start.
    """

    module: str
    summary: str
    alpha: int
    smallest_image: int = 1
    fc_counterpart: str | None = None
    takes_kernel_size: bool = False
    takes_even_kernels: bool = False
    num_classes: int | None = None
    init_gain: float = 1.0


_HE = 6**0.5

ARCHITECTURES: dict[str, Architecture] = {
    "s-conv": Architecture(
        "lcstool.models.architectures.shallow", "9x9 conv stride 2, two FC layers", 32, 9, "s-fc"
    ),
    "s-local": Architecture(
        "lcstool.models.architectures.shallow", "s-conv without weight sharing", 32, 9, "s-fc"
    ),
    "s-fc": Architecture(
        "lcstool.models.architectures.shallow", "s-conv with a dense layer in its place", 32, 1, "s-fc"
    ),
    "d-conv": Architecture(
        "lcstool.models.architectures.deep", "eight 3x3 convs, two FC layers", 16, 3, "d-fc"
    ),
    "d-local": Architecture(
        "lcstool.models.architectures.deep", "d-conv without weight sharing", 8, 3, "d-fc"
    ),
    "d-fc": Architecture(
        "lcstool.models.architectures.deep", "d-conv with dense layers in their place", 4, 1, "d-fc"
    ),
    "3-fc": Architecture(
        "lcstool.models.architectures.three_fc", "two hidden layers of equal width", 32, 1, "3-fc"
    ),
    "vanilla-cnn": Architecture(
        "lcstool.models.architectures.vanilla_cnn", "three convs with max pooling, one linear layer", 64, 4
    ),
    "alexnet": Architecture(
        "lcstool.models.architectures.alexnet", "AlexNet, CIFAR form: five convs, three FC layers", 64, 4
    ),
    "resnet18": Architecture(
        "lcstool.models.architectures.resnet",
        "ResNet-18, CIFAR form; --kernel-size 3, 5, 7 or 9",
        64,
        3,
        takes_kernel_size=True,
    ),
    **{
        f"vgg{depth}": Architecture(
            "lcstool.models.architectures.vgg",
            f"VGG-{depth}, CIFAR form: {depth - 3} convs",
            64,
            3,
            init_gain=_HE,
        )
        for depth in (11, 13, 16, 19)
    },
    **{
        f"vgg{depth}-bn": Architecture(
            "lcstool.models.architectures.vgg", f"vgg{depth} with batch norm", 64, 3
        )
        for depth in (11, 13, 16, 19)
    },
    "linear-cnn": Architecture(
        "lcstool.models.architectures.linear_cnn",
        "one conv of any --kernel-size, averaged to one number that regresses a label 0 or 1",
        64,
        3,
        takes_kernel_size=True,
        takes_even_kernels=True,
        num_classes=2,
    ),
}

TORCHVISION = "torchvision:"


def architecture(arch: str) -> Architecture | None:
    """The registry's line for a name, `torchvision:NAME` included; None for an unknown one."""
    if arch.startswith(TORCHVISION):
        return Architecture("lcstool.models.architectures.zoo", "a network of torchvision", 1)
    return ARCHITECTURES.get(arch)
