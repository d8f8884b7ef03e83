"""The modules of lcstool and what each of them imports, for tests of the house rules."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lcstool

PACKAGE = Path(lcstool.__file__).parent
MODULES = {
    ".".join(("lcstool", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


@cache
def tree(module: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def part(module: str) -> str:
    """The module or package directly under lcstool: `lcstool.stages.train.setup` -> `stages`; "" for lcstool itself."""
    return [*module.split("."), ""][1]


def imports(module: str) -> Iterator[str]:
    """Every module or name that an import names: at the top, within functions, and for type checkers."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES or node.module == "lcstool" else node.module


@cache
def internal() -> list[tuple[str, str]]:
    """Who imports whom within lcstool."""
    return sorted(
        {(module, name) for module in MODULES for name in imports(module) if name.split(".")[0] == "lcstool"}
    )
