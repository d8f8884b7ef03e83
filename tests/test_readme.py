"""The README's commands run, in order, in one empty folder; and it names every command there is."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def shown_commands() -> list[str]:
    """Indented lines that begin with lcstool, and the last column of the table of stages."""
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^    (lcstool .*)$", text, flags=re.MULTILINE)
    tried = re.findall(r"^\| `\w+(?:-\w+)*` \|.*\| `(lcstool [^`]*)` \|$", text, flags=re.MULTILINE)
    return [*blocks, *tried]


@pytest.mark.parametrize("as_written", [False, pytest.param(True, marks=pytest.mark.long)])
def test_every_command_of_the_readme_runs(
    as_written: bool, forked_python: tuple[str, ...], tmp_path: Path, data_dir: Path
) -> None:
    """As they stand in the long run; otherwise with narrow networks, in processes that know torch already."""
    commands = shown_commands()
    assert len(commands) >= 8
    if not as_written:
        commands = [re.sub(r"(--arch \S+)", r"\1 --alpha 4", command) for command in commands]
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
