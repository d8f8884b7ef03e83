"""No number changes unseen: small runs against the numbers kept beside them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from golden.small_runs import NUMBERS, small_runs
from surroundings import environment

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


RUNS = {
    "s-fc": "--arch s-fc --alpha 1",
    "vanilla-cnn": "--arch vanilla-cnn --alpha 2 --optim sgd --augment fast-autoaugment",
}
TRAIN = """
import sys
from lcstool.cli.main import app
for words in sys.argv[1:]:
    app(words.split(), standalone_mode=False)
"""


@pytest.mark.long  # by default, test_a_named_output of tests/cli compares such processes for an s-fc
def test_two_processes_give_the_same_bytes(tiny_npz: Path, tmp_path: Path) -> None:
    """Whatever the order of sets and dicts: the seed of Python's hashes changes nothing."""
    for seed in ("0", "4711"):
        lines = [
            f"train {flags} --dataset npz:{tiny_npz} --epochs 2 --batch-size 16 --device cpu -q -o {name}.{seed}"
            for name, flags in RUNS.items()
        ]
        env = environment(PYTHONHASHSEED=seed)
        command = [sys.executable, "-c", TRAIN, *lines]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=env, timeout=120)
    for name in RUNS:
        assert (tmp_path / f"{name}.0").read_bytes() == (tmp_path / f"{name}.4711").read_bytes()
