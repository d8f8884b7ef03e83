"""The content digest is one function of names, dtypes, shapes and bytes, whoever asks for it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lcstool.checkpoint import CsrTensor, Header, content_digest, open_checkpoint, write_checkpoint
from lcstool.checkpoint.layout import DTYPES
from lcstool.data import load_dataset
from lcstool.energy.basis import PatchBasis

TENSORS = {
    "b": torch.arange(6, dtype=torch.float32).view(2, 3),
    "a": torch.tensor(2.5, dtype=torch.bfloat16),
    "c": torch.zeros(0, 3, dtype=torch.int64),
}


def test_it_is_sha256_of_names_dtypes_shapes_and_bytes() -> None:
    hasher = hashlib.sha256(b"a\0BF16\0[]\0" + bytes.fromhex("2040"))
    hasher.update(b"b\0F32\0[2, 3]\0" + TENSORS["b"].numpy().tobytes())
    hasher.update(b"c\0I64\0[0, 3]\0")
    assert content_digest(TENSORS) == f"sha256:{hasher.hexdigest()}"


def test_neither_order_nor_memory_layout_counts() -> None:
    turned = {"c": TENSORS["c"], "a": TENSORS["a"], "b": TENSORS["b"].T.contiguous().T}
    assert not turned["b"].is_contiguous()
    assert content_digest(turned) == content_digest(TENSORS)


@pytest.mark.parametrize(
    "other",
    [
        {"x": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.tensor([0.0, 0, 0, -0.0])},
        {"a": torch.zeros(4), "b": torch.zeros(0)},
    ],
    ids=["name", "shape", "dtype", "bits", "one more"],
)
def test_everything_else_counts(other: dict[str, Tensor]) -> None:
    assert content_digest(other) != content_digest({"a": torch.zeros(4)})


def test_a_file_has_the_digest_of_its_tensors(tmp_path: Path) -> None:
    tensors = TENSORS | {name: torch.ones(3, 2).to(dtype) for name, dtype in DTYPES.items()}
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, Header(kind="stats"), tensors)
    assert open_checkpoint(path).digest() == content_digest(tensors)
    write_checkpoint(path, Header(kind="stats"), tensors | {"b": CsrTensor.from_dense(tensors["b"])})
    assert open_checkpoint(path).digest() == content_digest(tensors)


def test_a_data_set_has_the_digest_of_its_images_and_labels(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (4, 3, 6, 5), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 1, 0])
    arrays = {"train_images": images, "train_labels": labels}
    arrays |= {"test_images": images[:2], "test_labels": labels[:2]}
    np.savez(tmp_path / "a.npz", **{name: tensor.numpy() for name, tensor in arrays.items()})
    tensors = {name.replace("_", "/"): tensor for name, tensor in arrays.items()}
    assert load_dataset(f"npz:{tmp_path / 'a.npz'}").digest == content_digest(tensors)


def test_an_empty_tensor_of_numpy_has_a_digest() -> None:
    empty = torch.from_numpy(np.zeros(0, np.int64))
    assert content_digest({"a": empty}) == content_digest({"a": torch.zeros(0, dtype=torch.int64)})


def test_a_patch_basis_has_the_digest_of_what_determines_it() -> None:
    images = torch.randint(0, 256, (4, 3, 6, 5), dtype=torch.uint8)
    basis = PatchBasis.of([images], (3, 3))
    tensors = {
        "kernel_size": torch.tensor([3, 3]),
        "num_patches": torch.tensor(4 * 4 * 3),
        "pixel_mean": torch.zeros(3, dtype=torch.float64),
        "pixel_std": torch.ones(3, dtype=torch.float64),
        "sums": basis.moments.sums_D,
        "scatter": basis.moments.scatter_DD,
    }
    assert basis.digest == content_digest(tensors)
