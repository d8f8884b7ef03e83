"""The recipes of Kohn et al. 2022: commands that parse, a function for each target, and one target made for real."""

import ast
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import check

FOLDER = Path(__file__).parents[1] / "examples" / "k21"
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    left_out = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "OUT", "SCALE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    command = ["make", "--no-print-directory", "-C", str(FOLDER), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment | {"OMP_NUM_THREADS": "1"})


def printed(scale: str) -> list[str]:
    done = make("-nB", "all", f"SCALE={scale}", "OUT=/nowhere")
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\\\n", " ").splitlines()


@needs_make
@pytest.mark.parametrize("scale", ["demo", "small", "paper"])
def test_every_command_parses(scale: str) -> None:
    stages = []
    for line in printed(scale):
        for command in re.split(r"\s(?:\||&&)\s", line):
            words = shlex.split(re.sub(r">\S+", "", command))
            if words[:1] != ["lcstool"]:
                continue
            assert words[1] == "linear"
            stages.append(words[2])
            check(words[1:])
    assert stages.count("ends") == 5
    assert {"train", "scan", "certify", "probe", "critical"} <= set(stages)


@needs_make
def test_targets_have_as_many_entries_as_their_filters() -> None:
    for line in printed("paper"):
        found = re.search(r"linear critical --kernels (\S+) --strides (\S+) --target (\S+)", line)
        if found:
            kernels, strides, target = ([float(own) for own in part.split(",")] for part in found.groups())
            size, spread = 1.0, 1.0
            for kernel, stride in zip(kernels, strides, strict=True):
                size, spread = size + (kernel - 1) * spread, spread * stride
            assert len(target) == size, line


def test_what_does_not_parse_is_found() -> None:
    for wrong in (
        ["linear", "ends", "--kernel", "2,2"],
        ["linear", "certify"],
        ["no-stage"],
    ):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            check(wrong)


@needs_make
def test_every_target_has_a_recipe() -> None:
    listed = make("-s", "print-targets").stdout.split()
    drawn = {
        target: file
        for file, target in re.findall(r"python3 (\w+\.py) /nowhere/(\w+)\.json", "\n".join(printed("demo")))
    }
    assert sorted(drawn) == sorted(listed)
    for target, file in drawn.items():
        tree = ast.parse((FOLDER / file).read_text(encoding="utf-8"))
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        decorators = [ast.unparse(own).split("(")[0] for own in functions[target].decorator_list]
        assert decorators == ["recipe"]


def test_words_for_roots() -> None:
    spec = importlib.util.spec_from_file_location("k21_runs", FOLDER / "runs.py")
    assert spec is not None
    assert spec.loader is not None
    runs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runs)
    assert [runs.roots(own) for own in ("2|0", "211|0", "2|1", "0|2", "0|11", "4|0")] == [
        "double", "double, 2 simple", "double, complex pair", "double complex pair", "2 complex pair", "4-fold",
    ]  # fmt: skip
    assert runs.kernels([3, 2], [1, 1]) == "k = (3,2)"
    assert runs.kernels([3, 2], [2, 1]) == "k = (3,2), s = (2,1)"
    assert runs.entries([-1e-9, 0.89999]) == "0, 0.9"


@needs_make
def test_a_target_is_made_and_then_left_alone(tmp_path: Path, forked_programs: tuple[str, str]) -> None:
    sizes = ["POINTS=2", "PLAIN=2,2_1,1_3", "SEARCHES=20"]
    programs = [*forked_programs, f"OUT={tmp_path}"]
    done = make("critical", *programs, *sizes)
    assert done.returncode == 0, done.stderr[-2000:]
    critical = json.loads((tmp_path / "critical.json").read_text())
    assert critical["dataset"] == "synthetic"
    filters = [point["filter"] for point in critical["numbers"]["surveys"][0]["points"]]
    assert any(own == pytest.approx([0.9, 0.6, 0.1]) for own in filters)
    assert (tmp_path / "critical.png").stat().st_size > 1000
    again = make("critical", *programs, *sizes)
    assert again.returncode == 0
    assert "lcstool" not in again.stdout
    assert ".py" not in again.stdout
