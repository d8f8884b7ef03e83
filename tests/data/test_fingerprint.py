"""The index of file digests: files are read again when, and only when, they may have changed."""

import os
import time
from pathlib import Path

import pytest

from lcstool.data import fingerprint
from lcstool.data.fingerprint import files_digest
from lcstool.errors import BadInputError

NAMES = ["a", "b/c"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    for name in NAMES:
        (root / name).write_text(name * 9)
    return root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    read, true = [], fingerprint._file_digest

    def noted(file: Path) -> str:
        read.append(file.name)
        return true(file)

    monkeypatch.setattr(fingerprint, "_file_digest", noted)
    return read


def changed(path: Path) -> None:
    """Another content of the same size under the same time."""
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_files_are_read_once(
    root: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_SETTLED_NS", -1)
    digest = files_digest(root, NAMES, tmp_path / "cache")
    assert (reads, len(digest)) == (["a", "c"], 64)
    assert files_digest(root, NAMES, tmp_path / "cache") == digest
    assert reads == ["a", "c"]
    assert files_digest(root, NAMES, tmp_path / "other") == digest
    assert files_digest(root, NAMES[:1], tmp_path / "cache") != digest
    assert files_digest(root, NAMES[::-1], tmp_path / "cache") != digest
    root.rename(tmp_path / "moved")
    assert files_digest(tmp_path / "moved", NAMES, tmp_path / "cache") == digest


def test_a_change_under_the_same_size_and_time_is_seen(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_SETTLED_NS", -1)
    digest = files_digest(root, NAMES, tmp_path)
    time.sleep(0.05)  # longer than a tick of the file system's clock
    changed(root / "b" / "c")
    assert files_digest(root, NAMES, tmp_path) != digest


def test_a_young_file_is_read_again(
    root: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that does not tick between two writes shows the same of both."""
    monkeypatch.setattr(fingerprint, "file_stamp", lambda found: str(found.st_size))
    digest = files_digest(root, NAMES, tmp_path)
    assert not (tmp_path / "index").exists()
    changed(root / "a")
    assert files_digest(root, NAMES, tmp_path) != digest
    assert len(reads) == 4


def test_a_file_that_changes_while_it_is_read_is_not_indexed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_SETTLED_NS", -1)
    true = fingerprint._file_digest

    def slow(file: Path) -> str:
        digest = true(file)
        file.write_text("longer than it was before")
        return digest

    monkeypatch.setattr(fingerprint, "_file_digest", slow)
    files_digest(root, NAMES, tmp_path)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"stamp": 1}', "\x00", '{"stamp": "x", "digest": "y"}'])
def test_a_damaged_index_is_written_again(
    root: Path, tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_SETTLED_NS", -1)
    digest = files_digest(root, NAMES, tmp_path)
    (index,) = (tmp_path / "index").iterdir()
    whole = index.read_text()
    index.write_text(content)
    assert files_digest(root, NAMES, tmp_path) == digest
    assert index.read_text() == whole


def test_missing_files_and_folders(root: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nothing cannot be read: No such file"):
        files_digest(root, ["nothing"], tmp_path)
    (root / "a").unlink()
    (root / "a").mkdir()
    with pytest.raises(BadInputError, match="a cannot be read: Is a directory"):
        files_digest(root, NAMES, tmp_path)
    (tmp_path / "index").write_text("a file")  # where the index would go
    assert files_digest(root, NAMES[1:], tmp_path)
