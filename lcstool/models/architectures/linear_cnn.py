"""The linear CNN: one convolution, averaged over positions and filters to one number f, which regresses a label 0 or 1.

f is the inner product of the image's mean patch with the mean filter, so that its training is least squares. It is
given as the scores (1 - f, f) of the two classes: their mean squared error from one-hot labels is (f - label)^2, and
the larger of them says on which side of 1/2 f is. So `--loss mse` over N images is 1/N ||K w - y||^2, K holding the
mean patches and w the mean filter, and each of M filters descends 2/(N M) K^T (K w - y). It is the theory's where the
pixels are not normalised (`--normalize none`), a batch is all images, and there is no augmentation or schedule.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 4.
"""

import torch
from torch import Tensor, nn

from lcstool.errors import UsageError
from lcstool.models import ModelSpec


class GlobalMean(nn.Module):
    """The mean f over channels and positions, as (1 - f, f).

    Shape:
        Input (B, C, H, W), output (B, 2).
    """

    def forward(self, x: Tensor) -> Tensor:
        f = x.mean(dim=(1, 2, 3))
        return torch.stack([1 - f, f], dim=1)


def build(spec: ModelSpec) -> nn.Sequential:
    """A convolution of alpha filters without bias or padding, and the global mean; UsageError for dropout."""
    if spec.dropout:
        raise UsageError(f"{spec.arch} has no layer that dropout could stand before")
    model = nn.Sequential()
    model.add_module("layer1", nn.Conv2d(spec.channels, spec.alpha, spec.kernel_size, bias=False))
    model.add_module("mean", GlobalMean())
    return model
