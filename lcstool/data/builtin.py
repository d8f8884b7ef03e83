"""The built-in data set, made on first use and kept in the cache."""

from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from lcstool.checkpoint import StreamedTensor
from lcstool.data.leaves import CLASS_NAMES, MAX_SIZE, MIN_SIZE, make_leaves
from lcstool.data.reading import Reading
from lcstool.data.sources import Request
from lcstool.errors import UsageError

LEAVES_VERSION = 1  # raised whenever the images change, so that no old cache is read
NUM_TRAIN, NUM_TEST = 20_000, 4_000


def read_leaves(request: Request) -> Reading:
    """`leaves`: ten shapes on dead leaves, 20,000 training and 4,000 test images; see `lcstool.data.leaves`."""
    height, width = request.image_size or (16, 16)
    if height != width or not MIN_SIZE <= height <= MAX_SIZE:
        raise UsageError(f"leaves are square images of {MIN_SIZE} to {MAX_SIZE} pixels, not {height}x{width}")

    @cache
    def made() -> tuple[Tensor, ...]:
        return make_leaves(height, NUM_TRAIN, NUM_TEST)

    def streamed(part: int, count: int) -> StreamedTensor:
        def blocks() -> Iterator[Tensor]:
            yield made()[part]

        return StreamedTensor(torch.uint8, (count, 3, height, width), blocks)

    def labels(part: int) -> Callable[[], Tensor]:
        return lambda: made()[part]

    return Reading(
        images={"train": streamed(0, NUM_TRAIN), "test": streamed(2, NUM_TEST)},
        labels={"train": labels(1), "test": labels(3)},
        class_names=CLASS_NAMES,
        contents=f"v{LEAVES_VERSION}",
    )
