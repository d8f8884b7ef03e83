"""The linear CNN: one convolution, averaged over positions and filters to one number f, which regresses a label 0 or 1.

f is the inner product of the image's mean patch with the mean filter, so training it is linear least squares. The
network outputs (1 - f, f) as the scores of the two classes: their mean squared error from one-hot labels is
(f - label)^2, and the larger one says on which side of 1/2 f lies. So `--loss mse` over N images is 1/N ||K w - y||^2,
where the rows of K are the mean patches and w is the mean filter; the gradient of each of M filters is
2/(N M) K^T (K w - y). Training follows the paper's theory exactly where pixels are not normalised
(`--normalize none`), a batch is all images, and there is neither augmentation nor a schedule.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 4.
"""

import torch
from torch import Tensor, nn

from lcstool.errors import UsageError
from lcstool.models.spec import ModelSpec


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
