"""Did the network discover the image? The arrangement of the pixels, re-derived from which of them share units.

A graph joins each pixel to those with which it shares the most units, compared with chance. Two eigenvectors of the
graph's Laplacian place the pixels in the plane (a spectral embedding), and Procrustes analysis compares the places with
the true grid. Natural images look alike when mirrored, and training with random flips makes them exactly so. A network
may then treat mirrored pixels as near ones, and the arrangement found is the grid folded along the mirror's axis.

Ref: Neyshabur 2020 (arXiv 2007.13657), section 1, says that the architecture is learned from scratch; the test is
    ours. Belkin and Niyogi 2003 for the embedding.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.spatial import procrustes
from torch import Tensor

from lcstool.errors import BadInputError

# Shape suffixes: U units, C channels, H W image, N pixels that have connections, K components.

FOLDS = ("grid", "folded_left_on_right", "folded_top_on_bottom", "folded_both_ways")


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """How well the arrangement found fits the true one.

    Attributes:
        num_pixels: Pixels with connections; the others cannot be placed.
        num_neighbours: How many others each pixel is joined to.
        neighbour_frac: Share of the joined pairs that are neighbours on the image (at sides or corners).
        chance_neighbour_frac: That share among random pairs.
        procrustes: Procrustes error of the places, by what they are compared with (`FOLDS`: the grid, or the grid
            folded). 0 is a perfect fit up to shift, rotation, reflection and scale; 1 is no fit.
        chance_mean, chance_sd, chance_min: Of the smallest of these errors with the pixels' places shuffled.
        readout_r2: Share of the variance of a pixel's row and of its column that a linear fit by the first
            `num_components` eigenvectors explains.
        best_r2: The same for the two axes of the best comparison, folded or not.
        chance_r2: What random vectors are expected to explain.
        chance_r2_max: The most that any shuffle explained, of rows or of columns.
        num_components: Eigenvectors in the fit.
        places_N2: The arrangement, moved, turned and scaled onto the best-fitting comparison.
        target_N2: That comparison.
        pixels_N: The pixels placed, numbered row by row.
    """

    num_pixels: int
    num_neighbours: int
    neighbour_frac: float
    chance_neighbour_frac: float
    procrustes: dict[str, float]
    chance_mean: float
    chance_sd: float
    chance_min: float
    readout_r2: tuple[float, float]
    best_r2: tuple[float, float]
    chance_r2: float
    chance_r2_max: float
    num_components: int
    places_N2: Tensor
    target_N2: Tensor
    pixels_N: Tensor

    @property
    def best(self) -> str:
        """The comparison with the smallest error."""
        return min(self.procrustes, key=lambda name: self.procrustes[name])

    @property
    def is_two_dimensional(self) -> bool:
        """Whether two axes were found: of the grid, or of the grid folded.

        The best error must be below 0.5 and below that of every shuffle. Besides, both axes must be explained better
        than any axis of shuffled pixels: a network that knows the rows alone passes the first test, not the second.
        """
        close = self.procrustes[self.best] < min(0.5, self.chance_min)
        return close and min(self.best_r2) > self.chance_r2_max

    def to_json(self) -> dict[str, object]:
        kept = {name: value for name, value in vars(self).items() if not isinstance(value, Tensor)}
        return kept | {"readout_r2": list(self.readout_r2), "best_r2": list(self.best_r2), "best": self.best,
                       "is_two_dimensional": self.is_two_dimensional}  # fmt: skip


def discover_grid(
    weight_UCHW: Tensor, num_neighbours: int = 8, num_components: int = 8, num_draws: int = 200, seed: int = 0
) -> Discovery:
    """Arrange the pixels by the units they share, and compare with where they are.

    Args:
        weight_UCHW: Each unit's weights as an image, in the true arrangement (which only the comparison uses).
        num_neighbours: Of each pixel in the graph.
        num_components: Eigenvectors in the linear fit.
        num_draws: Shuffles for the chance error.
        seed: Of the shuffles.

    Raises:
        BadInputError: too few pixels have connections.
    """
    _, _, height, width = weight_UCHW.shape
    support_UN = (weight_UCHW != 0).any(dim=1).flatten(1)
    pixels_N = support_UN.any(dim=0).nonzero().flatten()
    if len(pixels_N) < num_neighbours + 2:
        raise BadInputError(f"only {len(pixels_N)} pixels have connections; an arrangement needs more")
    similarity_NN = _sharing(support_UN[:, pixels_N].double())
    nearest = np.argsort(-similarity_NN, axis=1, kind="stable")[:, :num_neighbours]
    rows, columns = (pixels_N // width).numpy(), (pixels_N % width).numpy()
    true_N2 = np.stack([rows, columns], axis=1).astype(np.float64)
    touching_NN = np.abs(true_N2[:, None] - true_N2[None]).max(axis=2) <= 1
    np.fill_diagonal(touching_NN, False)
    count = len(pixels_N)
    vectors_NK = _laplacian_vectors(nearest, min(num_components, count - 2))
    folded_N2 = np.abs(true_N2 - [(height - 1) / 2, (width - 1) / 2])
    targets = dict(zip(
        FOLDS,
        (true_N2, np.c_[true_N2[:, 0], folded_N2[:, 1]], np.c_[folded_N2[:, 0], true_N2[:, 1]], folded_N2),
        strict=True,
    ))  # fmt: skip
    plane_N2 = vectors_NK[:, :2]
    fits = {name: procrustes(target, plane_N2) for name, target in targets.items() if np.ptp(target, 0).all()}
    if not fits:
        raise BadInputError(
            "the image has only one row or column of connected pixels: there is no plane to find"
        )
    rng = np.random.default_rng(seed)
    chance, chance_r2 = [], []
    for _ in range(num_draws):
        order = rng.permutation(count)
        chance.append(min(procrustes(targets[name], plane_N2[order])[2] for name in fits))
        chance_r2 += [_r_squared(vectors_NK[order], true_N2[:, axis]) for axis in (0, 1)]
    best = min(fits, key=lambda name: fits[name][2])
    return Discovery(
        num_pixels=count,
        num_neighbours=num_neighbours,
        neighbour_frac=float(np.take_along_axis(touching_NN, nearest, axis=1).mean()),
        chance_neighbour_frac=float(touching_NN.sum() / (count * (count - 1))),
        procrustes={name: float(fit[2]) for name, fit in fits.items()},
        chance_mean=float(np.mean(chance)),
        chance_sd=float(np.std(chance)),
        chance_min=float(np.min(chance)),
        readout_r2=(_r_squared(vectors_NK, true_N2[:, 0]), _r_squared(vectors_NK, true_N2[:, 1])),
        best_r2=(_r_squared(vectors_NK, targets[best][:, 0]), _r_squared(vectors_NK, targets[best][:, 1])),
        chance_r2=vectors_NK.shape[1] / (count - 1),
        chance_r2_max=max(chance_r2),
        num_components=vectors_NK.shape[1],
        places_N2=torch.from_numpy(fits[best][1].copy()),
        target_N2=torch.from_numpy(fits[best][0].copy()),
        pixels_N=pixels_N,
    )


def _sharing(support_UN: Tensor) -> np.ndarray:
    """How many more units two pixels share than expected by chance, in standard deviations; -inf on the diagonal."""
    shared_NN = (support_UN.T @ support_UN).numpy()
    degree_N = np.diag(shared_NN)
    expected_NN = np.outer(degree_N, degree_N) / len(support_UN)
    excess_NN = np.asarray((shared_NN - expected_NN) / np.sqrt(expected_NN))
    np.fill_diagonal(excess_NN, -np.inf)
    return excess_NN


def _laplacian_vectors(nearest: np.ndarray, num_vectors: int) -> np.ndarray:
    """The first non-constant generalised eigenvectors of the neighbour graph's Laplacian, (N, num_vectors)."""
    count = len(nearest)
    joined = np.zeros((count, count))
    joined[np.arange(count)[:, None], nearest] = 1
    joined = np.maximum(joined, joined.T)
    degree = joined.sum(axis=1)
    _, vectors = eigh(np.diag(degree) - joined, np.diag(degree), subset_by_index=(1, num_vectors))
    return np.asarray(vectors)


def _r_squared(vectors_NK: np.ndarray, target_N: np.ndarray) -> float:
    """The share of the target's variance that a linear readout explains."""
    centred = target_N - target_N.mean()
    if not centred.any():
        return 0.0
    design = np.c_[np.ones(len(vectors_NK)), vectors_NK]
    residual = centred - design @ np.linalg.lstsq(design, centred, rcond=None)[0]
    return float(1 - (residual @ residual) / (centred @ centred))
