"""The one file format: safetensors with a description, read lazily, written atomically."""

from lcstool.checkpoint.digest import content_digest, streamed_digest, tensor_bytes
from lcstool.checkpoint.finite import all_finite
from lcstool.checkpoint.header import FORMAT_VERSION, Header, canonical_json
from lcstool.checkpoint.layout import TensorInfo
from lcstool.checkpoint.reader import Checkpoint, open_checkpoint
from lcstool.checkpoint.sparse import CsrTensor, StreamedTensor, csr_bytes, store
from lcstool.checkpoint.writer import check_writable, copy_to_stdout, replaced_file, write_checkpoint

__all__ = [
    "FORMAT_VERSION",
    "Checkpoint",
    "CsrTensor",
    "Header",
    "StreamedTensor",
    "TensorInfo",
    "all_finite",
    "canonical_json",
    "check_writable",
    "content_digest",
    "copy_to_stdout",
    "csr_bytes",
    "open_checkpoint",
    "replaced_file",
    "store",
    "streamed_digest",
    "tensor_bytes",
    "write_checkpoint",
]
