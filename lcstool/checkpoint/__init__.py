"""The one file format: safetensors with a description, read lazily, written atomically."""

from lcstool.checkpoint.header import FORMAT_VERSION, Header, canonical_json
from lcstool.checkpoint.layout import TensorInfo
from lcstool.checkpoint.reader import Checkpoint, open_checkpoint, tensor_bytes
from lcstool.checkpoint.sparse import CsrTensor, StreamedTensor
from lcstool.checkpoint.writer import check_writable, replaced_file, write_checkpoint

__all__ = [
    "FORMAT_VERSION",
    "Checkpoint",
    "CsrTensor",
    "Header",
    "StreamedTensor",
    "TensorInfo",
    "canonical_json",
    "check_writable",
    "open_checkpoint",
    "replaced_file",
    "tensor_bytes",
    "write_checkpoint",
]
