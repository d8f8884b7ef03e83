"""Measure loss and accuracy of a run's network, and check that its weights are finite."""

import math

from lcstool.checkpoint import all_finite
from lcstool.data.dataset import Split
from lcstool.devices import local_part
from lcstool.distributed import ALONE
from lcstool.errors import NonFiniteError
from lcstool.evaluation import evaluate
from lcstool.stages.train.loop import Loop
from lcstool.stages.train.report import Record, score_fields
from lcstool.stages.train.step import AUTOCAST


class Scoring:
    """Scores of a run's network on its images, which are kept on the device."""

    def __init__(self, loop: Loop) -> None:
        dataset, device = loop.setup.dataset, loop.setup.device
        self.loop = loop
        others = {"val": dataset.validation, "test": dataset.test}
        self.splits: dict[str, Split] = {"train": loop.train} | {
            name: split.to(device) for name, split in others.items() if split is not None
        }

    def score(self, *names: str, check: bool = True) -> Record:
        """Loss and accuracy on some of the splits.

        Args:
            names: `train`, `val` or `test`; one that the run does not have is left out.
            check: Whether the losses must be finite.

        Raises:
            NonFiniteError: a loss is not finite.
        """
        setup, found = self.loop.setup, Record()
        for name in names:
            if name not in self.splits:
                continue
            with self.loop.as_written():
                score = evaluate(
                    setup.model,
                    self.splits[name],
                    self.loop.step.prepare,
                    setup.config.loss,
                    autocast=AUTOCAST[setup.config.precision],
                    # If the network is split over the ranks, they run it together, so each one scores all images.
                    group=ALONE if setup.is_split else self.loop.group,
                )
            if check and not math.isfinite(score.loss):
                raise self._error(f"the {name} loss is not finite")
            found |= score_fields(name, score, setup.config.loss)
        return found

    def check_weights(self) -> None:
        """NonFiniteError, on all ranks, if a tensor of the network is not finite."""
        setup, group = self.loop.setup, self.loop.group
        tensors = setup.model.state_dict().items()
        bad = next((name for name, tensor in tensors if not all_finite(local_part(tensor))), None)
        if setup.is_split and group.any(bad is not None) and bad is None:
            raise self._error("a weight that another rank holds is not finite")
        if bad is not None:
            raise self._error(f"{bad!r} is not finite")

    def _error(self, what: str) -> NonFiniteError:
        return NonFiniteError(
            f"{what} after epoch {self.loop.position.epoch + 1}",
            hint=f"lower --lr (now {self.loop.setup.config.lr:g})",
        )
