"""Labels that depend on one principal component only, so that it is known what a first layer should learn.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), Fig. 7.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from lcstool.energy.basis import PatchBasis
from lcstool.errors import BadInputError

# Shape suffixes: N images, L classes.


def pca_labels(
    train: Iterable[Tensor],
    test: Iterable[Tensor],
    kernel_size: tuple[int, int],
    component: int,
    num_classes: int,
) -> tuple[Tensor, Tensor]:
    """Label images by the projection of their mean patch on one component.

    Thresholds are chosen so that all classes have equally many training images.

    Args:
        train, test: uint8 blocks (B, C, H, W).
        kernel_size: Rows and columns of the patches.
        component: Number of the component; 0 is the one of largest variance.
        num_classes: Number of classes L.

    Returns:
        Labels of the training and of the test images, int64, by the same thresholds.

    Raises:
        BadInputError: there is no such component.
    """
    train, test = list(train), list(test)
    basis = PatchBasis.of(train, kernel_size)
    if not 0 <= component < basis.num_components:
        raise BadInputError(
            f"there is no component {component}: {kernel_size[0]}x{kernel_size[1]} patches have "
            f"{basis.num_components}, counted from 0"
        )
    vector_D = basis.eigenvectors_DD[component]
    projected = [basis.average_patches(blocks) @ vector_D for blocks in (train, test)]
    ranks = projected[0].argsort(stable=True).argsort(stable=True)
    train_labels = ranks * num_classes // len(ranks)
    ordered = projected[0].sort(stable=True).values
    firsts = [ordered[-(-label * len(ordered) // num_classes)] for label in range(1, num_classes)]
    return train_labels, torch.bucketize(projected[1], torch.stack(firsts), right=True)
