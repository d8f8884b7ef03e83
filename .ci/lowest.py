"""Prints the lowest versions that pyproject.toml allows, one requirement a line: constraints for pip."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in project["dependencies"]:
    name, _, version = requirement.partition(">=")
    print(f"{name}=={version}.*" if version.count(".") < 2 else f"{name}=={version}")
