"""The images that a network was trained on, and the network's errors on them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lcstool.data.dataset import Split
from lcstool.devices import resolve_device
from lcstool.errors import BadInputError
from lcstool.evaluation import evaluate
from lcstool.images import input_map, load_images
from lcstool.randomness import stream
from lcstool.record import last_training
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.description import Description


@dataclass(frozen=True)
class Images:
    """A data set on a device.

    Attributes:
        train, test: Its splits.
        notes: What a reader should know of how they relate to the network's training.
    """

    train: Split
    test: Split
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
    trainings = [entry for entry in description.header.history if entry["stage"] == "train"]
    last = last_training(trainings) or {}
    options = last.get("config", {})
    if options.get("labels", "true") != "true":
        raise BadInputError(
            f"{where} was trained on labels of its own ({options['labels']}), not on those of a data set",
            hint="give its evidence with --samples and --train-error",
        )
    classes = tuple(options.get("classes") or ())
    known = {entry.get("inputs", {}).get("dataset") for entry in trainings} - {None}
    dataset = load_images(config.dataset, config.data_dir, spec, where, classes)
    seed = last.get("seed", 0)
    if options.get("val_fraction"):
        dataset = dataset.with_validation(options["val_fraction"], stream(seed, "validation"))
    if options.get("train_size"):
        dataset = dataset.with_train_size(options["train_size"], stream(seed, "subset"))
    notes: tuple[str, ...] = ()
    if not known:
        notes = ("the file does not say what images it was trained on; these are taken to be those",)
    elif dataset.digest not in known:
        raise BadInputError(
            f"{where} was not trained on {dataset.name} as it is here (another content digest); its error there is "
            "no training error",
            hint="name the data set it was trained on with --dataset, or give --samples and --train-error",
        )
    device = resolve_device(config.device)
    return Images(dataset.train.to(device), dataset.test.to(device), notes)
