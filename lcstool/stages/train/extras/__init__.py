"""Everything optional in a training step: one module each, and the list of them all.

To add one, write a module with a subclass of `Extra` and put the class into `KINDS`.
"""

from lcstool.distributed import Group
from lcstool.stages.train.extras.dropout import DropoutStreams
from lcstool.stages.train.extras.extra import Extra
from lcstool.stages.train.extras.frozen_norms import FrozenNorms
from lcstool.stages.train.extras.in_backward import StepInBackward
from lcstool.stages.train.extras.orbit import TiedGradients
from lcstool.stages.train.extras.refit import KeptZeros
from lcstool.stages.train.extras.rounding import Rounding
from lcstool.stages.train.extras.screening import Screening
from lcstool.stages.train.extras.shadows import ShadowedWeights
from lcstool.stages.train.setup import Setup

#: In the order in which they are made and act. Shadows come first: the others must see the tensors that they put in
#: the place of the weights.
KINDS: tuple[type[Extra], ...] = (
    ShadowedWeights,
    StepInBackward,
    Screening,
    FrozenNorms,
    DropoutStreams,
    KeptZeros,
    TiedGradients,
    Rounding,
)


def extras_of(setup: Setup, group: Group) -> list[Extra]:
    """The extras that a run uses, made ready for its first step."""
    found = (kind.of(setup, group) for kind in KINDS)
    return [extra for extra in found if extra is not None]
