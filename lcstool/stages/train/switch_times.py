"""The epochs after which copies of the network are kept; log-spaced ones are the switch times of the paper."""

import math

from lcstool.errors import UsageError


def switch_times(epochs: int, count: int = 20) -> tuple[int, ...]:
    """Epoch 0, and `count` log-spaced epochs from 1 to `epochs`, rounded down and without repetitions.

    Ref:
        d'Ascoli et al. 2019 (arXiv 1906.06766), section 4: the switch times t_w.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if epochs < 1:
        return (0,)
    steps = [index / (count - 1) for index in range(count)] if count > 1 else [1.0]
    # The small shift keeps the last point, exactly `epochs`, from being rounded down to `epochs - 1`.
    return tuple(sorted({0} | {math.floor(epochs**step + 1e-9) for step in steps}))


def parse_snapshots(text: str, epochs: int) -> tuple[int, ...]:
    """The epochs of `0,1,5`, `log:20` (see `switch_times`) or `all`, ascending.

    Raises:
        UsageError: the text is none of these, or names an epoch that the run does not have.
    """
    if text == "all":
        return tuple(range(epochs + 1))
    try:
        if text.startswith("log:"):
            return switch_times(epochs, int(text.removeprefix("log:")))
        wanted = sorted({int(part) for part in str(text).split(",")})
    except ValueError:
        raise UsageError(
            f"snapshots {text!r} is not a list of epochs", hint="write '0,1,5', 'log:20' or 'all'"
        ) from None
    if wanted[0] < 0 or wanted[-1] > epochs:
        raise UsageError(f"snapshots {text!r}: the run has epochs 0 to {epochs}")
    return tuple(wanted)
