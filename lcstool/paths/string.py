"""The string: the points of a path descend the loss together, and springs hold each to its neighbours.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), appendix C, eq. 2; for the projections Jonsson, Mills and Jacobsen 1998
(nudged elastic band).
Departs: the spring is scaled by the number of legs, so that a stiffness means the same at any number of points; and
by default the step is implicit, with the spring's pull at the new place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lcstool.choices import SPRINGS
from lcstool.data.augment import Augmentation
from lcstool.data.dataset import Split
from lcstool.errors import NonFiniteError, UsageError
from lcstool.models.layers.parameters import NORM_LAYERS
from lcstool.paths.forward import BatchedNetwork
from lcstool.paths.points import Points
from lcstool.paths.score import losses_of

# Shape suffixes: N points, M = N - 2 inner points, D entries of a tensor, B batch, K classes.

_CPU_ENTRIES = 1 << 14  # of a parameter, moved at a time on a CPU


@dataclass(frozen=True, kw_only=True)
class StringOptions:
    """How a string moves.

    Attributes:
        lr: Learning rate eta, on gradients and springs alike.
        stiffness: Spring constant k over the number of legs N - 1.
        nudge: Whether gradients act across the path only and springs along it only.
        spring: `implicit`, stable at any stiffness; or `explicit`, unstable beyond eta k = 1/2.
    """

    lr: float
    stiffness: float
    nudge: bool = False
    spring: str = "implicit"

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value >= 0 for value in (self.lr, self.stiffness)):
            raise UsageError(f"learning rate and stiffness must be finite and >= 0, got {self}")
        if self.spring not in SPRINGS:
            raise UsageError(f"spring {self.spring!r} is not one of {', '.join(SPRINGS)}")


@torch.no_grad()
def string_step(points: Points, gradients: dict[str, Tensor], options: StringOptions) -> None:
    """Move the inner points by one step, in place; the ends stay as they are.

    With T = tridiag(-1, 2, -1), b the neighbouring ends and s = eta k, the spring's pull is s (T x - b). An explicit
    step takes the pull at the old place, x <- x - eta g - s (T x - b); an implicit step takes the pull at the new
    place, x <- (I + s T)^-1 (x - eta g + s b).

    Args:
        points: N of them.
        gradients: Of the loss at each inner point, (M, *shape) by parameter name.
        options: Learning rate, stiffness, and which kind of step.
    """
    num_inner = points.num_points - 2
    if num_inner < 1:
        return
    strength = options.lr * options.stiffness * (points.num_points - 1)
    if options.nudge:
        _nudged_step(points, gradients, options, strength)
        return
    # Every new point is a weighted sum of all old ones, the same for all parameters; the gradient's weights likewise.
    spring_MM, ends_M2 = _springs(num_inner)
    old_MM = torch.eye(num_inner, dtype=torch.float64)
    if options.spring == "implicit":
        inverse_MM = torch.linalg.inv(old_MM + strength * spring_MM)
        weight_MN = _around(inverse_MM, strength * (inverse_MM @ ends_M2))
        gradient_MM = inverse_MM
    else:
        weight_MN = _around(old_MM - strength * spring_MM, strength * ends_M2)
        gradient_MM = old_MM
    for name, tensor in points.parameters.items():
        all_ND, all_MD = tensor.view(len(tensor), tensor[0].numel()), gradients[name].flatten(1)
        to_new_MN, to_new_MM = weight_MN.to(all_ND), gradient_MM.to(all_ND)
        # By blocks on a CPU: sums over whole layers do not fit its cache, and map fresh memory every time.
        size = _CPU_ENTRIES if all_ND.device.type == "cpu" else all_ND.shape[1]
        for x_ND, g_MD in zip(all_ND.split(size, dim=1), all_MD.split(size, dim=1), strict=True):
            x_ND[1:-1] = (to_new_MN @ x_ND).addmm_(to_new_MM, g_MD, alpha=-options.lr)


def _springs(num_inner: int) -> tuple[Tensor, Tensor]:
    """T (M, M), and which inner point each end pulls at (M, 2)."""
    spring_MM = 2 * torch.eye(num_inner, dtype=torch.float64)
    if num_inner > 1:
        off = torch.ones(num_inner - 1, dtype=torch.float64)
        spring_MM -= torch.diag(off, 1) + torch.diag(off, -1)
    ends_M2 = torch.zeros(num_inner, 2, dtype=torch.float64)
    ends_M2[0, 0] = ends_M2[-1, 1] = 1
    return spring_MM, ends_M2


def _around(inner_MM: Tensor, ends_M2: Tensor) -> Tensor:
    """Weights on all N points from those on the inner points and on the two ends."""
    return torch.cat((ends_M2[:, :1], inner_MM, ends_M2[:, 1:]), dim=1)


def _nudged_step(
    points: Points, gradients: dict[str, Tensor], options: StringOptions, strength: float
) -> None:
    """A step with tangents t_i along x_(i+1) - x_(i-1), which stay fixed during the step.

    y = x - eta (g - (g.t) t) goes across the path; then x_i <- y_i + u_i t_i along it. The spring's pull is
    projected on the tangents: u_i = -s t_i . (T x' - b)_i, where x' is the old place (explicit) or the new one
    (implicit). The latter gives (I + s K) u = -s c with c_i = t_i . (T y - b)_i and K_ij = T_ij (t_i . t_j), a
    system of M equations. K is the entrywise product of two positive semidefinite matrices, hence one itself: the
    step exists and is stable at any stiffness.
    """
    num_inner = points.num_points - 2
    spring_MM, _ = _springs(num_inner)
    device = points.device
    squares_M, along_M = (torch.zeros(num_inner, dtype=torch.float64, device=device) for _ in range(2))
    for name, tensor in points.parameters.items():
        chord_MD = _chords(tensor)
        squares_M += chord_MD.square().sum(dim=1)
        along_M += (chord_MD * gradients[name].flatten(1).double()).sum(dim=1)
    length_M = squares_M.sqrt()
    unit_M = torch.where(length_M > 0, 1 / length_M, 0.0)  # neighbours in one place have no direction
    gram_MM = torch.zeros(num_inner, num_inner, dtype=torch.float64, device=device)
    pull_M = torch.zeros(num_inner, dtype=torch.float64, device=device)
    for name, tensor in points.parameters.items():
        tangent_MD = _chords(tensor) * unit_M[:, None]
        gram_MM += tangent_MD @ tangent_MD.T
        place_ND = tensor.flatten(1).to(torch.float64, copy=True)
        if options.spring == "implicit":
            place_ND[1:-1] -= options.lr * gradients[name].flatten(1)
            place_ND[1:-1] += options.lr * (along_M * unit_M)[:, None] * tangent_MD
        pull_M += (tangent_MD * (2 * place_ND[1:-1] - place_ND[:-2] - place_ND[2:])).sum(dim=1)
    shift_M = -strength * pull_M
    if options.spring == "implicit":
        system_MM = torch.eye(num_inner, dtype=torch.float64) + strength * spring_MM * gram_MM.cpu()
        shift_M = torch.linalg.solve(system_MM, shift_M.cpu()).to(device)
    along_path_M = (options.lr * along_M * unit_M + shift_M) * unit_M
    for name, tensor in points.parameters.items():
        move_MD = _chords(tensor) * along_path_M[:, None] - options.lr * gradients[name].flatten(1)
        tensor[1:-1] += move_MD.to(tensor.dtype).view_as(tensor[1:-1])


def _chords(tensor: Tensor) -> Tensor:
    """x_(i+1) - x_(i-1) at the inner points, (M, D) float64."""
    x_ND = tensor.flatten(1)
    return x_ND[2:].double() - x_ND[:-2].double()


def string_gradients(
    network: BatchedNetwork,
    inner: Points,
    x_BCHW: Tensor,
    labels_B: Tensor,
    loss: str,
    chunk: int | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean loss (M,) of every inner point on a batch, and its gradients (M, *shape) by parameter name."""
    chunk = chunk or inner.num_points
    losses, gradients = [], []
    for start in range(0, inner.num_points, chunk):
        part = inner.slice(start, start + chunk)
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in part.parameters.items()}
        losses_N = losses_of(loss, network(Points(leaves, part.buffers), x_BCHW), labels_B)
        gradients.append(torch.autograd.grad(losses_N.sum(), list(leaves.values())))
        losses.append(losses_N.detach())
    if len(gradients) == 1:
        return losses[0], dict(zip(inner.parameters, gradients[0], strict=True))
    stacked = [torch.cat(pieces) for pieces in zip(*gradients, strict=True)]
    return torch.cat(losses), dict(zip(inner.parameters, stacked, strict=True))


