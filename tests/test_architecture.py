"""The house rules: imports run one way, the terminal lives under cli/, and the help answers at once."""

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lcstool

PACKAGE = Path(lcstool.__file__).parent
MODULES = {
    ".".join(("lcstool", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# A module may import its own part and those on lower floors; the middle floor's own order is below.
FLOORS = (
    {"errors"},
    {"checkpoint"},
    {
        "models",
        "data",
        "optim",
        "runtime",
        "distributed",
        "evaluation",
        "weights",
        "locality",
        "energy",
        "paths",
        "options",
        "images",
        "codes",
        "bounds",
        "lcn",
    },
    {"stages"},
    {"plots"},
    {"cli"},
)
APART = ("models", "data", "optim")


def part(module: str) -> str:
    """`lcstool.stages.train.setup` -> `stages`."""
    return [*module.split("."), ""][1]


def floor(module: str) -> int:
    found = [index for index, names in enumerate(FLOORS) if part(module) in names]
    return found[0] if found else len(FLOORS) - 2  # what stages share by some other name lives below the cli


def imports(path: Path) -> Iterator[str]:
    """Every module a file names in an import, at its top, within functions, or for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


INTERNAL = [
    (module, name)
    for module, path in MODULES.items()
    if part(module)
    for name in imports(path)
    if name.startswith("lcstool.") and part(name) != "__version__"
]


def top_imports(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def test_the_walk_finds_imports() -> None:
    assert ("lcstool.cli.info", "lcstool.stages.info") in INTERNAL
    assert ("lcstool.data.dataset", "lcstool.checkpoint") in INTERNAL
    assert len(INTERNAL) > 100


def test_imports_run_one_way() -> None:
    upwards = [
        (module, name)
        for module, name in INTERNAL
        if floor(name) > floor(module) and part(module) != "__main__"
    ]
    assert upwards == []


def test_models_data_and_optimizers_do_not_know_one_another() -> None:
    across = [
        (module, name) for module, name in INTERNAL
        if part(module) in APART and part(name) in APART and part(module) != part(name)
    ]  # fmt: skip
    assert across == []


def test_stages_do_not_import_stages() -> None:
    def stage(module: str) -> str:
        return ".".join(module.split(".")[:3])

    across = [
        (module, name) for module, name in INTERNAL
        if part(module) == part(name) == "stages" and stage(module) != stage(name) and module != "lcstool.stages"
    ]  # fmt: skip
    assert across == []


@pytest.mark.parametrize(
    ("libraries", "where"),
    [({"typer", "rich"}, "cli"), ({"matplotlib"}, "plots"), ({"click"}, None)],
    ids=str,
)
def test_libraries_keep_to_their_place(libraries: set[str], where: str | None) -> None:
    found = {module for module, path in MODULES.items() if libraries & top_imports(path)}
    assert {module for module in found if part(module) != where} == set()


def test_only_the_command_line_prints() -> None:
    printing = [
        module for module, path in MODULES.items() if part(module) not in ("cli", "")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]  # fmt: skip
    assert printing == []


def test_a_file_is_a_room() -> None:
    large = {module: n for module, path in MODULES.items() if (n := len(path.read_text().splitlines())) > 260}
    assert large == {}
    names = {"utils", "helpers", "common", "misc"}
    assert [module for module in MODULES if names & set(module.split("."))] == []


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['lcstool', 'train', '--help']\n"
        "from lcstool.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'numpy', 'matplotlib', 'scipy', 'torchvision', 'safetensors'} & set(sys.modules)\n"
        "sys.exit(f'imported: {slow}' if slow else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


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
