"""The training images that a bound rests on, and a network's error on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lcstool.data.dataset import Split
from lcstool.devices import resolve_device
from lcstool.errors import BadInputError
from lcstool.evaluation import evaluate
from lcstool.images import input_map, load_images
from lcstool.randomness import stream
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.description import Description


@dataclass(frozen=True)
class Images:
    """A data set on a device.

    Attributes:
        name: Of the data set.
        train, test: Splits.
        notes: What a reader must know of how they relate to the network's training.
    """

    name: str
    train: Split
    test: Split
    notes: tuple[str, ...]

    def errors(self, model: nn.Module, prepare: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        """Share of training and of test images that a network gets wrong, without augmentation."""
        model.to(self.train.images.device)
        train, test = (evaluate(model, split, prepare) for split in (self.train, self.test))
        return 1 - train.accuracy, 1 - test.accuracy


def load_evidence(config: BoundConfig, description: Description) -> Images:
    """The training images of a network.

    Raises:
        BadInputError: the network was trained on other images or on other labels. Its error on these would be no
            training error: of a test set it would certify what it was tested on.
    """
    spec, where = description.spec, description.where
    trained = [entry for entry in description.header.history if entry["stage"] == "train"]
    options = trained[-1].get("config", {}) if trained else {}
    if options.get("labels", "true") != "true":
        raise BadInputError(
            f"{where} was trained on labels of its own ({options['labels']}), not on those of a data set",
            hint="give its evidence with --samples and --train-error",
        )
    classes = tuple(options.get("classes") or ())
    known = {entry.get("inputs", {}).get("dataset") for entry in trained} - {None}
    dataset = load_images(config.dataset, config.data_dir, spec, where, classes)
    seed = trained[-1].get("seed", 0) if trained else 0
    if options.get("val_fraction"):
        dataset = dataset.with_validation(options["val_fraction"], stream(seed, "validation"))
    if options.get("train_size"):
        dataset = dataset.with_train_size(options["train_size"], stream(seed, "subset"))
    notes = []
    if not known:
        notes.append("the file does not say what images it was trained on; these are taken to be those")
    elif dataset.digest not in known:
        raise BadInputError(
            f"{where} was not trained on {dataset.name} as it is here (another content digest); its error there is "
            "no training error",
            hint="name the data set it was trained on with --dataset, or give --samples and --train-error",
        )
    device = resolve_device(config.device)
    return Images(dataset.name, dataset.train.to(device), dataset.test.to(device), tuple(notes))


def prepared(
    description: Description, fields: dict[str, Any], device: torch.device
) -> Callable[[Tensor], Tensor]:
    """From stored images to the input that a description says."""
    return input_map(fields, description.spec, description.where, device, torch.float32)
