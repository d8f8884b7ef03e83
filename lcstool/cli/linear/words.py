"""Words of the reports of `lcstool linear`: lists of numbers, yes and no."""

from collections.abc import Iterable


def sizes(values: Iterable[int]) -> str:
    return ",".join(map(str, values))


def numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)


def yes(value: bool) -> str:
    return "yes" if value else "no"
