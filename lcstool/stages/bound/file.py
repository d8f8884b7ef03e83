"""A file of kind `code`: a network as a bit string, and in the header what the decoder knows without it.

The bits are stored as the tensor `bits`, eight to a byte. Architecture, tensor names, shapes and the kind of values are
fixed before any data is seen, so they stand in the header and do not count as part of the description. Everything that
training learnt is in the bits.
"""

import numpy as np
import torch
from torch import nn

from lcstool.checkpoint import Checkpoint, Header, open_checkpoint, write_checkpoint
from lcstool.choices import DESCRIBED_NORMS
from lcstool.codes import CODES, BitString, Side, Values
from lcstool.devices import memory_errors
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.record import Entry
from lcstool.stages.bound.description import MEAN, STD, Description, blank, rebuilt, side_of, with_input

CODE = "code"
_BITS = "bits"


def decode_file(file: str, out: str) -> None:
    """Write the network that a code file describes.

    Raises:
        BadInputError: not a code file, or a broken one.
    """
    with memory_errors():
        header, model = read_code(open_checkpoint(file))
        write_checkpoint(out, header, model.state_dict())


def write_code(
    out: str, description: Description, side: Side, bits: BitString, entry: Entry, *, code: str, bn: str
) -> None:
    """Write a bit string and what its decoder needs beside it.

    Args:
        out: The file, or `-`.
        description: The network that the bits describe; its header says the architecture.
        side: What encoder and decoder both know of its tensors.
        bits: The bit string.
        entry: The history entry of this stage.
        code: Name of the code that made the bits.
        bn: `fold` or `count`, as in `describe`.
    """
    source, values = description.header, side.values
    learnt = ("mean", "std")  # these two are described by the bits
    header = Header(
        kind=CODE,
        model=source.model,
        input={name: value for name, value in (source.input or {}).items() if name not in learnt},
        layers=source.layers,
        history=(*source.history, entry),
        state={
            "code": code,
            "bn": bn,
            "num_bits": bits.num_bits,
            "values": {"method": values.method, "bits": values.bits, "scope": values.scope},
        },
    )
    write_checkpoint(out, header, {_BITS: torch.from_numpy(np.frombuffer(bits.data, np.uint8).copy())})


def read_code(checkpoint: Checkpoint) -> tuple[Header, nn.Module]:
    """Decode the bit string of a code file.

    Returns:
        The header of a model file, and the network.

    Raises:
        BadInputError: not a code file, or bits that are too short, too long or not a string of the code.
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
    if state.get("bn") not in DESCRIBED_NORMS or header.input is None:
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
    model, fields = rebuilt(model, header, CODES[code].decode(bits, side))
    found = Header(
        kind="model", model=header.model, input=header.input, layers=header.layers, history=header.history
    )
    return with_input(found, fields), model