def train_string_epoch(
    model: nn.Module,
    points: Points,
    split: Split,
    prepare: Callable[[Tensor], Tensor],
    augment: Augmentation,
    loss: str,
    options: StringOptions,
    batch_size: int,
    generator: torch.Generator,
    on_step: Callable[[int], None] | None = None,
    chunk: int | None = None,
    batched: bool = True,
) -> Tensor:
    """One epoch of steps on full batches; in each step all inner points are trained on the same batch.

    Batch norms use the statistics of the batch; those that the points hold become stale, for `reestimate_norms` to
    renew. Dropout is off.

    Args:
        model: What the points are points of.
        points: On the split's device; moved in place, but for the ends.
        split: Training images and labels.
        prepare: From stored images to the network's input.
        augment: From images to images.
        loss: As in `compute_loss`.
        options: How the string moves.
        batch_size: Images a step, at most all of them.
        generator: On the CPU, of the order of the images and of the augmentation.
        on_step: Called after each step with the number of steps done; it may raise.
        chunk: Points whose gradients are taken at once; None for all.
        batched: False takes the gradients of one point after another.

    Returns:
        The mean training loss (M,) float64 of each inner point over the epoch.

    Raises:
        NonFiniteError: at the step where a loss stops being finite (on a GPU, at the epoch's end).
    """
    batch_size = min(batch_size, len(split))
    network = BatchedNetwork(model, batch_statistics=True, batched=batched)
    if batch_size < 2 and any(isinstance(module, NORM_LAYERS) for module in model.modules()):
        raise UsageError(
            "batch normalisation needs batches of at least 2 images", hint="raise the batch size"
        )
    device = split.images.device
    inner = points.slice(1, points.num_points - 1)
    sums_M = torch.zeros(inner.num_points, dtype=torch.float64, device=device)
    if inner.num_points == 0:
        return sums_M
    num_steps = len(split) // batch_size
    order = torch.randperm(len(split), generator=generator).to(device)
    for step in range(num_steps):
        batch = split.take(order[step * batch_size : (step + 1) * batch_size])
        x_BCHW = prepare(augment(batch.images, generator))
        losses_M, gradients = string_gradients(network, inner, x_BCHW, batch.labels, loss, chunk)
        string_step(points, gradients, options)
        sums_M += losses_M.double()
        if (device.type == "cpu" or step == num_steps - 1) and not math.isfinite(sums_M.sum().item()):
            raise NonFiniteError(
                f"the string's loss is not finite in step {step + 1} of {num_steps}",
                hint=f"lower --lr (now {options.lr:g})",
            )
        if on_step is not None:
            on_step(step + 1)
    return sums_M / num_steps
