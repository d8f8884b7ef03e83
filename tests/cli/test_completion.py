"""Shell completion: architectures, data sets and other choices from the registries, files by the shell."""

import os
import subprocess
import sys

import pytest
from amounts import first_of

from lcstool.data import dataset_names
from lcstool.models.registry import ARCHITECTURES


def completed(shell: str, words: str) -> str:
    """What a shell's completion of the last word prints."""
    asked = {
        "bash": {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))},
        "zsh": {"_TYPER_COMPLETE_ARGS": words},
    }[shell]
    environment = os.environ | asked | {"_LCSTOOL_COMPLETE": f"complete_{shell}"}
    code = "import sys; sys.argv[0] = 'lcstool'; from lcstool.cli.main import app; app(prog_name='lcstool')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


def test_architectures_and_data_sets_complete() -> None:
    assert completed("bash", "lcstool train --arch ").split() == [*ARCHITECTURES]
    assert completed("bash", "lcstool train --arch s-").split() == ["s-conv", "s-local", "s-fc"]
    found = completed("bash", "lcstool sharpness --dataset ").split()
    assert found == [name.removesuffix("PATH") for name in dataset_names()]


def test_stages_and_their_commands_complete() -> None:
    assert completed("bash", "lcstool en").split() == ["energy"]
    assert "factor" in completed("bash", "lcstool linear ").split()


@pytest.mark.parametrize("words", first_of(["lcstool train --init cn", "lcstool embed cn"], 1))
def test_files_are_left_to_the_shell(words: str) -> None:
    """bash is told `-o default`, which lists files where nothing is offered; zsh is told `_files`."""
    assert completed("bash", words).strip() == ""
    assert completed("zsh", words).strip() == "_files"
