"""Files of tensors: any that hold a network are read lazily; safetensors files of ours are written all or nothing."""

from lcstool.checkpoint.container import Checkpoint
from lcstool.checkpoint.digest import content_digest, streamed_digest, tensor_bytes
from lcstool.checkpoint.finite import all_finite
from lcstool.checkpoint.header import FORMAT_VERSION, Header, canonical_json
from lcstool.checkpoint.layout import TensorInfo
from lcstool.checkpoint.reader import open_checkpoint
from lcstool.checkpoint.safetensors_file import SafetensorsFile
from lcstool.checkpoint.sparse import CsrTensor, StreamedTensor, csr_bytes, store
from lcstool.checkpoint.writer import check_writable, copy_to_stdout, replaced_file, write_checkpoint

__all__ = [
    "FORMAT_VERSION",
    "Checkpoint",
    "CsrTensor",
    "Header",
    "SafetensorsFile",
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
