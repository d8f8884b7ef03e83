"""Where training ends in theory.

Call the derivative of the end-to-end filter in the entries of the layers the Jacobian. Take layers at which the
gradient of the loss vanishes. If the Jacobian has full rank there, the gradient with respect to the end-to-end filter
vanishes too, along the function space. If that space is full-dimensional, the loss is then at its floor, the lowest
value of all. The rank is lower exactly if layers share a root, which is then a repeated root of the end-to-end filter.
So a run ends at the floor, at the zero filter, at layers that share a root, or, in strided networks, at another
critical point of the function space. That is certain. Which of these ends is usual is only typical.

Ref: Kohn, Merkh, Montufar & Trager 2022 (arXiv 2108.01538), sections 4 and 5; Kohn, Montufar, Shahverdi & Trager 2023
(arXiv 2304.05752), section 4, for strides.
"""

from dataclasses import dataclass

from torch import Tensor

from lcstool.lcn.architecture import LinearConvArchitecture
from lcstool.lcn.loss import QuadraticLoss
from lcstool.lcn.space import Membership, membership

# Shape suffixes: K end-to-end entries.


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """Where training can end.

    Attributes:
        architecture: Kernel sizes and strides.
        loss: The loss, for one target.
        membership: Whether the target is in the function space.
        zero_loss: Whether the floor of the loss can be reached; None if that is not known.
        may_share: Whether layers can share a root at all.
        certain: What follows from theorems, in sentences.
        typical: What usually happens from random starts, but not always.
    """

    architecture: LinearConvArchitecture
    loss: QuadraticLoss
    membership: Membership
    zero_loss: bool | None
    may_share: bool
    certain: tuple[str, ...]
    typical: tuple[str, ...]


def predict(architecture: LinearConvArchitecture, target: Tensor | QuadraticLoss) -> Prediction:
    """Predict where gradient descent on a target can end.

    Args:
        architecture: Kernel sizes and strides.
        target: The filter (K,), for white inputs; or the loss itself.

    Raises:
        BadInputError: the filter has another shape or is not finite.
    """
    loss = target if isinstance(target, QuadraticLoss) else QuadraticLoss.of_target(target)
    found = membership(loss.target, architecture)
    definite = loss.is_definite
    zero_loss = True if found.is_member else False if definite else None
    degree, may_share = 0, False
    for kernel, step in zip(architecture.kernels, architecture.spread, strict=True):
        may_share |= kernel > 1 and degree >= step
        degree += (kernel - 1) * step
    full = architecture.is_full_dimensional
    certain = [
        "the target is a member of the function space: the floor of the loss is attained" if zero_loss
        else "the target is not a member of the function space: the floor of the loss is out of reach"
        if zero_loss is False
        else "the target is not a member, but the inputs do not determine the filter: a member may be at the floor too"
    ]  # fmt: skip
    if definite:
        certain.append("gradient flow converges to a critical point, whatever the start")
    regular = "" if full else ", a critical point of the loss on the function space"
    shared = ", or layers that share a root, so that the filter has a repeated one" if may_share else ""
    at_floor = "" if zero_loss is False else "the floor of the loss, "
    certain.append(f"every critical point is one of: {at_floor}the zero filter{regular}{shared}")
    typical = ["from almost all starts gradient flow avoids saddles, among them the zero filter and layers that share "
               "complex roots only"]  # fmt: skip
    if full and zero_loss:
        typical.append(
            "runs reach the floor, or stop at a local minimum where layers share a real root: also in filling "
            "architectures, for targets with complex roots" if may_share else "runs reach the floor"
        )  # fmt: skip
    elif full:
        typical.append(
            "runs end at a repeated real root, on the boundary of the function space more often than inside"
        )
    return Prediction(
        architecture=architecture,
        loss=loss,
        membership=found,
        zero_loss=zero_loss,
        may_share=may_share,
        certain=tuple(certain),
        typical=tuple(typical),
    )
