"""No number changes unseen: small runs against the numbers kept beside them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from golden.small_runs import NUMBERS, small_runs

RELATIVE = 2e-4  # other processors sum in another order; two epochs let that grow to about 1e-5
ACCURACY = 0.021  # two of a hundred images may change sides


def compare(found: Any, kept: Any, where: str) -> None:
    assert type(found) is type(kept), where
    if isinstance(kept, dict):
        assert found.keys() == kept.keys(), where
        for name in kept:
            compare(found[name], kept[name], f"{where}: {name}")
    elif isinstance(kept, list):
        assert len(found) == len(kept), where
        for index, pair in enumerate(zip(found, kept, strict=True)):
            compare(*pair, f"{where}[{index}]")
    elif isinstance(kept, float) and "accuracy" in where:
        assert found == pytest.approx(kept, abs=ACCURACY), where
    elif isinstance(kept, float):
        assert found == pytest.approx(kept, rel=RELATIVE, abs=1e-6), where
    else:
        assert found == kept, where


def test_the_numbers_are_those_kept() -> None:
    compare(small_runs(), json.loads(NUMBERS.read_text()), "numbers")


def test_a_changed_number_is_seen() -> None:
    kept = {"losses": [1.0, 2.0], "digest": "a"}
    for changed in (
        {"losses": [1.0, 2.001], "digest": "a"},
        {"losses": [1.0, 2.0], "digest": "b"},
        {"losses": [1.0]},
    ):
        with pytest.raises(AssertionError):
            compare(changed, kept, "numbers")


@pytest.mark.parametrize(
    "flags",
    [
        ("--arch", "s-fc", "--alpha", "1"),
        ("--arch", "vanilla-cnn", "--alpha", "2", "--optim", "sgd", "--augment", "fast-autoaugment"),
    ],
    ids=["s-fc", "vanilla-cnn"],
)
def test_two_processes_give_the_same_bytes(flags: tuple[str, ...], tiny_npz: Path, tmp_path: Path) -> None:
    """Whatever the order of sets and dicts: the seed of Python's hashes changes nothing."""
    for seed in ("0", "4711"):
        command = [sys.executable, "-m", "lcstool", "train", *flags, "--dataset", f"npz:{tiny_npz}", "--epochs", "2",
                   "--batch-size", "16", "--device", "cpu", "-q", "-o", f"{seed}.safetensors"]  # fmt: skip
        env = os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=env, timeout=120)
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "4711.safetensors").read_bytes()
