"""The images that a network was trained on, and the network's errors on them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lcstool.data.dataset import Split
from lcstool.devices import resolve_device
from lcstool.errors import BadInputError
from lcstool.evaluation import evaluate
from lcstool.images import (
    Cut,
    UsedDataset,
    as_trained,
    input_map,
    load_named,
    require_fit,
    trained_on,
    with_classes,
)
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.description import Description


@dataclass(frozen=True, kw_only=True)
class Images:
    """A data set on a device.

    Attributes:
        train, test: Its splits.
        used: Which data set it is.
        notes: What a reader should know of how they relate to the network's training.
    """

    train: Split
    test: Split
    used: UsedDataset
    notes: tuple[str, ...]

    def errors(
        self, model: nn.Module, description: Description, fields: dict[str, Any]
    ) -> tuple[float, float]:
        """Share of training and of test images that a network gets wrong, without augmentation.

        Args:
            model: The network; it is moved to the images' device.
            description: From which it was made.
            fields: The `input` of its header, which says how images are normalised.
        """
        device = self.train.images.device
        prepare = input_map(fields, description.spec, description.where, device, torch.float32)
        model.to(device)
        train, test = (evaluate(model, split, prepare) for split in (self.train, self.test))
        return 1 - train.accuracy, 1 - test.accuracy


def load_evidence(config: BoundConfig, description: Description) -> Images:
    """The training images of a network, as its history describes them.

    Raises:
        BadInputError: the network was trained on other images or other labels. Its error on these would not be a
            training error; on a test set, the bound would certify the very images it is tested on.
    """
    spec, where = description.spec, description.where
    known = trained_on(description.header)
    if known is not None and known.cut.labels != "true":
        raise BadInputError(
            f"{where} was trained on labels of its own ({known.cut.labels}), not on those of a data set",
            hint="give its evidence with --samples and --train-error",
        )
    found = load_named(config.dataset, config.data_dir, known, spec.image, where, warn=False)
    if found.used.same_as_trained is False:
        raise BadInputError(
            f"{where} was not trained on {found.used.name} as it is here (another content digest); its error there is "
            "no training error",
            hint="name the data set it was trained on with --dataset, or give --samples and --train-error",
        )
    cut = known.cut if known is not None else Cut()
    dataset = as_trained(cut, with_classes(found.dataset, cut.classes), spec)
    require_fit(dataset, spec, where)
    notes: tuple[str, ...] = ()
    if found.used.same_as_trained is None:
        notes = ("the file does not say what images it was trained on; these are taken to be those",)
    device = resolve_device(config.device)
    return Images(train=dataset.train.to(device), test=dataset.test.to(device), used=found.used, notes=notes)
