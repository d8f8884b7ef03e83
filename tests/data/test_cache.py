"""The cache of decoded images: made once, mapped by all, right after whatever befalls it."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from data.sources import arrays_of, refusal, write_folder
from PIL import Image
from surroundings import environment

from lcstool.checkpoint import content_digest
from lcstool.data import load_dataset
from lcstool.data.dataset import ImageDataset

MakeNpz = Callable[..., Path]
LOAD = """
import os, signal, sys
from pathlib import Path
from lcstool.data import load_dataset, npz

def killed(images, size, true=npz.resize_images, calls=[]):
    calls.append(images)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return true(images, size)

npz._BLOCK_IMAGES, npz.resize_images = 8, killed
print(load_dataset(sys.argv[1], None, Path(sys.argv[2])).digest)
"""


def entries(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir / "decoded").glob("*.safetensors"))


def unfinished(data_dir: Path) -> list[Path]:
    return list((data_dir / "decoded").glob(".*.tmp"))


@pytest.fixture
def source(tmp_path: Path, make_npz: MakeNpz) -> Path:
    return make_npz(tmp_path / "a.npz")


@pytest.fixture
def load(tmp_path: Path, source: Path) -> Callable[..., ImageDataset]:
    """Load `npz:a.npz` with a cache of its own."""
    return lambda size=None, **options: load_dataset(f"npz:{source}", size, tmp_path / "data", **options)


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is decoded."""
    from lcstool.data import npz

    done, true = [], npz.as_bytes

    def noted(images: np.ndarray, where: str) -> np.ndarray:
        done.append(where.split()[-1])
        return true(images, where)

    monkeypatch.setattr(npz, "as_bytes", noted)
    return done


def same(one: ImageDataset, other: ImageDataset) -> bool:
    return one.digest == other.digest and all(
        getattr(getattr(one, split), part).equal(getattr(getattr(other, split), part))
        for split in ("train", "test")
        for part in ("images", "labels")
    )


# An entry


def test_the_second_use_maps_what_the_first_decoded(
    tmp_path: Path, load: Callable[..., ImageDataset], decodings: list[str]
) -> None:
    first, second = load((8, 8)), load((8, 8))
    assert sorted(decodings) == ["test_images", "train_images"]
    assert same(first, second)
    assert first.digest == content_digest(
        {f"{split}/{part}": getattr(getattr(first, split), part) for split in ("train", "test")
         for part in ("images", "labels")}
    )  # fmt: skip
    assert [second.entry] == list((tmp_path / "data" / "decoded").glob("npz-*-8x8-v1.safetensors"))
    assert str(second.entry) in Path("/proc/self/maps").read_text()
    second.train.images[0] += 1  # a private copy of the page
    assert same(first, load((8, 8)))


