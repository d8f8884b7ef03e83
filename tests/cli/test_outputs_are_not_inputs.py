"""No command writes over what it reads, under whatever name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", "net.safetensors"),
        ("prune-stats", "net.safetensors", "--threshold", "0.1"),
        ("prune-stats", "net.safetensors"),
        ("bound", "net.safetensors", "--samples", "10", "--train-error", "0.1"),
        ("interpolate", "net.safetensors", "net.safetensors"),
        ("train", "--init", "net.safetensors"),
        ("energy", "net.safetensors"),
    ],
    ids=lambda arguments: " ".join(arguments[:1]),
)
def test_an_output_that_is_an_input_is_refused(
    arguments: tuple[str, ...], trained: Path, run_cli: Callable[..., Any], tmp_path: Path
) -> None:
    before = trained.read_bytes()
    (tmp_path / "net.safetensors").write_bytes(before)
    (tmp_path / "link.safetensors").symlink_to("net.safetensors")
    failed = run_cli(*arguments, "-o", "link.safetensors")
    assert failed.code == 2
    assert "net.safetensors" in failed.stderr
    assert (tmp_path / "net.safetensors").read_bytes() == before
