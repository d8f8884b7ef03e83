"""How much a test tries: a little by default, all of it in the long run, which `-m "long or not long"` selects."""

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


def examples(many: int) -> settings:
    """So many examples of hypothesis in the long run, and an eighth of them by default."""
    return settings(max_examples=max(1, many * settings.default.max_examples // 100), deadline=None)
