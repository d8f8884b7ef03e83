"""The epochs after which copies are kept; for embedding, log-spaced as in the paper."""

import math

from lcstool.errors import UsageError


def switch_times(epochs: int, count: int = 20) -> tuple[int, ...]:
    """Epoch 0 and the distinct whole parts of `count` log-spaced epochs from 1 to `epochs`.

    Ref:
        d'Ascoli et al. 2019 (arXiv 1906.06766), section 4: the switch times t_w.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if epochs < 1:
        return (0,)
    steps = [index / (count - 1) for index in range(count)] if count > 1 else [1.0]
    # The small shift keeps exact powers (the last point) from falling below themselves by rounding.
    return tuple(sorted({0} | {math.floor(epochs**step + 1e-9) for step in steps}))


def parse_snapshots(text: str, epochs: int) -> tuple[int, ...]:
    """`0,1,5`, `log:20` (see `switch_times`) or `all`, ascending; UsageError for epochs that a run has not."""
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
