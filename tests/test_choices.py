"""The words that options offer are the words that the library knows."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import fields

import pytest
import torch

from lcstool import choices, stages
from lcstool.codes import CODES
from lcstool.codes.grids import GRIDS
from lcstool.codes.quantise import ROUNDINGS
from lcstool.codes.side import METHODS, Values
from lcstool.data.augment import AUGMENTATIONS
from lcstool.energy import Descent
from lcstool.evaluation import compute_loss
from lcstool.models.registry import ARCHITECTURES
from lcstool.options import Config
from lcstool.stages.train.step import AUTOCAST

LISTS = [set(words) for words in vars(choices).values() if isinstance(words, tuple)]


@pytest.mark.parametrize(
    ("registry", "words"),
    [
        (CODES, choices.CODES),
        (GRIDS, choices.GRIDS),
        (ROUNDINGS, choices.GRIDS),
        (AUGMENTATIONS, choices.AUGMENTATIONS),
        (AUTOCAST, choices.PRECISIONS),
    ],
    ids=["codes", "grids", "roundings", "augmentations", "precisions"],
)
def test_registries_have_the_words_that_options_offer(
    registry: Iterable[str], words: tuple[str, ...]
) -> None:
    assert sorted(registry) == sorted(words)


def test_codes_go_by_the_names_they_are_registered_under() -> None:
    assert {name: code.name for name, code in CODES.items()} == {name: name for name in choices.CODES}


def test_every_grid_is_a_kind_of_values() -> None:
    assert set(choices.GRIDS) < set(METHODS)
    assert all(Values(method, 4).method == method for method in METHODS)


def test_losses_differ() -> None:
    logits, labels = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([1])
    assert len({compute_loss(loss, logits, labels).item() for loss in choices.LOSSES}) == len(choices.LOSSES)
    rates = {Descent(steps=1, lr=0.1, loss=loss).rate(10) for loss in choices.LINEAR_LOSSES}
    assert len(rates) == len(choices.LINEAR_LOSSES)


def test_options_offer_listed_words() -> None:
    """A list of choices or the names of architectures, with at most one word more, such as `all`."""
    configs = list(_configs())
    assert len(configs) > 10
    for config in configs:
        for entry in fields(config):
            offered = set(entry.metadata["choices"])
            if not offered or entry.metadata["choices"] == "datasets":
                continue
            listed = [words for words in LISTS if words <= offered and len(offered - words) <= 1]
            assert listed or offered <= set(ARCHITECTURES), f"{config.__name__}.{entry.name}"


def _configs() -> Iterator[type[Config]]:
    """The configurations of all stages."""
    for module in pkgutil.walk_packages(stages.__path__, f"{stages.__name__}."):
        if module.name.endswith("config"):
            importlib.import_module(module.name)
    found = [Config]
    while found:
        config = found.pop()
        found += config.__subclasses__()
        yield config
