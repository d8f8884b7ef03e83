"""ResNet-18 in its CIFAR form: first convolution without stride, no max pooling.

Ref: He et al. 2016 (arXiv 1512.03385); Neyshabur 2020 (arXiv 2007.13657), Fig. 5, for the kernel sizes.
"""

from torch import Tensor, nn

from lcstool.models.layers.local import SeededDropout
from lcstool.models.spec import ModelSpec


class BasicBlock(nn.Module):
    """Two convolutions around a shortcut.

    Shape:
        Input (B, C, H, W), output (B, O, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, kernel_size: int) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size, 1, padding, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut.add_module("conv", nn.Conv2d(in_channels, out_channels, 1, stride, bias=False))
            self.shortcut.add_module("bn", nn.BatchNorm2d(out_channels))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y)) + self.shortcut(x)
        out: Tensor = self.relu2(y)
        return out


def build(spec: ModelSpec) -> nn.Sequential:
    """Four stages of two blocks with alpha, 2, 4 and 8 alpha channels; global average pooling; FC."""
    k = spec.kernel_size
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(spec.channels, spec.alpha, k, 1, k // 2, bias=False))
    model.add_module("bn1", nn.BatchNorm2d(spec.alpha))
    model.add_module("relu1", nn.ReLU())
    channels = spec.alpha
    for stage, factor in enumerate((1, 2, 4, 8), start=1):
        for block in (1, 2):
            stride = 2 if stage > 1 and block == 1 else 1
            model.add_module(f"block{stage}_{block}", BasicBlock(channels, factor * spec.alpha, stride, k))
            channels = factor * spec.alpha
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("dropout", SeededDropout(spec.dropout))
    model.add_module("fc", nn.Linear(channels, spec.classes))
    return model
