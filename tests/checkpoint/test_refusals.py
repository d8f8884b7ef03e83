"""One test for each way a file can be wrong: each is refused with a message that names the file and the fault."""

import json
import pickle
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from amounts import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError

Write = Callable[..., Path]
GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def refusal(path: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        open_checkpoint(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600 + len(str(path))
    return caught.value.message


def test_a_good_file_made_by_hand_is_read(raw_file: Write) -> None:
    checkpoint = open_checkpoint(raw_file({"a": GOOD}))
    assert checkpoint["a"].tolist() == [0, 0]
    assert checkpoint.header is None


def test_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nothing")


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert "is empty" in refusal(tmp_path / "empty")


def test_truncated_anywhere(tmp_path: Path) -> None:
    write_checkpoint(
        tmp_path / "whole", Header(kind="model"), {"a": torch.ones(3), "b": torch.ones(2).double()}
    )
    whole = (tmp_path / "whole").read_bytes()
    cut = tmp_path / "cut"
    for length in range(1, len(whole)):
        cut.write_bytes(whole[:length])
        assert "truncated" in refusal(cut), length


def test_trailing_bytes(raw_file: Write) -> None:
    assert "too long: expected" in refusal(raw_file({"a": GOOD}, bytes(9)))


@pytest.mark.parametrize("length", [0, 1, 100_000_001, 2**63, 2**64 - 1])
def test_impossible_header_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "odd"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    assert f"a header of {length} bytes" in refusal(path)


def test_text_is_called_text(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# lcstool\nis not a network")
    assert "is text that begins with '# lcstoo'" in refusal(path)


def test_header_length_beyond_the_file(tmp_path: Path) -> None:
    path = tmp_path / "odd"
    path.write_bytes(struct.pack("<Q", 80_000_001) + b"{}")
    assert "truncated" in refusal(path)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{]", "not valid JSON"),
        (b'{"a": \xff}', "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"__metadata__":{"x":"1","x":"2"}}', "stands twice"),
        (b'{"a":' + json.dumps(GOOD).encode() + b',"a":' + json.dumps(GOOD).encode() + b"}", "stands twice"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 100_000, "not valid JSON"),
        (b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,8]}}', "not valid JSON"),
    ],
    ids=["broken", "not UTF-8", "list", "null", "NaN", "Infinity", "twice in metadata", "tensor twice", "deep list",
         "deep object", "5000 digits"],
)  # fmt: skip
def test_header_that_is_no_proper_json(raw_file: Write, raw: bytes, said: str) -> None:
    assert said in refusal(raw_file(raw))


@pytest.mark.parametrize(
    "metadata", [{"n": 1}, {"n": None}, {"n": {"m": "x"}}, ["x"], "x", None], ids=["number", "null", "nested", "list",
    "text", "nothing"],
)  # fmt: skip
def test_metadata_that_is_not_text(raw_file: Write, metadata: Any) -> None:
    assert "__metadata__ must map strings to strings" in refusal(
        raw_file({"__metadata__": metadata, "a": GOOD})
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "F33"}, "'a' has dtype 'F33'"),
        ({"dtype": "F6_E2M3"}, "'a' has dtype 'F6_E2M3'"),
        ({"dtype": ["F32"]}, "'a' has dtype"),
        ({"dtype": "F64"}, "'a' of shape [2] and dtype F64 takes 16 bytes, its data_offsets span 8"),
        ({"shape": [3]}, "takes 12 bytes"),
        ({"shape": [-2]}, "impossible shape"),
        ({"shape": [-1, -2]}, "impossible shape"),
        ({"shape": [2.0]}, "impossible shape"),
        ({"shape": [True, 2]}, "impossible shape"),
        ({"shape": "2"}, "impossible shape"),
        ({"shape": 2}, "impossible shape"),
        ({"shape": [2**63]}, "impossible shape"),
        ({"shape": [2**40, 2**40]}, "impossible shape"),
        ({"shape": [2**40, 2**40, 0], "data_offsets": [0, 0]}, "a"),
        ({"shape": [2**62] * 1000}, "impossible shape"),
        ({"shape": [1] * 1000}, "impossible shape"),
        ({"data_offsets": [8, 0]}, "data_offsets span -8"),
        ({"data_offsets": [-8, 0]}, "impossible data_offsets"),
        ({"data_offsets": [0, 8, 16]}, "impossible data_offsets"),
        ({"data_offsets": [0]}, "impossible data_offsets"),
        ({"data_offsets": None}, "impossible data_offsets"),
        ({"data_offsets": [0, 2**63]}, "impossible data_offsets"),
        ({"data_offsets": [2**61, 2**61 + 8]}, "begins at byte"),
        ({"extra": 1}, "exactly dtype, shape and data_offsets"),
        ({"shape": None}, "impossible shape"),
    ],
)
def test_impossible_tensor(raw_file: Write, changes: dict[str, Any], said: str) -> None:
    assert said in refusal(raw_file({"a": GOOD | changes}))


