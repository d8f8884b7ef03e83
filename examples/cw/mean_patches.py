"""Linear CNNs trained on mean patches: a network of one convolution and a global mean sees nothing else of an image.

27 numbers stand for an image, so a network takes a second. Initial filters, order of the images, random labels, batches
and steps are those of `lcstool train --arch linear-cnn --loss mse`, and the filters agree to 1e-10 in float64.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), section 4, lemmas A.1 and A.2, Table 3.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from lcstool.data.dataset import ImageDataset
from lcstool.data.preprocess import Preprocess
from lcstool.energy import Descent, LinearProblem, PatchBasis, average_patches
from lcstool.randomness import stream

# Shape suffixes: N images, B images of a batch, M filters, D entries of a patch (C channels, 3x3) and components.

KERNEL = (3, 3)
_BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a linear CNN is trained.

    Attributes:
        lr, epochs, batch_size, num_filters: Of plain SGD without a schedule, and of the network.
        pixels: `raw` from 0 to 1, or `channel`: each channel with mean 0 and standard deviation 1.
        first_is_one: Whether the class that is named first is the one with label 1; else it is the second.
        low: The other label: 0, or -1.
        bias: Whether the filters have a bias, which begins at 0.
    """

    lr: float = 0.1
    epochs: int = 150
    batch_size: int = 256
    num_filters: int = 64
    pixels: str = "raw"
    first_is_one: bool = False
    low: float = 0.0
    bias: bool = False

    def steps(self, num_images: int) -> int:
        return self.epochs * (num_images // min(self.batch_size, num_images))

    def targets(self, labels_N: np.ndarray) -> np.ndarray:
        """What is regressed for labels 0 (the class named first) and 1."""
        return np.where((labels_N == 0) == self.first_is_one, 1.0, self.low)


@dataclass(frozen=True)
class Patches:
    """The mean patches of a data set's training images, and the components that profiles refer to."""

    average_ND: np.ndarray
    labels_N: np.ndarray
    components_DD: np.ndarray

    @staticmethod
    def of(dataset: ImageDataset, pixels: str) -> "Patches":
        images = dataset.train.images
        prepare = Preprocess.of(images, "channel" if pixels == "channel" else "none", None)
        average_ND = average_patches(images.split(_BLOCK), KERNEL).numpy()
        mean_D, std_D = (np.repeat(part, math.prod(KERNEL)) for part in (prepare.mean, prepare.std))
        basis = PatchBasis.of(images.split(_BLOCK), KERNEL, prepare)
        return Patches(
            (average_ND - mean_D) / std_D, dataset.train.labels.numpy(), basis.eigenvectors_DD.numpy()
        )

    def columns(self, setting: Setting) -> np.ndarray:
        """What the mean filter is multiplied with: a column of ones, last, for a bias."""
        ones = np.ones((len(self.average_ND), 1))
        return np.hstack([self.average_ND, ones]) if setting.bias else self.average_ND

    def energy(self, filters_MD: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(np.square(filters_MD @ self.components_DD.T).mean(axis=0)))


def initial_filters(size: int, num_filters: int, seed: int) -> np.ndarray:
    """(M, D): those that `lcstool train` draws."""
    bound = 1 / math.sqrt(size)
    drawn = torch.empty(num_filters, size).uniform_(-bound, bound, generator=stream(seed, "init"))
    return drawn.double().numpy()


def random_labels(num_images: int, seed: int) -> np.ndarray:
    """0 or 1 for each image: those of `lcstool train --labels random`."""
    return torch.randint(2, (num_images,), generator=stream(seed, "labels")).numpy()


def change(
    patches: Patches, labels_N: np.ndarray, setting: Setting, initial_MD: np.ndarray, seed: int
) -> np.ndarray:
    """What training adds to every filter, (D,): all filters get the same gradient, so their differences stay.

    The loss is (f - target)^2 averaged over a batch, f being the product of the mean patch with the mean filter.
    """
    columns, targets_N = patches.columns(setting), setting.targets(labels_N)
    begin = np.zeros(columns.shape[1])
    begin[: initial_MD.shape[1]] = initial_MD.mean(axis=0)
    weights, size = begin.copy(), min(setting.batch_size, len(columns))
    rate = 2 * setting.lr / (size * len(initial_MD))
    for epoch in range(setting.epochs):
        order = torch.randperm(len(columns), generator=stream(seed, "order", epoch)).numpy()
        rows, wanted = columns[order], targets_N[order]
        for first in range(0, len(order) // size * size, size):
            batch = rows[first : first + size]
            weights -= rate * ((batch @ weights - wanted[first : first + size]) @ batch)
    return np.asarray((weights - begin)[: initial_MD.shape[1]])


def closed_form(
    patches: Patches, labels_N: np.ndarray, setting: Setting, initial_MD: np.ndarray
) -> np.ndarray:
    """The same change by gradient descent on all images at once, in as many steps, without taking them."""
    columns = patches.columns(setting)
    problem = LinearProblem.of(torch.from_numpy(columns), torch.from_numpy(setting.targets(labels_N)))
    begin = torch.zeros(columns.shape[1], dtype=torch.float64)
    begin[: initial_MD.shape[1]] = torch.from_numpy(initial_MD.mean(axis=0))
    descent = Descent(steps=setting.steps(len(columns)), lr=setting.lr, width=len(initial_MD), loss="mean")
    return np.asarray((problem.filter_after(descent, begin) - begin)[: initial_MD.shape[1]])


def optimum(patches: Patches, setting: Setting) -> np.ndarray:
    """The filter of least squared error."""
    columns, targets_N = patches.columns(setting), setting.targets(patches.labels_N)
    return np.asarray(np.linalg.lstsq(columns, targets_N, rcond=None)[0][: patches.average_ND.shape[1]])


def pearson(first_D: np.ndarray, second_D: np.ndarray) -> float:
    return float(np.corrcoef(first_D, second_D)[0, 1])
