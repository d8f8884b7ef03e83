"""The registry of architectures; it imports no torch, so that the command line can list the names at once.

To add an architecture, write a module with a function `build(spec) -> nn.Module` in `architectures/` and add an entry
here. Networks of others need no entry: their names say where they are, as `torchvision:NAME`, `timm:NAME` or, for a
network of one's own, `PACKAGE.MODULE:CALLABLE`.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One entry of the registry.

    Attributes:
        module: Where its `build` is.
        summary: One line for people.
        alpha: Default number of base channels (the hidden width for 3-fc follows from it).
        smallest_image: Height and width below which its first kernel does not fit the image.
        fc_counterpart: The architecture whose parameter count sizes this one (`--fc-params`), if there is one.
        takes_kernel_size: Whether it takes `kernel_size`.
        takes_even_kernels: Whether the kernel size may be even; not where layers must keep the image's size.
        num_classes: The only number of classes that it works for; None for any.
        init_gain: Initial weights of convolutions are uniform in +-gain/sqrt(fan-in). 1 is PyTorch's own; sqrt(6) is
            that of He et al. 2015 (arXiv 1502.01852), without which deep networks without batch norm do not learn.
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


TORCHVISION, TIMM = "torchvision:", "timm:"
_IDENTIFIERS = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_OWN_CODE = re.compile(f"{_IDENTIFIERS}:{_IDENTIFIERS}")
_FAMILIES = "lcstool.models.architectures"
_HE = 6**0.5

ARCHITECTURES: dict[str, Architecture] = {
    "s-conv": Architecture(
        module=f"{_FAMILIES}.shallow",
        summary="9x9 conv stride 2, two FC layers",
        alpha=32,
        smallest_image=9,
        fc_counterpart="s-fc",
    ),
    "s-local": Architecture(
        module=f"{_FAMILIES}.shallow",
        summary="s-conv without weight sharing",
        alpha=32,
        smallest_image=9,
        fc_counterpart="s-fc",
    ),
    "s-fc": Architecture(
        module=f"{_FAMILIES}.shallow",
        summary="s-conv with a dense layer in its place",
        alpha=32,
        fc_counterpart="s-fc",
    ),
    "d-conv": Architecture(
        module=f"{_FAMILIES}.deep",
        summary="eight 3x3 convs, two FC layers",
        alpha=16,
        smallest_image=3,
        fc_counterpart="d-fc",
    ),
    "d-local": Architecture(
        module=f"{_FAMILIES}.deep",
        summary="d-conv without weight sharing",
        alpha=8,
        smallest_image=3,
        fc_counterpart="d-fc",
    ),
    "d-fc": Architecture(
        module=f"{_FAMILIES}.deep",
        summary="d-conv with dense layers in their place",
        alpha=4,
        fc_counterpart="d-fc",
    ),
    "3-fc": Architecture(
        module=f"{_FAMILIES}.three_fc",
        summary="two hidden layers of equal width",
        alpha=32,
        fc_counterpart="3-fc",
    ),
    "vanilla-cnn": Architecture(
        module=f"{_FAMILIES}.vanilla_cnn",
        summary="three convs with max pooling, one linear layer",
        alpha=64,
        smallest_image=4,
    ),
    "alexnet": Architecture(
        module=f"{_FAMILIES}.alexnet",
        summary="AlexNet, CIFAR form: five convs, three FC layers",
        alpha=64,
        smallest_image=4,
    ),
    "resnet18": Architecture(
        module=f"{_FAMILIES}.resnet",
        summary="ResNet-18, CIFAR form; --kernel-size 3, 5, 7 or 9",
        alpha=64,
        smallest_image=3,
        takes_kernel_size=True,
    ),
    **{
        f"vgg{depth}": Architecture(
            module=f"{_FAMILIES}.vgg",
            summary=f"VGG-{depth}, CIFAR form: {depth - 3} convs",
            alpha=64,
            smallest_image=3,
            init_gain=_HE,
        )
        for depth in (11, 13, 16, 19)
    },
    **{
        f"vgg{depth}-bn": Architecture(
            module=f"{_FAMILIES}.vgg",
            summary=f"vgg{depth} with batch norm",
            alpha=64,
            smallest_image=3,
        )
        for depth in (11, 13, 16, 19)
    },
    "linear-cnn": Architecture(
        module=f"{_FAMILIES}.linear_cnn",
        summary="one conv of any --kernel-size, averaged to one number that regresses a label 0 or 1",
        alpha=64,
        smallest_image=3,
        takes_kernel_size=True,
        takes_even_kernels=True,
        num_classes=2,
    ),
}


def is_own_code(arch: str) -> bool:
    """Whether a name is `PACKAGE.MODULE:CALLABLE`: whoever builds that network runs code that may do anything."""
    return not arch.startswith((TORCHVISION, TIMM)) and _OWN_CODE.fullmatch(arch) is not None


def architecture(arch: str) -> Architecture | None:
    """The registry's line for a name, those of others' networks included; None for an unknown one."""
    if arch.startswith((TORCHVISION, TIMM)):
        library = arch.partition(":")[0]
        return Architecture(module=f"{_FAMILIES}.zoo", summary=f"a network of {library}", alpha=1)
    if is_own_code(arch):
        return Architecture(module=f"{_FAMILIES}.own", summary="a network of one's own", alpha=1)
    return ARCHITECTURES.get(arch)
