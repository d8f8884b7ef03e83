"""Choose the base channels (alpha) at which an architecture's fully-connected counterpart has so many parameters."""

import re
from dataclasses import replace

from lcstool.errors import UsageError
from lcstool.models.build import empty_model
from lcstool.models.layers.parameters import count_parameters
from lcstool.models.registry import ARCHITECTURES
from lcstool.models.spec import ModelSpec

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


def parse_count(text: str) -> int:
    """`256M`, `1.5G`, `300K` or a plain number, as a count; UsageError otherwise."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?)([KMGB]?)", text.strip().upper())
    if not match or not float(match[1]):
        raise UsageError(f"{text!r} is not a number of parameters", hint="write it like 256M, 1.5G or 300000")
    return round(float(match[1]) * _UNITS[match[2]])


def fc_equivalent_parameters(spec: ModelSpec) -> int:
    """The parameter count of the fully-connected counterpart (itself, where it is one).

    Raises:
        UsageError: for an architecture without a counterpart.
    """
    counterpart = ARCHITECTURES[spec.arch].fc_counterpart
    if counterpart is None:
        raise UsageError(f"{spec.arch} has no fully-connected counterpart", hint="size it with --alpha")
    return count_parameters(empty_model(replace(spec, arch=counterpart)))


def sized_by_fc_params(spec: ModelSpec, target: int) -> ModelSpec:
    """The spec whose FC-equivalent parameter count is nearest to `target`.

    3-fc is sized by its width, the others by alpha; the count grows with either, so bisection finds it.
    """
    knob = "width" if spec.arch == "3-fc" else "alpha"

    def count(value: int) -> int:
        sized = replace(spec, width=value) if knob == "width" else replace(spec, alpha=value)
        return fc_equivalent_parameters(sized)

    if count(1) > 2 * target:
        raise UsageError(
            f"{spec.arch} has {count(1):,} FC-equivalent parameters at {knob} 1, more than {target:,}"
        )
    low, high = 1, 2
    while count(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= target else (low, middle)
    best = min((low, high), key=lambda value: abs(count(value) - target))
    return replace(spec, width=best) if knob == "width" else replace(spec, alpha=best)
