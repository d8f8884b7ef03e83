"""How much a test tries: a little by default, all of it in the long run, which `-m "long or not long"` selects."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings


def few_or_many(few: int, many: int) -> list[Any]:
    """The parameters of a test that repeats something so often: the many times in the long run alone."""
    return [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.long)]


def first_of(values: list[Any], num_default: int) -> list[Any]:
    """The parameters of a test: the first so many by default, the others in the long run alone."""
    rest = [pytest.param(*own, marks=pytest.mark.long) if isinstance(own, tuple)
            else pytest.param(own, marks=pytest.mark.long) for own in values[num_default:]]  # fmt: skip
    return [*values[:num_default], *rest]


def shallow_first(archs: Iterable[str]) -> list[Any]:
    """The parameters of a test of all architectures: the deeper siblings of VGG-11 in the long run alone."""
    ordered = sorted(archs, key=lambda arch: arch.startswith(("vgg13", "vgg16", "vgg19")))
    return first_of(ordered, sum(not arch.startswith(("vgg13", "vgg16", "vgg19")) for arch in ordered))


def is_long() -> bool:
    """Whether this is the long run; once pytest has read its configuration."""
    return bool(settings.default.max_examples >= 100)


def examples(many: int, few: int = 3, **others: Any) -> settings:
    """So many examples of hypothesis in the long run; by default a twentieth of them, though no fewer than `few`."""
    share = many * settings.default.max_examples // 100
    return settings(max_examples=min(many, max(few, share)), deadline=None, **others)
