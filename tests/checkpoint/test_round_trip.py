"""What is written is read again, by this reader and by the safetensors library, and equal content is equal bytes."""

import random
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from amounts import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from torch import Tensor

from lcstool.checkpoint import (
    CsrTensor,
    Header,
    StreamedTensor,
    canonical_json,
    open_checkpoint,
    store,
    write_checkpoint,
)
from lcstool.checkpoint.layout import DTYPES

MODEL = Header(kind="stats")
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__"
)
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any dtype, any bit pattern, scalars and empty tensors included."""
    dtype = draw(st.sampled_from(list(DTYPES.values())))
    shape = draw(SHAPES)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    content = random.Random(draw(st.integers(0, 2**32))).randbytes(size)
    if dtype == torch.bool:
        content = bytes(byte & 1 for byte in content)
    if not size:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape)


def assert_same_bits(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.reshape(-1).view(torch.uint8).equal(expected.reshape(-1).view(torch.uint8))


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.dictionaries(NAMES, tensors(), max_size=6))
def test_any_tensors_come_back(tmp_path: Path, content: dict[str, Tensor]) -> None:
    path = tmp_path / "any.safetensors"
    write_checkpoint(path, MODEL, content)
    checkpoint = open_checkpoint(path)
    plain = safetensors.torch.load_file(path)
    assert set(checkpoint.tensors) == set(plain) == set(content)
    for name, tensor in content.items():
        assert_same_bits(checkpoint[name], tensor)
        assert_same_bits(plain[name], tensor)
        assert checkpoint.tensors[name].num_elements == tensor.numel()
        assert checkpoint.tensors[name].begin % tensor.dtype.itemsize == 0
        blocks = list(checkpoint.rows(name, block_bytes=8))
        assert_same_bits(torch.cat(blocks) if tensor.ndim else blocks[0], tensor)
    before = path.read_bytes()
    write_checkpoint(path, MODEL, dict(reversed(content.items())))
    assert path.read_bytes() == before


@pytest.mark.parametrize("extra", range(0, 300, 8))
def test_every_header_length_is_read(tmp_path: Path, extra: int) -> None:
    """A length whose first byte is that of a pickle, for one, is no pickle."""
    path = tmp_path / "long.safetensors"
    write_checkpoint(path, Header(kind="x" * extra), {"a": torch.ones(2)})
    assert open_checkpoint(path)["a"].tolist() == [1, 1]


def test_a_header_as_long_as_a_zip_magic_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    length = int.from_bytes(b"PK", "little")
    write_checkpoint(path, Header(kind="x"), {})
    overhead = int.from_bytes(path.read_bytes()[:8], "little")
    write_checkpoint(path, Header(kind="x" * (length - overhead + 1)), {})
    assert path.read_bytes()[:2] == b"PK"
    assert open_checkpoint(path).tensors == {}


def test_the_header_comes_back(tmp_path: Path) -> None:
    header = Header(
        kind="model",
        model={"arch": "s-fc", "args": {"image": [16, 16]}},
        input={"mean": [0.5], "classes": ["Blüte", "<b>"]},
        layers={"layer1": {"groups": 1}},
        history=({"stage": "train", "seed": 0}, {"stage": "energy"}),
        state={"epoch": 1},
    )
    write_checkpoint(tmp_path / "a", header, {})
    assert open_checkpoint(tmp_path / "a").header == header
    assert open_checkpoint(tmp_path / "a").require_kind("path", "model") == header


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    content = {"b": torch.arange(6).reshape(2, 3), "a": torch.ones(3)}
    write_checkpoint(tmp_path / "one", MODEL, content)
    write_checkpoint(
        tmp_path / "two", Header(kind="path", history=({"stage": "x"},)), dict(sorted(content.items()))
    )
    safetensors.torch.save_file(content, tmp_path / "three")
    digests = {open_checkpoint(tmp_path / name).digest() for name in ("one", "two", "three")}
    assert len(digests) == 1
    assert open_checkpoint(tmp_path / "three").header is None


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 2.0, 3.0, 5.0])},
        {"b": torch.tensor([1.0, 2.0, 3.0, 4.0])},
        {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]])},
        {"a": torch.tensor([1.0, 2.0, 3.0, 4.0]).view(torch.int32)},
        {"a": torch.tensor([1.0, 2.0, 3.0, 4.0]), "b": torch.empty(0)},
    ],
    ids=["value", "name", "shape", "dtype", "one more"],
)
def test_the_digest_sees_everything_else(tmp_path: Path, other: dict[str, Tensor]) -> None:
    write_checkpoint(tmp_path / "one", MODEL, {"a": torch.tensor([1.0, 2.0, 3.0, 4.0])})
    write_checkpoint(tmp_path / "two", MODEL, other)
    assert open_checkpoint(tmp_path / "one").digest() != open_checkpoint(tmp_path / "two").digest()


@pytest.mark.parametrize("block_bytes", [1, 12, 13, 40, 1 << 20])
def test_rows_are_the_tensor(tmp_path: Path, block_bytes: int) -> None:
    tensor = torch.arange(30, dtype=torch.bfloat16).reshape(10, 3)
    write_checkpoint(tmp_path / "a", MODEL, {"t": tensor})
    checkpoint = open_checkpoint(tmp_path / "a")
    blocks = list(checkpoint.rows("t", block_bytes))
    assert_same_bits(torch.cat(blocks), tensor)
    assert all(block.nbytes <= max(block_bytes, 6) for block in blocks)


def test_a_streamed_tensor_is_the_tensor(tmp_path: Path) -> None:
    tensor = torch.randn(10, 3, generator=torch.Generator().manual_seed(0)).half()
    streamed = StreamedTensor(tensor.dtype, (10, 3), lambda: tensor.split(4))
    write_checkpoint(tmp_path / "streamed", MODEL, {"t": streamed, "u": torch.ones(())})
    write_checkpoint(tmp_path / "whole", MODEL, {"t": tensor, "u": torch.ones(())})
    assert (tmp_path / "streamed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_views_are_written_as_what_they_show(tmp_path: Path) -> None:
    whole = torch.arange(12).reshape(3, 4)
    write_checkpoint(tmp_path / "a", MODEL, {"t": whole.T, "s": whole[:, 1:3], "e": whole[:1].expand(5, 4)})
    checkpoint = open_checkpoint(tmp_path / "a")
    assert checkpoint["t"].equal(whole.T)
    assert checkpoint["s"].equal(whole[:, 1:3])
    assert checkpoint["e"].equal(whole[:1].expand(5, 4))


def test_canonical_json_is_canonical() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "ä"}) == '{"a":"\\u00e4","b":[1,2.5]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_any_class_name_can_be_written(tmp_path: Path) -> None:
    """A folder's name on disk need not be UTF-8; Python then shows it with lone surrogates."""
    header = Header(kind="model", input={"classes": ["caf\udce9"]})
    write_checkpoint(tmp_path / "a", header, {"t": torch.ones(1)})
    assert open_checkpoint(tmp_path / "a").header is not None


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (3, 2, 2)])
def test_csr_of_every_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    weight = torch.zeros(shape)
    weight.flatten()[::3] = 2.5
    write_checkpoint(tmp_path / "a", MODEL, {"w": CsrTensor.from_dense(weight)})
    assert open_checkpoint(tmp_path / "a")["w"].equal(weight)


@pytest.mark.parametrize(("num_nonzeros", "compressed"), [(0, True), (44, True), (45, False), (100, False)])
@pytest.mark.parametrize("streamed", [False, True])
def test_auto_stores_what_takes_fewer_bytes(
    num_nonzeros: int, compressed: bool, streamed: bool, tmp_path: Path
) -> None:
    """Of 4 x 25 float32: 400 bytes against 5 row starts of 8 bytes and 8 bytes a value."""
    weight = torch.zeros(4, 5, 5)
    weight.view(-1)[torch.randperm(100)[:num_nonzeros]] = -1.5
    rows = StreamedTensor(weight.dtype, (4, 5, 5), lambda: iter(weight.split(3))) if streamed else weight
    write_checkpoint(tmp_path / "a", MODEL, {"w": store(rows, "auto")})
    file = open_checkpoint(tmp_path / "a")
    assert file.is_compressed("w") == compressed
    assert file["w"].equal(weight)
