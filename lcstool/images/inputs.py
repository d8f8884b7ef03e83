"""How stored images become the input of a network, as its header says."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lcstool.checkpoint import Header
from lcstool.data.preprocess import Preprocess
from lcstool.errors import BadInputError
from lcstool.models.spec import ModelSpec


def input_map(
    fields: dict[str, Any] | None, spec: ModelSpec, where: str, device: torch.device, dtype: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """What makes stored images the network's input, as its header says.

    Args:
        fields: The header's `input`.
        spec: Of the network.
        where: Its file, for errors.
        device: Of the images.
        dtype: Of the input.

    Raises:
        BadInputError: the header does not say it, or not well.
    """
    if fields is None:
        raise BadInputError(
            f"{where} does not say how its input is normalised",
            hint="lcstool convert FILE --mean M --std S says it",
        )
    return Preprocess.from_json(fields, spec.channels, where).on(device, spec.image, dtype)


def pixel_order(header: Header | None, in_shape: tuple[int, int, int] | None, where: str) -> Tensor | None:
    """The permutation of the pixels that a network was trained under, as `Preprocess.pixel_order` gives it.

    Args:
        header: Of the network's file, if lcstool wrote it.
        in_shape: Channels, height and width of the network's input, if they are known.
        where: The file, for errors.

    Returns:
        None where the pixels were not permuted, or nothing says so.
    """
    if header is None or header.input is None or in_shape is None:
        return None
    channels, height, width = in_shape
    return Preprocess.from_json(header.input, channels, where).pixel_order((height, width))
