"""A network as its bit string: a file of kind `code`, whose header holds what the decoder knows beforehand.

The bits are the tensor `bits`, eight a byte. Architecture, names, shapes and kind of values are known beforehand: they
are the header's, and cost nothing; what was learnt from the data is in the bits alone.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from lcstool.checkpoint import Checkpoint, Header, write_checkpoint
from lcstool.codes import CODES, BitString, Side, Values
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.stages.bound.description import MEAN, STD, Description, blank, rebuilt, side_of, with_input

CODE = "code"
_BITS = "bits"


def write_code(
    out: str, description: Description, side: Side, code: str, bn: str, bits: BitString, entry: dict[str, Any]
) -> None:
    """Write a bit string with what its decoder knows."""
    known = dict(description.header.input or {})
    for learnt in ("mean", "std"):
        known.pop(learnt, None)
    values = side.values
    state = {
        "code": code,
        "bn": bn,
        "num_bits": bits.num_bits,
        "values": {"method": values.method, "bits": values.bits, "scope": values.scope},
    }
    given = description.header
    header = Header(CODE, given.model, known, given.layers, {}, (*given.history, entry), state)
    write_checkpoint(out, header, {_BITS: torch.from_numpy(np.frombuffer(bits.data, np.uint8).copy())})


def read_code(checkpoint: Checkpoint) -> tuple[Header, nn.Module]:
    """Decode a bit string.

    Returns:
        The header of the network's own file, and the network.

    Raises:
        BadInputError: not such a file, or a string that is too short, too long or impossible.
    """
    header, where = checkpoint.require_kind(CODE), checkpoint.where
    state = header.state or {}
    code, num_bits, values = state.get("code"), state.get("num_bits"), state.get("values")
    if (
        not isinstance(code, str)
        or code not in CODES
        or type(num_bits) is not int
        or not isinstance(values, dict)
    ):
        raise BadInputError(f"{where} does not say by which code, of how many bits and of what values it is")
    if state.get("bn") not in ("fold", "count") or header.input is None:
        raise BadInputError(f"{where} does not say how its batch norms and its input are described")
    if _BITS not in checkpoint.tensors or checkpoint.tensors[_BITS].dtype != torch.uint8:
        raise BadInputError(f"{where} has no tensor {_BITS!r} of bytes")
    try:
        kind = Values(str(values.get("method")), int(values.get("bits", 32)), str(values.get("scope")))
    except (TypeError, ValueError):
        raise BadInputError(f"{where}: the kind of values is not usable: {str(values)[:100]}") from None
    model, names = blank(header, str(state["bn"]), where)
    own = model.state_dict()
    channels = torch.zeros(ModelSpec.from_json(header.model or {}, where).channels)
    shapes = {MEAN: channels, STD: channels} | {name: own[name] for name in names}
    side = side_of(shapes, header, kind)
    bits = BitString(checkpoint[_BITS].numpy().tobytes(), num_bits)
    tensors = CODES[code].decode(bits, side)
    model, fields = rebuilt(model, header, tensors)
    return with_input(
        Header("model", header.model, header.input, header.layers, {}, header.history), fields
    ), model
