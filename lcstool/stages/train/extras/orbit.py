"""`--lr-match orbit`: an embedded network is trained as the convolutional network that it stands for would be."""

from typing import Self

from lcstool.distributed import Group
from lcstool.models.embedding.subspace import Subspace
from lcstool.stages.train.extras.extra import Extra
from lcstool.stages.train.setup import Setup


class TiedGradients(Extra):
    """Replaces the gradient of each weight by the sum over all weights that are one weight of the convolution."""

    changes_gradients = True

    def __init__(self, subspace: Subspace) -> None:
        self._subspace = subspace

    @classmethod
    def of(cls, setup: Setup, group: Group) -> Self | None:
        if setup.config.lr_match != "orbit" or setup.subspace is None:
            return None
        return cls(setup.subspace)

    def before_update(self) -> None:
        self._subspace.tie_gradients()
