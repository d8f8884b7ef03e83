"""Time to load a data set again, from the cache of decoded images, compared with decoding it each time.

    python benchmarks/dataset_cache.py [--images 50000] [--files 5000] [--size 16] [--rounds 3] [--dataset NAME]
                                       [--json FILE]

The data sets are an archive of --images noise images of 32x32 and a folder of --files JPEG files, each with a fifth as
many test images; or a data set of yours. The first use decodes the images and writes the cache; the second maps the
cache into memory. All ways must give the same content digest. Compare CPU times, since decoding may use several
threads. Memory is the peak of a process that maps the images and reads them all, without the memory of the libraries.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from measure import Target, add_json_option, interleave, write_json
from PIL import Image

from lcstool.checkpoint import content_digest
from lcstool.data import load_dataset, read_dataset

SIDE, CLASSES = 32, 10
PEAK = """
import json, sys
from pathlib import Path
from lcstool.data import load_dataset

def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])

name, size, data_dir = sys.argv[1:]
load_dataset(name, (int(size), int(size)), Path(data_dir))  # the libraries that it takes are no part of the images
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = resident("VmRSS")
dataset = load_dataset(name, (int(size), int(size)), Path(data_dir))
splits = (dataset.train, dataset.test)
for split in splits:
    split.images.max()
print(json.dumps([resident("VmHWM") - before, sum(s.images.nbytes + s.labels.nbytes for s in splits)]))
"""


def make_npz(path: Path, num_images: int) -> str:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, size in (("train", num_images), ("test", max(CLASSES, num_images // 5))):
        arrays[f"{split}_images"] = rng.integers(0, 256, (size, SIDE, SIDE, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(size) % CLASSES
    np.savez(path, **arrays)
    return f"npz:{path}"


def make_folder(path: Path, num_images: int) -> str:
    rng = np.random.default_rng(0)
    for split, size in (("train", num_images), ("test", max(CLASSES, num_images // 5))):
        for index in range(size):
            folder = path / split / str(index % CLASSES)
            folder.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
            image.save(folder / f"{index:06}.jpg")
    return f"folder:{path}"


def ways_of(name: str, side: int, folder: Path) -> dict[str, Callable[[], str]]:
    """Each gives the content digest of the images that it found."""
    fresh = (folder / f"first-{number}" for number in count())
    size = (side, side)

    def decoded() -> str:
        reading = read_dataset(name, size)
        images = {f"{split}/images": streamed.whole() for split, streamed in reading.images.items()}
        return content_digest(images | {f"{split}/labels": read() for split, read in reading.labels.items()})

    def first() -> str:
        data_dir = next(fresh)
        digest = load_dataset(name, size, data_dir).digest
        shutil.rmtree(data_dir)
        return digest

    return {
        "decoding": decoded,
        "first use": first,
        "second use": lambda: load_dataset(name, size, folder / "kept").digest,
    }


def peak_of_mapping(name: str, side: int, data_dir: Path) -> tuple[int, int]:
    """Bytes that a process takes more when it maps and reads the images, and bytes of the arrays."""
    command = [sys.executable, "-c", PEAK, name, str(side), str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"mapping {name} failed: {done.stderr.strip()}")
    taken, arrays = json.loads(done.stdout)
    return taken, arrays


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dataset", metavar="NAME", help="time this one instead, npz:FILE or folder:PATH")
    add_json_option(parser)
    options = parser.parse_args()
    document: dict[str, Any] = {}
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="lcstool-") as made:
        folder = Path(made)
        sources = {options.dataset: options.dataset} if options.dataset else {
            f"npz, {options.images:,} images": make_npz(folder / "images.npz", options.images),
            f"folder, {options.files:,} JPEG files": make_folder(folder / "images", options.files),
        }  # fmt: skip
        print(f"at {options.size}x{options.size}; least / median / greatest milliseconds")
        print(
            "| data set | way | wall | CPU | CPU of decoding | memory, of the arrays |\n|---|---|---|---|---|---|"
        )
        for title, name in sources.items():
            ways = ways_of(name, options.size, folder)
            digests = {way: run() for way, run in ways.items()}
            if len(set(digests.values())) != 1:
                sys.exit(f"{title}: the ways give different images: {digests}")
            times = interleave(ways, options.rounds)
            taken, arrays = peak_of_mapping(name, options.size, folder / "kept")
            share = {way: timing.cpu_min_s / times["decoding"].cpu_min_s for way, timing in times.items()}
            for way, timing in times.items():
                memory = f"{taken / arrays:.2f}" if way == "second use" else ""
                print(f"| {title} | {way} | {timing.cells()} | {share[way]:.3f} | {memory} |")
            document[title] = times | {"second_use_bytes": taken, "array_bytes": arrays}
            targets += [
                Target(
                    quantity=f"second use of a data set, CPU, {title}, {options.size}x{options.size}",
                    against="decoding",
                    accept=0.1,
                    ratio=share["second use"],
                    at_most=True,
                ),
                Target(
                    quantity=f"second use of a data set, memory, {title}, {options.size}x{options.size}",
                    against="the arrays",
                    accept=1.1,
                    ratio=max(taken, 1) / arrays,
                    at_most=True,
                ),
            ]
    print("\nall ways give the same content digest")
    write_json(options.json, {"size": options.size, "times": document}, targets)


if __name__ == "__main__":
    main()
