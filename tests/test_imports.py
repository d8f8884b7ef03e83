"""The order of the house: imports run strictly downwards, and nothing imports itself by a detour."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from graphlib import CycleError, TopologicalSorter

import pytest
from source_tree import MODULES, imports, internal, part

# From the bottom to the top. A module or package directly under lcstool imports only what is on lower floors.
FLOORS: Sequence[set[str]] = (
    {"errors", "choices", "interception", "randomness"},
    {"checkpoint", "devices", "parsing", "bounds"},
    {"models", "data", "optim", "lcn"},
    {"codes", "distributed", "energy", "options", "weights"},
    {"evaluation", "locality", "record"},
    {"curvature", "images", "paths"},
    {"stages"},
    {"plots"},
    {"cli"},
    {"__main__"},
    {""},  # lcstool itself, the public face
)

# The same within models.
MODEL_FLOORS: Sequence[set[str]] = (
    {"registry", "layers", "arguments", "parametrized"},
    {"permission"},
    {"spec", "wiring"},
    {"embedding", "narrowing", "architectures"},
    {"build"},
    {"sizing", "foreign"},
    {""},  # lcstool.models itself
)

# Not an import of the face, which imports nothing when it is loaded, but of the number that pyproject.toml reads there.
VERSION = "lcstool.__version__"


def wing(module: str) -> str:
    """The module or package directly under lcstool.models: `lcstool.models.layers.local` -> `layers`."""
    return [*module.split("."), ""][2]


def not_downwards(
    floors: Sequence[set[str]], place: Callable[[str], str], within: str = "lcstool"
) -> list[tuple[str, str]]:
    """The imports that do not go to a lower floor, but for those of a part from itself."""
    level = {name: index for index, names in enumerate(floors) for name in names}
    return [
        (module, name)
        for module, name in internal()
        if f"{module}.".startswith(f"{within}.") and f"{name}.".startswith(f"{within}.") and name != VERSION
        if place(module) != place(name) and level[place(name)] >= level[place(module)]
    ]


def test_the_walk_finds_imports() -> None:
    assert ("lcstool.cli.sharpness", "lcstool.stages.sharpness.stage") in internal()  # within a function
    assert ("lcstool.data.cache", "lcstool.checkpoint") in internal()  # at the top
    assert ("lcstool.models", "lcstool.checkpoint") in internal()  # for type checkers
    assert len(internal()) > 500


@pytest.mark.parametrize(
    ("floors", "found"),
    [
        (FLOORS, {part(module) for module in MODULES}),
        (MODEL_FLOORS, {wing(module) for module in MODULES if part(module) == "models"}),
    ],
    ids=["lcstool", "models"],
)
def test_every_part_has_one_floor(floors: Sequence[set[str]], found: set[str]) -> None:
    names = [name for floor in floors for name in floor]
    assert len(set(names)) == len(names)
    assert set(names) == found


def test_imports_run_downwards() -> None:
    assert not_downwards(FLOORS, part) == []


def test_the_wings_of_models_import_downwards() -> None:
    assert not_downwards(MODEL_FLOORS, wing, "lcstool.models") == []


def test_an_upward_import_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    up, level = ("lcstool.errors", "lcstool.cli.console"), ("lcstool.data.npz", "lcstool.optim")
    found = [*internal(), up, level]
    monkeypatch.setattr(sys.modules[__name__], "internal", lambda: found)
    assert not_downwards(FLOORS, part) == [up, level]


def test_no_module_imports_itself_by_a_detour() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for module, name in internal():
        if name != VERSION:
            graph[module].add(name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_stages_do_not_import_stages() -> None:
    stages = [module for module in MODULES if module.endswith(".stage")]

    def stage(module: str) -> str:
        folders = [known.removesuffix(".stage") for known in stages]
        return next((folder for folder in folders if f"{module}.".startswith(f"{folder}.")), "")

    across = [(module, name) for module, name in internal() if stage(name) not in ("", stage(module))
              and part(module) == "stages"]  # fmt: skip
    assert len(stages) > 6
    assert across == []


@pytest.mark.parametrize(
    ("libraries", "where"),
    [(("rich", "typer"), "cli"), (("matplotlib",), "plots"), (("click",), None)],
    ids=str,
)
def test_libraries_keep_to_their_place(libraries: tuple[str, ...], where: str | None) -> None:
    users = {
        module
        for module in MODULES
        if not {name.split(".")[0] for name in imports(module)}.isdisjoint(libraries)
    }
    assert {module for module in users if part(module) != where} == set()


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