@pytest.mark.parametrize("tensor", [None, [], "F32", {"dtype": "F32"}])
def test_entry_that_is_no_tensor(raw_file: Write, tensor: Any) -> None:
    assert "'a' needs exactly dtype, shape and data_offsets" in refusal(raw_file({"a": tensor}))


@pytest.mark.parametrize(
    ("first", "second", "size"),
    [((0, 8), (4, 12), 12), ((0, 8), (0, 8), 8), ((0, 8), (12, 20), 20), ((4, 12), (12, 20), 20)],
    ids=["overlap", "the same bytes", "gap", "gap at the start"],
)
def test_offsets_overlap_or_leave_gaps(
    raw_file: Write, first: tuple[int, int], second: tuple[int, int], size: int
) -> None:
    header = {"a": GOOD | {"data_offsets": list(first)}, "b": GOOD | {"data_offsets": list(second)}}
    assert "neither overlap nor leave gaps" in refusal(raw_file(header, bytes(size)))


def test_offsets_beyond_the_file(raw_file: Write) -> None:
    assert "truncated: expected" in refusal(raw_file({"a": GOOD}, bytes(7)))


def test_a_shape_of_very_many_sides_is_refused_at_once(raw_file: Write) -> None:
    """The product of many huge sides is a number of millions of digits: it must never be worked out."""
    sides = b"4611686018427387904," * 40_000
    raw = b'{"a":{"dtype":"F32","shape":[' + sides[:-1] + b'],"data_offsets":[0,8]}}'
    path = raw_file(raw)
    begin = time.process_time()
    assert "impossible shape" in refusal(path)
    assert time.process_time() - begin < 1


class _Code:
    """Copies a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return shutil.copyfile, (__file__, str(self.target))


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", ["net.safetensors", "net.ckpt"])
def test_code_in_a_pickle_is_never_run(tmp_path: Path, name: str, protocol: int) -> None:
    path, target = tmp_path / name, tmp_path / "ran"
    path.write_bytes(pickle.dumps({"a": _Code(target)}, protocol=protocol))
    assert "cannot be read as a plain state dict" in refusal(path)
    torch.save({"state_dict": {"a": torch.ones(3)}, "args": _Code(target)}, path)
    assert torch.equal(open_checkpoint(path)["a"], torch.ones(3))
    assert not target.exists()


@pytest.mark.parametrize("content", [{"a": [1.0] * 50}, [torch.ones(2)], {"epoch": 3, "args": {}}], ids=str)
def test_a_file_of_torch_without_a_state_dict(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "net.pth")
    assert "is not a state dict" in refusal(tmp_path / "net.pth")


def described(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "described.safetensors"
    safetensors.torch.save_file({"a": torch.ones(2)}, path, metadata={"lcstool": text})
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"kind":"model"}', "has lcstool format 'None'"),
        ('{"format":2,"kind":"model"}', "has lcstool format '2'; this lcstool reads up to 1"),
        ('{"format":0,"kind":"model"}', "format '0'"),
        ('{"format":true,"kind":"model"}', "format 'True'"),
        ('{"format":"1","kind":"model"}', "format"),
        ('{"format":1}', "names no kind"),
        ('{"format":1,"kind":7}', "kind should be a str"),
        ('{"format":1,"kind":"model","colour":"red"}', "unknown key 'colour'"),
        ('{"format":1,"kind":"model","model":[]}', "model should be a dict"),
        ('{"format":1,"kind":"model","history":{}}', "history should be a list"),
        ('{"format":1,"kind":"model","history":[{}]}', "each history entry should name its stage"),
        ('{"format":1,"kind":"model","history":["train"]}', "each history entry should name its stage"),
        ('{"format":1,"kind":"model","state":3}', "state should be a dict"),
        ('{"format":1,"kind":"model","kind":"path"}', "stands twice"),
        ('{"format":1,"kind":"model","state":{"loss":NaN}}', "NaN is not JSON"),
    ],
)
def test_impossible_description(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(described(tmp_path, text))


def test_wrong_kind_and_no_kind(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"of kind 'stats'; expected 'model' or 'path'"):
        open_checkpoint(described(tmp_path, '{"format":1,"kind":"stats"}')).require_kind("model", "path")
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "plain")
    with pytest.raises(BadInputError, match="was not written by lcstool"):
        open_checkpoint(tmp_path / "plain").require_kind("model")


def test_unknown_tensor(raw_file: Write) -> None:
    with pytest.raises(BadInputError, match=r"has no tensor 'b'; it has a"):
        open_checkpoint(raw_file({"a": GOOD}))["b"]


@examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_one_changed_byte_is_refused_or_read(tmp_path: Path, place: int, byte: int) -> None:
    """Whatever a flipped byte makes of a file, reading it ends in a BadInputError or in tensors."""
    path = tmp_path / "flipped"
    write_checkpoint(
        path, Header(kind="model", history=({"stage": "train"},)), {"a": torch.ones(3), "b": torch.ones(2)}
    )
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        checkpoint = open_checkpoint(path)
        checkpoint.digest()
    except BadInputError as error:
        assert str(path) in error.message  # noqa: PT017
