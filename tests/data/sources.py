"""Data sets on disk for tests, and how they are refused."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lcstool.data import load_dataset
from lcstool.errors import BadInputError


def refusal(name: str, **options: Any) -> BadInputError:
    """The error with which a data set is refused."""
    with pytest.raises(BadInputError) as caught:
        load_dataset(name, **options)
    assert "\n" not in caught.value.message
    return caught.value


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive, which is closed again."""
    with np.load(path) as archive:
        return dict(archive)


def write_folder(root: Path, images_NHWC: np.ndarray, labels_N: np.ndarray, split: str = "train") -> None:
    """One PNG file an image, in a folder of its class's number, named by its place."""
    for index, (image, label) in enumerate(zip(images_NHWC, labels_N, strict=True)):
        folder = root / split / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:05}.png")


def run_hint(hint: str | None) -> None:
    """Paste the command at the end of a hint into a shell."""
    assert hint is not None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = hint.split(": ", 1)[1]
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert done.returncode == 0, done.stderr
