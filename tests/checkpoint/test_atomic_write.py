"""A name holds the old file or the new one, whole, and nothing else is left behind."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lcstool.checkpoint import (
    Header,
    StreamedTensor,
    check_writable,
    open_checkpoint,
    replaced_file,
    write_checkpoint,
)
from lcstool.errors import OutputError

STATS = Header(kind="stats")


def failing(error: BaseException) -> StreamedTensor:
    def blocks() -> Iterator[Tensor]:
        yield torch.ones(2)
        raise error

    return StreamedTensor(torch.float32, (4,), blocks)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), OSError(28, "No space left on device")]
)
def test_a_failure_keeps_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a"
    write_checkpoint(path, STATS, {"t": torch.zeros(4)})
    before = path.read_bytes()
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write_checkpoint(path, STATS, {"t": failing(error)})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_failure_leaves_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"):
        write_checkpoint(tmp_path / "a", STATS, {"t": failing(ValueError("x"))})
    assert list(tmp_path.iterdir()) == []


def test_a_streamed_tensor_of_another_size_is_a_bug_not_a_file(tmp_path: Path) -> None:
    short = StreamedTensor(torch.float32, (4,), lambda: [torch.ones(3)])
    with pytest.raises(RuntimeError, match="12 bytes were made, 16 declared"):
        write_checkpoint(tmp_path / "a", STATS, {"t": short})
    assert list(tmp_path.iterdir()) == []


def test_readers_of_the_old_file_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_checkpoint(path, STATS, {"t": torch.zeros(4)})
    old = open_checkpoint(path)
    write_checkpoint(path, STATS, {"t": torch.ones(4)})
    assert old["t"].tolist() == [0] * 4
    assert open_checkpoint(path)["t"].tolist() == [1] * 4


def test_a_tensor_may_be_written_over_the_file_it_is_mapped_from(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_checkpoint(path, STATS, {"t": torch.arange(4.0)})
    mapped = open_checkpoint(path)["t"]
    write_checkpoint(path, STATS, {"t": mapped + 1, "same": mapped})
    assert open_checkpoint(path)["same"].tolist() == [0, 1, 2, 3]


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    for attempt in (lambda: write_checkpoint(tmp_path, STATS, {}), lambda: check_writable(tmp_path)):
        with pytest.raises(OutputError) as caught:
            attempt()
        assert str(tmp_path) in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder(tmp_path: Path) -> None:
    path = tmp_path / "no" / "a"
    with pytest.raises(OutputError, match="No such file or directory"):
        write_checkpoint(path, STATS, {})
    with pytest.raises(OutputError, match="does not exist"):
        check_writable(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    for attempt in (lambda: write_checkpoint(folder / "a", STATS, {}), lambda: check_writable(folder / "a")):
        with pytest.raises(OutputError):
            attempt()
    assert list(folder.iterdir()) == []


def test_a_fifo_is_written_through_and_stays_a_fifo(tmp_path: Path) -> None:
    fifo, plain = tmp_path / "fifo", tmp_path / "plain"
    os.mkfifo(fifo)
    received = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    write_checkpoint(fifo, STATS, {"t": torch.arange(4)})
    reader.join(timeout=20)
    write_checkpoint(plain, STATS, {"t": torch.arange(4)})
    assert received == [plain.read_bytes()]
    assert fifo.is_fifo()


def test_the_name_appears_only_at_the_end(tmp_path: Path) -> None:
    with replaced_file(tmp_path / "a") as file:
        file.write(b"x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"x"
    assert len(list(tmp_path.iterdir())) == 1
