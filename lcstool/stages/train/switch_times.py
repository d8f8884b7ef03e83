"""The epochs at which a CNN is embedded: log-spaced, as in the paper."""

import math


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
