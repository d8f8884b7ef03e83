"""Every benchmark runs, at a tiny size, and writes its numbers; one whose ways disagree fails."""

import json
import subprocess
from pathlib import Path

import pytest
from surroundings import environment

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
#: Sizes at which a benchmark takes little more than its imports.
TINY = {
    "beta_lasso": "--sizes 2e4 --layer 8e5 --batch 8 --rounds 1",
    "distinct_values": "--size 1e4 --rounds 1",
}
#: Those that start many commands, train, or take several seconds.
LONGER = {
    "cost_curves": "--weights 1e5 --stages embed,count --rounds 1",
    "dataset_cache": "--images 40 --files 20 --rounds 1",
    "embed": "--image 8 --rounds 1",
    "prune_stats": "--weights 8e5 --rounds 1",
    "sparse_evaluation": "--batch 4 --rounds 1",
    "sparse_tail": "--steps 2",
    "linear_path": "--points 3 --images 4 --image 8 --batch 4 --rounds 1",
    "local_layer": "--batch 2 --image 8 --rounds 1",
    "locality_map": "--nonzeros 200 --units 8 --image 6 --rounds 1",
    "string_step": "--points 4 --batch 4 --networks d-fc --gc-points 0 --rounds 1",
    "loader": "--batch 16 --batches 1 --draws 2000 --rounds 1",
    "patch_pca": "--images 64 --side 8 --rounds 1",
    "train_step": "--alpha 1 --batch 64 --steps 2 --rounds 1",
}
ALL = [pytest.param(*row, id=row[0]) for row in TINY.items()]
ALL += [pytest.param(*row, id=row[0], marks=pytest.mark.long) for row in LONGER.items()]
BREAKS = """
import runpy, sys
from dataclasses import replace
sys.path.insert(0, sys.argv[1])
import lcstool.locality as locality
true = locality.displacement_map
def off_by_one(weights):
    found = true(weights)
    return replace(found, same_YX=found.same_YX + 1)
locality.displacement_map = off_by_one
sys.argv[0:2] = [sys.argv[1] + "/locality_map.py"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment())


def test_every_benchmark_is_run() -> None:
    scripts = {path.stem for path in BENCHMARKS.glob("*.py")} - {"measure", "results"}
    assert scripts <= TINY.keys() | LONGER.keys()


@pytest.mark.parametrize(("name", "sizes"), ALL)
def test_a_benchmark_runs_and_writes_its_numbers(
    name: str, sizes: str, tmp_path: Path, forked_python: tuple[str, ...]
) -> None:
    numbers = tmp_path / "numbers.json"
    done = run(*forked_python, BENCHMARKS / f"{name}.py", *sizes.split(), "--json", numbers)
    assert done.returncode == 0, done.stderr
    assert "|---|" in done.stdout
    document = json.loads(numbers.read_text(encoding="utf-8"))
    assert {"machine", "targets"} < document.keys()
    for target in document["targets"]:
        assert target["ratio"] > 0


def test_ways_that_disagree_make_a_benchmark_fail(tmp_path: Path, forked_python: tuple[str, ...]) -> None:
    numbers, breaks = tmp_path / "numbers.json", tmp_path / "breaks.py"
    breaks.write_text(BREAKS)
    sizes = LONGER["locality_map"].split()
    done = run(*forked_python, breaks, BENCHMARKS, *sizes, "--json", numbers)
    assert done.returncode == 1
    assert "pairs of one channel: the two ways differ by 1" in done.stderr
    assert not numbers.exists()
