"""The house rules that a syntax tree shows: what a stage looks like, and how files, classes and output are kept."""

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest
from source_tree import MODULES, PACKAGE, part, tree

import lcstool

STAGES = PACKAGE / "stages"
#: The folder of each stage, and its name in schemas: `linear/space` is `linear-space`.
FOLDERS = {
    "-".join(path.parent.relative_to(STAGES).parts).replace("_", "-"): path.parent
    for path in sorted(STAGES.rglob("*.py"))
    if path.name in ("config.py", "result.py", "stage.py")
}


def module_of(folder_name: str, file: str) -> str:
    return ".".join(("lcstool.stages", *FOLDERS[folder_name].relative_to(STAGES).parts, file))


def functions(module: str, name: str) -> Iterator[ast.FunctionDef]:
    """All functions and methods of this name."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield node


def test_every_folder_under_stages_is_a_stage_or_part_of_one() -> None:
    assert len(FOLDERS) > 7
    stages = set(FOLDERS.values())
    groups = {folder.parent for folder in stages} - stages  # `stages` and `linear`
    for path in STAGES.rglob("*.py"):
        assert {path.parent, *path.parent.parents} & (stages | groups), path
    for folder in groups:
        inside = {path for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"}
        assert inside <= stages | groups


@pytest.mark.parametrize("name", FOLDERS)
def test_a_stage_has_a_config_a_result_and_one_function_of_its_name(name: str) -> None:
    folder = FOLDERS[name]
    assert {"config.py", "result.py", "stage.py"} <= {path.name for path in folder.iterdir()}
    body = tree(module_of(name, "stage")).body
    public = [node.name for node in body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    assert public == [folder.name]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_result_begins_with_its_schema(name: str) -> None:
    first_entries = [
        (ast.literal_eval(node.keys[0]), ast.literal_eval(node.values[0]))
        for function in functions(module_of(name, "result"), "to_json")
        for node in ast.walk(function)
        if isinstance(node, ast.Dict) and node.keys and isinstance(node.keys[0], ast.Constant)
        and isinstance(node.values[0], ast.Constant)
    ]  # fmt: skip
    assert ("schema", f"lcstool.{name}/1") in first_entries


def test_large_dataclasses_are_made_by_keyword() -> None:
    positional = []
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if not isinstance(node, ast.ClassDef):
                continue
            marks = [ast.unparse(decorator) for decorator in node.decorator_list]
            fields = [own for own in node.body if isinstance(own, ast.AnnAssign)
                      and "ClassVar" not in ast.unparse(own.annotation)]  # fmt: skip
            for mark in marks:
                if mark.startswith("dataclass") and len(fields) > 3 and "kw_only=True" not in mark:
                    positional.append(f"{module}.{node.name}")
    assert positional == []


def test_ranges_stand_beside_fields_not_in_long_checks() -> None:
    long = {module: length for module in MODULES for node in functions(module, "__post_init__")
            if (length := (node.end_lineno or 0) - node.lineno + 1) > 15}  # fmt: skip
    assert long == {}


def test_a_file_is_a_room() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > 250} == {}
    names = {"utils", "helpers", "common", "misc"}
    assert [module for module in MODULES if names & set(module.split("."))] == []


def test_only_the_command_line_prints() -> None:
    printing = [
        module for module in MODULES if part(module) not in ("cli", "")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]  # fmt: skip
    assert printing == []


def test_one_module_owns_standard_output() -> None:
    """Beside it: `writer` sends tensors to a pipe, and `streams` closes standard output when its reader has gone."""
    users = {
        module for module in MODULES for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.__stdout__")
    }  # fmt: skip
    assert users == {"lcstool.checkpoint.writer", "lcstool.cli.outputs", "lcstool.cli.streams"}


@pytest.mark.long
def test_help_answers_at_once() -> None:
    """CPU time of a process, the best of three: a busy machine must not fail it."""

    def cpu_seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "lcstool", "--help"], capture_output=True, check=True, timeout=60
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cpu_seconds() for _ in range(3)) < 1.0


def test_the_public_face_is_there() -> None:
    for name in lcstool.__all__:
        assert getattr(lcstool, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = lcstool.nothing
