"""The filters of a linear convolutional network after any number of gradient steps, in closed form.

The network is one convolution with M filters whose outputs are averaged over positions and filters. Its output for all
images is K w, where K has the mean patch of each image as a row and w is the mean filter. All filters get the same
gradient. So w follows gradient descent on 1/2 ||K w - y||^2 with learning rate lr / M, and the differences between the
filters and w never change.

Ref: Chowers & Weiss 2023 (arXiv 2206.02454), theorems 4.1-4.4 and A.1-A.5. Departs: the algebra printed for A.3
    (eqs. 10-17) drops a factor and treats matrices as if they commuted; the form here is exact.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lcstool.choices import LINEAR_LOSSES
from lcstool.energy.basis import PatchBasis
from lcstool.errors import BadInputError, NonFiniteError

# Shape suffixes: N images, M filters, D components of the basis; E directions: eigenvectors of K^T K, also D many.


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Gradient descent on a linear network.

    Attributes:
        steps: Number of steps; it may be fractional if no step jumps past a minimum, and infinite for the limit.
        lr: Learning rate of the filters.
        width: Number of filters M; the mean filter moves as a single filter would at learning rate lr / M.
        loss: `half-sum` is 1/2 ||K w - y||^2 and `half-mean` is that over N; `sum` and `mean` (torch's MSELoss) are
            twice those.
    """

    steps: float
    lr: float
    width: int = 1
    loss: str = "half-sum"

    def __post_init__(self) -> None:
        if self.loss not in LINEAR_LOSSES:
            raise BadInputError(f"loss {self.loss!r} is unknown; known: {', '.join(LINEAR_LOSSES)}")
        if not (self.steps >= 0 and math.isfinite(self.lr) and self.lr > 0 and self.width >= 1):
            raise BadInputError(
                f"gradient descent needs steps >= 0, lr > 0 and width >= 1, got {self.steps}, {self.lr}, {self.width}"
            )

    def rate(self, num_images: int) -> float:
        """The learning rate eta with which the mean filter descends 1/2 ||K w - y||^2."""
        rate = self.lr / self.width * (2 if self.loss in ("sum", "mean") else 1)
        return rate / num_images if self.loss.endswith("mean") else rate


