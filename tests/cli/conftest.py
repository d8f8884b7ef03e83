"""A command line for tiny runs, and a trained model to look at."""

import subprocess
from pathlib import Path

import pytest
from surroundings import environment


@pytest.fixture(scope="session")
def tiny_flags(tiny_npz: Path) -> tuple[str, ...]:
    """Flags of a run of two epochs of four steps."""
    return (
        "--dataset", f"npz:{tiny_npz}", "--alpha", "1", "--epochs", "2", "--batch-size", "16", "--augment", "none",
        "--device", "cpu",
    )  # fmt: skip


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_flags: tuple[str, ...], forked_python: tuple[str, ...]
) -> Path:
    """The file of such a run; read-only to its users."""
    path = tmp_path_factory.mktemp("trained") / "net.safetensors"
    command = [*forked_python, "-m", "lcstool", "train", *tiny_flags, "-q", "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True, env=environment(), cwd=path.parent, timeout=120)
    return path
