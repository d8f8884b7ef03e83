"""The README's commands run, in order, in one empty folder; and it names every command there is."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import check

README = Path(__file__).parents[1] / "README.md"


def shown_commands() -> list[str]:
    """Indented lines that begin with lcstool."""
    text = README.read_text(encoding="utf-8")
    return re.findall(r"^    (lcstool .*)$", text, flags=re.MULTILINE)


def commands_to_try() -> list[str]:
    """The last column of the table of stages."""
    text = README.read_text(encoding="utf-8")
    return re.findall(r"^\| `\w+(?:-\w+)*` \|.*\| `(lcstool [^`]*)` \|$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("as_written", [False, pytest.param(True, marks=pytest.mark.long)])
def test_every_command_of_the_readme_runs(
    as_written: bool, forked_python: tuple[str, ...], tmp_path: Path, data_dir: Path
) -> None:
    """In the long run all, as they stand; otherwise the first pipelines, with narrow networks on few small images."""
    commands = shown_commands()
    assert len(commands) >= 5
    if as_written:
        commands += commands_to_try()
    else:
        commands = [re.sub(r"(--arch \S+)", r"\1 --alpha 4 --image-size 16", command) for command in commands]
        commands = [command.replace("--train-size 2000", "--train-size 400") for command in commands]
    python = shlex.join([sys.executable] if as_written else forked_python)
    script = "\n".join(command.replace("lcstool ", f"{python} -m lcstool ") for command in commands)
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "LCSTOOL_DATA": str(data_dir)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"cnn.safetensors", "cnn.efcn.safetensors", "efcn.safetensors"} <= {
        p.name for p in tmp_path.iterdir()
    }


@pytest.mark.parametrize("command", commands_to_try())
def test_every_command_to_try_parses(command: str) -> None:
    check(shlex.split(command)[1:])


def test_the_table_of_stages_is_that_of_the_command_line() -> None:
    from lcstool.cli.main import app

    named = set(
        re.findall(r"^\| `(\w+(?:-\w+)*)` \|", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert named == commands | {group.name for group in app.registered_groups}


def test_the_python_of_the_readme_runs() -> None:
    (code,) = re.findall(
        r"^    import torch\n(?:    .*\n|\n)+", README.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    exec("\n".join(line[4:] for line in code.splitlines()), {})
