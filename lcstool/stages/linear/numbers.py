"""Numbers as JSON can write them."""

import math


def json_number(value: float | None) -> float | str | None:
    """A finite number as it is; infinity, which JSON has no number for, as `inf` or `-inf`."""
    if value is None or math.isfinite(value):
        return value
    return "inf" if value > 0 else "-inf"
