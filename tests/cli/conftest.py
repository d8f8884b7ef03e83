"""A command line for tiny runs, and a trained model to look at."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_flags(tiny_npz: Path) -> tuple[str, ...]:
    """Flags of a run of two epochs of four steps."""
    return (
        "--dataset", f"npz:{tiny_npz}", "--alpha", "1", "--epochs", "2", "--batch-size", "16", "--augment", "none",
        "--device", "cpu",
    )  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_flags: tuple[str, ...]) -> Path:
    """The file of such a run; read-only to its users."""
    path = tmp_path_factory.mktemp("trained") / "net.safetensors"
    command = [sys.executable, "-m", "lcstool", "train", *tiny_flags, "-q", "-o", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=path.parent, timeout=120)
    return path
