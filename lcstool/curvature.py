"""The shape of a network's loss: its full gradient, and the extreme eigenvalues of its Hessian.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 4.2 and Fig. 3.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lcstool.data.dataset import Split
from lcstool.errors import CheckFailedError
from lcstool.evaluation import compute_loss
from lcstool.randomness import stream


@dataclass(frozen=True)
class Eigenvalue:
    """An extreme eigenvalue of the Hessian H, and the norm of H v - value v for its unit eigenvector v."""

    value: float
    residual: float


class LossSurface:
    """A network's mean loss over a split as a function of its parameters, in evaluation mode.

    Vectors are flat float64 arrays over all parameters, in the module's order.

    Args:
        model: The network.
        split: Images and labels.
        prepare: From stored images to the network's input.
        loss: A name in `choices.LOSSES`.
        batch_size: Images at a time.
        project: An orthogonal projection of tensors by parameter name, to look at a subspace only.
    """

    def __init__(
        self,
        model: nn.Module,
        split: Split,
        prepare: Callable[[Tensor], Tensor],
        loss: str,
        batch_size: int = 1000,
        project: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
    ) -> None:
        self.model, self.split, self.prepare = model.eval(), split, prepare
        self.loss, self.batch_size, self.project = loss, batch_size, project
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = [parameter.requires_grad_(True) for parameter in model.parameters()]
        self.num_products = 0

    @property
    def size(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters)

    def _batches(self) -> Iterator[Tensor]:
        """The loss of each batch, weighted so that they add up to the mean loss."""
        count = len(self.split)
        images, labels = self.split.images.split(self.batch_size), self.split.labels.split(self.batch_size)
        for some_images, some_labels in zip(images, labels, strict=True):
            with sdpa_kernel(SDPBackend.MATH):  # the faster kernels of attention have no second derivative
                logits = self.model(self.prepare(some_images))
            yield compute_loss(self.loss, logits, some_labels) * (len(some_labels) / count)

    def gradient(self) -> tuple[float, np.ndarray]:
        """The loss and its gradient."""
        total, sums = 0.0, [torch.zeros_like(parameter) for parameter in self.parameters]
        for part in self._batches():
            total += part.item()
            pieces = torch.autograd.grad(part, self.parameters, allow_unused=True)
            for held, piece in zip(sums, pieces, strict=True):
                if piece is not None:
                    held += piece
        return total, self._flatten(self._projected(sums))

    def hessian_product(self, vector: np.ndarray) -> np.ndarray:
        """P H P v, where H is the Hessian and P the projection onto the subspace."""
        self.num_products += 1
        direction = self._projected(self._unflatten(vector))
        sums = [torch.zeros_like(parameter) for parameter in self.parameters]
        for part in self._batches():
            gradient = torch.autograd.grad(
                part, self.parameters, create_graph=True, allow_unused=True, materialize_grads=True
            )
            slope = torch.stack([(g * d).sum() for g, d in zip(gradient, direction, strict=True)]).sum()
            # allow_unused: in a piecewise linear network the slope does not depend on some of the parameters.
            pieces = torch.autograd.grad(slope, self.parameters, allow_unused=True)
            for held, piece in zip(sums, pieces, strict=True):
                if piece is not None:
                    held += piece
        return self._flatten(self._projected(sums))

    def _projected(self, tensors: list[Tensor]) -> list[Tensor]:
        if self.project is None:
            return tensors
        return list(self.project(dict(zip(self.names, tensors, strict=True))).values())

    def _flatten(self, tensors: list[Tensor]) -> np.ndarray:
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        return np.asarray(flat.double().cpu().numpy())

    def _unflatten(self, vector: np.ndarray) -> list[Tensor]:
        flat = torch.from_numpy(np.ascontiguousarray(vector, dtype=np.float64))
        pieces = flat.split([parameter.numel() for parameter in self.parameters])
        return [
            piece.view(parameter.shape).to(parameter.device, parameter.dtype)
            for piece, parameter in zip(pieces, self.parameters, strict=True)
        ]


def extreme_eigenvalues(
    surface: LossSurface, max_products: int, tolerance: float, seed: int, basis: int = 20
) -> tuple[Eigenvalue, Eigenvalue]:
    """The smallest and the largest algebraic eigenvalue, by ARPACK's restarted Lanczos.

    Args:
        surface: The loss.
        max_products: About how many Hessian-vector products each of the two may take.
        tolerance: Accuracy, relative to the eigenvalue of largest magnitude.
        seed: The seed of the first vector.
        basis: How many Lanczos vectors are held at a time.

    Raises:
        CheckFailedError: the eigenvalues have not converged after about `max_products` products.
    """
    size = surface.size
    start = torch.randn(size, generator=stream(seed, "lanczos"), dtype=torch.float64)
    start_vector = surface._flatten(surface._projected(surface._unflatten(start.numpy())))
    if not np.any(surface.hessian_product(start_vector)):  # the subspace is empty, or the loss is flat in it
        return Eigenvalue(0.0, 0.0), Eigenvalue(0.0, 0.0)
    basis = min(size, basis)

    def extreme(which: str, shift: float, sign: float) -> Eigenvalue:
        """An eigenvalue of H, found as the one of sign * (H - shift) that ARPACK calls `which`."""

        def product(vector: np.ndarray) -> np.ndarray:
            return sign * (surface.hessian_product(vector) - shift * vector.ravel())

        operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
        restarts = max(1, max_products // (basis - 1))
        try:
            values, vectors = eigsh(
                operator, 1, which=which, v0=start_vector, tol=tolerance, ncv=basis, maxiter=restarts
            )
        except ArpackNoConvergence:
            raise CheckFailedError(
                f"Lanczos did not settle within {max_products} Hessian-vector products",
                hint="raise --max-iterations or --tolerance",
            ) from None
        value, vector = shift + sign * float(values[0]), vectors[:, 0]
        return Eigenvalue(value, float(np.linalg.norm(surface.hessian_product(vector) - value * vector)))

    # ARPACK's accuracy is relative to the eigenvalue that it looks for, and one of the two may be zero. So the one
    # farther from zero is found first, and the other is measured from there.
    far = extreme("LM", 0.0, 1.0)
    near = extreme("LA", far.value, -1.0 if far.value > 0 else 1.0)
    return (near, far) if far.value > 0 else (far, near)