@dataclass(frozen=True, kw_only=True)
class LinearProblem:
    """Least squares of labels y on mean patches K, with K's singular value decomposition K = U S V^T.

    Coordinates are those along the components of a basis.

    Attributes:
        roots_E: Singular values S of K, zero beyond its rank; their squares are the eigenvalues s of K^T K.
        directions_DE: V, one direction in each column.
        target_E: U^T y, zero where S is zero; None if no labels were given.
        half_E: U^T (1/2, ..., 1/2), the expected target if labels are random.
        components_DD: The basis, one component in each row.
        num_images: Number of images N.
        warnings: Reasons why the theory may not apply.
    """

    roots_E: Tensor
    directions_DE: Tensor
    target_E: Tensor | None
    half_E: Tensor
    components_DD: Tensor
    num_images: int
    warnings: tuple[str, ...] = ()

    @staticmethod
    def of(average_ND: Tensor, labels_N: Tensor | None, basis: PatchBasis | None = None) -> "LinearProblem":
        """Decompose the problem.

        Args:
            average_ND: K, the mean patch of each image, in raw pixels.
            labels_N: y, 0 or 1 for each image; None if only random labels will be asked about.
            basis: Its components are the coordinates; None for the pixels themselves.

        Raises:
            BadInputError: shapes that do not agree, values that are not finite, or no images.
        """
        average_ND = average_ND.double()
        if average_ND.ndim != 2 or not average_ND.numel() or not average_ND.isfinite().all():
            raise BadInputError(f"mean patches should be a finite (N, D), found {list(average_ND.shape)}")
        num_images, size = average_ND.shape
        targets = [torch.full((num_images,), 0.5, dtype=torch.float64)]
        if labels_N is not None:
            if labels_N.shape != (num_images,) or not labels_N.isfinite().all():
                raise BadInputError(f"labels of shape {list(labels_N.shape)} for {num_images} images")
            targets.append(labels_N.double())
        components_DD = torch.eye(size, dtype=torch.float64)
        if basis is not None:
            components_DD = basis.eigenvectors_DD
            average_ND = basis.project(average_ND)
        # Working with K^T K would square the condition number. The triangle R of a QR decomposition has the singular
        # values of K, and the columns beside it are the targets in the same rotated coordinates.
        stacked = torch.cat([average_ND, torch.stack(targets, dim=1)], dim=1)
        triangle = torch.linalg.qr(stacked, mode="r")[1]
        left, values, right = torch.linalg.svd(triangle[:, :size])
        rank = int((values > max(num_images, size) * torch.finfo(torch.float64).eps * values[0]).sum())
        roots_E = torch.zeros(size, dtype=torch.float64)
        roots_E[:rank] = values[:rank]
        rotated = torch.zeros(size, len(targets), dtype=torch.float64)
        rotated[:rank] = (left.T @ triangle[:, size:])[:rank]
        warnings = _warnings(average_ND, labels_N)
        target_E = rotated[:, 1] if labels_N is not None else None
        return LinearProblem(
            roots_E=roots_E,
            directions_DE=right.T,
            target_E=target_E,
            half_E=rotated[:, 0],
            components_DD=components_DD,
            num_images=num_images,
            warnings=tuple(warnings),
        )

    @staticmethod
    def of_patches(basis: PatchBasis) -> "LinearProblem":
        """The problem of single patches instead of each image's mean patch, for random labels only.

        K^T K is then N times the covariance of the patches, so the directions are the components themselves, and s_i is
        N times the eigenvalue of component i. Under random labels the profile is e_i^2 = (1 - q_i^t)^2 / (4 s_i).

        Ref: the formula in the authors' published code, which they fit to nonlinear CNNs (CW section 4).
        """
        values_D, num_images = basis.eigenvalues_D, basis.moments.num_images
        roots_D = (num_images * values_D).sqrt()
        roots_D[values_D <= basis.num_components * torch.finfo(torch.float64).eps * values_D[0]] = 0
        identity_DD = torch.eye(basis.num_components, dtype=torch.float64)
        return LinearProblem(
            roots_E=roots_D,
            directions_DE=identity_DD,
            target_E=None,
            half_E=torch.zeros_like(roots_D),
            components_DD=basis.eigenvectors_DD,
            num_images=num_images,
        )

    @property
    def num_components(self) -> int:
        return len(self.roots_E)

    def powers(self, descent: Descent) -> tuple[Tensor, Tensor]:
        """q^t and 1 - q^t for each direction (E,), where q = 1 - eta s, both to full precision.

        Raises:
            BadInputError: a fractional number of steps although some q < 0, or infinitely many although some q <= -1.
            NonFiniteError: a power is too large for float64.
        """
        x_E = descent.rate(self.num_images) * self.roots_E.square()
        steps = descent.steps
        if math.isinf(steps):
            if x_E.max() >= 2:
                raise BadInputError(
                    "gradient descent at this rate has no limit", hint="lower the learning rate"
                )
            power_E = (x_E == 0).double()
            return power_E, 1 - power_E
        whole = float(steps).is_integer()
        if not whole and x_E.max() > 1:
            raise BadInputError(f"{steps} steps of a descent that overshoots: expected a whole number")
        if steps == 0:
            return torch.ones_like(x_E), torch.zeros_like(x_E)
        below_E = x_E.clamp(max=1)
        log_E = steps * torch.where(x_E <= 1, torch.log1p(-below_E), torch.log((x_E - 1).clamp(min=1e-320)))
        odd_E = (x_E > 1) & (whole and steps % 2 == 1)
        power_E = torch.where(odd_E, -log_E.exp(), log_E.exp())
        if not power_E.isfinite().all():
            raise NonFiniteError(f"after {steps:g} diverging steps the filters exceed what float64 holds",
                                 hint="lower the learning rate or the number of steps")  # fmt: skip
        return power_E, torch.where(odd_E, 1 - power_E, -torch.expm1(log_E))

    def filter_after(
        self, descent: Descent, initial_D: Tensor | None = None, expected: bool = False
    ) -> Tensor:
        """The mean filter's coordinates (D,) along the components after gradient descent.

        Args:
            descent: Steps, learning rate, width and loss.
            initial_D: The coordinates at the start; None for zero.
            expected: Take the expectation over random labels instead of the labels given.
        """
        power_E, rest_E = self.powers(descent)
        target_E = self.half_E if expected else self.target_E
        if target_E is None:
            raise BadInputError("this prediction needs labels, and none were given")
        move_E = over_roots(rest_E, self.roots_E) * target_E
        if initial_D is not None:
            move_E = move_E + power_E * (self.directions_DE.T @ initial_D)
        return self.directions_DE @ move_E

    def regulariser(self, descent: Descent) -> Tensor:
        """The matrix Lambda (D, D) for which stopping after t >= 1 steps is ridge regression with penalty Lambda.

        That is w_t = (K^T K + Lambda)^-1 K^T y, with Lambda = V diag(s q^t / (1 - q^t)) V^T, and 1 / (eta t) where
        s = 0.
        """
        if descent.steps <= 0:
            raise BadInputError("before the first step no regulariser gives the filter zero")
        power_E, rest_E = self.powers(descent)
        flat = 1 / (descent.rate(self.num_images) * descent.steps)
        square_E = self.roots_E.square()
        ridge_E = torch.where(
            self.roots_E > 0, square_E * power_E / torch.where(rest_E != 0, rest_E, 1), flat
        )
        return self.directions_DE @ (ridge_E[:, None] * self.directions_DE.T)


def over_roots(value_E: Tensor, root_E: Tensor) -> Tensor:
    """value / root, or 0 where the root is 0: the images have no component in such a direction."""
    return torch.where(root_E > 0, value_E / torch.where(root_E > 0, root_E, 1), 0)


def _warnings(average_ND: Tensor, labels_N: Tensor | None) -> list[str]:
    """How the data differ from what the theory assumes."""
    found = []
    if labels_N is not None and not ((labels_N == 0) | (labels_N == 1)).all():
        found.append("the labels are not 0 and 1, as the theory takes them")
    if average_ND.mean(dim=0).square().sum() < 0.1 * average_ND.square().sum(dim=1).mean():
        found.append(
            "the images seem mean-subtracted: the theory takes raw pixels, whose mean carries its first term"
        )
    return found