def test_another_size_or_version_is_another_entry(
    tmp_path: Path, load: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (None, (16, 16), (8, 8), (8, 9)):
        load(size)
    assert len(entries(tmp_path / "data")) == 3
    monkeypatch.setattr("lcstool.data.cache.VERSION", 2)
    load()
    assert len(entries(tmp_path / "data")) == 4


def test_what_is_asked_of_the_labels_and_the_test_split_makes_no_other_entry(
    tmp_path: Path, load: Callable[..., ImageDataset]
) -> None:
    whole = load()
    assert same(whole, load(test=False))
    assert same(whole, load(every_class=False))
    assert len(entries(tmp_path / "data")) == 1


# Other contents


def test_one_changed_byte_makes_a_new_entry(
    tmp_path: Path, source: Path, load: Callable[..., ImageDataset]
) -> None:
    first = load()
    arrays, before = arrays_of(source), source.stat()
    arrays["train_images"][0, 0, 0, 0] ^= 1
    time.sleep(0.05)  # longer than a tick of the file system's clock
    np.savez(source, **arrays)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (source.stat().st_size, source.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    second = load()
    assert (second.train.images != first.train.images).sum() == 1
    assert second.digest != first.digest
    assert len(entries(tmp_path / "data")) == 2


def test_one_changed_picture_makes_a_new_entry(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    write_folder(tmp_path / "images", images, np.arange(6) % 2)
    first = load_dataset(f"folder:{tmp_path / 'images'}", None, tmp_path / "data", test=False)
    changed = tmp_path / "images" / "train" / "1" / "00003.png"
    before = changed.stat()
    time.sleep(0.05)
    Image.fromarray(255 - images[3]).save(changed)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = load_dataset(f"folder:{tmp_path / 'images'}", None, tmp_path / "data", test=False)
    assert (second.train.images != first.train.images).flatten(1).any(1).tolist() == [False] * 4 + [
        True,
        False,
    ]
    assert len(entries(tmp_path / "data")) == 2


def test_a_file_that_changes_while_it_is_decoded_leaves_no_entry(
    tmp_path: Path, source: Path, make_npz: MakeNpz, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lcstool.data import npz

    true = npz.as_bytes

    def replaced(images: np.ndarray, where: str) -> np.ndarray:
        make_npz(source, seed=1)
        return true(images, where)

    monkeypatch.setattr(npz, "as_bytes", replaced)
    error = refusal(f"npz:{source}", data_dir=tmp_path / "data")
    assert "the files of npz changed while they were read" in error.message
    assert entries(tmp_path / "data") == []
    monkeypatch.setattr(npz, "as_bytes", true)
    make_npz(tmp_path / "b.npz", seed=1)
    assert same(
        load_dataset(f"npz:{source}", None, tmp_path / "data"), load_dataset(f"npz:{tmp_path / 'b.npz'}")
    )


# Damage


@pytest.mark.parametrize("damage", ["cut", "bit", "longer", "empty", "no note", "odd note", "other digest"])
def test_a_damaged_entry_is_made_again(
    load: Callable[..., ImageDataset], decodings: list[str], damage: str
) -> None:
    first = load()
    assert first.entry is not None
    content, note = first.entry.read_bytes(), first.entry.with_suffix(".json")
    time.sleep(0.05)
    if damage == "no note":
        note.unlink()
    elif damage == "odd note":
        note.write_text("[1, 2]")
    elif damage == "other digest":
        note.write_text('{"digest": "sha256:0", "stamp": "0"}')
    else:
        changed = {
            "cut": content[:-1], "bit": content[:-9] + bytes([content[-9] ^ 4]) + content[-8:],
            "longer": content + b"x", "empty": b"",
        }[damage]  # fmt: skip
        (first.entry.with_name("new")).write_bytes(changed)
        (first.entry.with_name("new")).rename(first.entry)  # what is mapped is as it was
    again = load()
    assert same(again, first)
    assert len(decodings) == 4
    assert first.entry.read_bytes() == content
    assert same(load(), first)
    assert len(decodings) == 4


def test_a_copied_cache_is_used(
    tmp_path: Path, source: Path, load: Callable[..., ImageDataset], decodings: list[str]
) -> None:
    first = load()
    (tmp_path / "data").rename(tmp_path / "old")
    (tmp_path / "data" / "decoded").mkdir(parents=True)
    for path in (tmp_path / "old" / "decoded").glob("npz*"):
        (tmp_path / "data" / "decoded" / path.name).write_bytes(path.read_bytes())
    assert same(load(), first)
    assert len(decodings) == 2


# Several processes, killed ones, and no room


@pytest.fixture
def started(
    forked_python: tuple[str, ...], source: Path, tmp_path: Path
) -> Callable[..., "subprocess.Popen[str]"]:
    """Load the images in a process, which kills itself at the so manieth block."""
    script = tmp_path / "load.py"
    script.write_text(LOAD)

    def start(kill_at: int = 0) -> "subprocess.Popen[str]":
        command = [*forked_python, script, f"npz:{source}", tmp_path / "data", str(kill_at)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())

    return start


def test_a_killed_process_leaves_nothing_under_an_entrys_name(
    tmp_path: Path, load: Callable[..., ImageDataset], started: Callable[..., "subprocess.Popen[str]"]
) -> None:
    with started(kill_at=3) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert entries(tmp_path / "data") == []
    assert len(unfinished(tmp_path / "data")) == 1
    dataset = load()
    assert len(dataset.train) == 64
    (left,) = unfinished(tmp_path / "data")
    os.utime(left, (0, 0))
    load((8, 8))
    assert unfinished(tmp_path / "data") == []


def test_two_processes_at_once(
    tmp_path: Path, load: Callable[..., ImageDataset], started: Callable[..., "subprocess.Popen[str]"]
) -> None:
    both = [started() for _ in range(2)]
    digests = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(entries(tmp_path / "data")) == 1
    assert unfinished(tmp_path / "data") == []
    assert [load().digest] * 2 == digests


def test_two_writers_of_one_entry(
    tmp_path: Path, source: Path, load: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that writes an entry while the other one is in the midst of it, and finishes first."""
    from lcstool.data import npz

    true, inner = npz.resize_images, []

    def interrupted(images: object, size: object) -> object:
        if not inner:
            inner.append(None)
            inner[0] = load()
        return true(images, size)  # type: ignore[arg-type]

    monkeypatch.setattr(npz, "resize_images", interrupted)
    outer = load()
    assert same(outer, inner[0])
    assert same(outer, load())
    assert len(entries(tmp_path / "data")) == 1


def in_memory(dataset: ImageDataset) -> bool:
    return dataset.entry is None


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, source: Path, load: Callable[..., ImageDataset]
) -> None:
    whole = load()
    (tmp_path / "file").write_text("a file where the data folder would be")
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed" / "decoded").write_text("likewise")
    for folder in ("file", "sealed"):
        dataset = load_dataset(f"npz:{source}", None, tmp_path / folder)
        assert in_memory(dataset)
        assert same(dataset, whole)


def test_a_disk_without_room(
    tmp_path: Path, source: Path, load: Callable[..., ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))  # full in the midst of an entry
    try:
        dataset = load_dataset(f"npz:{source}", None, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert in_memory(dataset)
    assert same(dataset, whole)
    assert (entries(tmp_path / "full"), unfinished(tmp_path / "full")) == ([], [])

    monkeypatch.setattr("lcstool.data.cache.shutil.disk_usage", lambda _: SimpleNamespace(free=100_000))
    dataset = load_dataset(f"npz:{source}", None, tmp_path / "small")
    assert in_memory(dataset)
    assert same(dataset, whole)
    assert entries(tmp_path / "small") == []
