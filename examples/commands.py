"""The targets of a paper's Makefile, and the commands that would make one of them."""

import os
import re
import subprocess
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent

# A make above this one, or its variables, must not change what this one prints.
_LEFT_OUT = (
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "GNUMAKEFLAGS",
    "MAKEFILES",
    "OUT",
    "RUNS",
    "TARGETS",
)
_NOISE = re.compile(r"((mkdir|mv|touch|echo|true|:)(\s|$))|#|make(\[\d+\])?:")
_WHOLE = re.compile(r">\s*(\S+)\.part && mv \1\.part \1$")


def targets(paper: str, scale: str, dataset: str) -> list[str]:
    """The figures and tables that a paper's Makefile lists, in its order; none where it does not say."""
    return _make(paper, scale, dataset, None, "-s", "print-targets").split()


def commands(paper: str, target: str, scale: str, dataset: str, out: Path) -> list[str]:
    """The commands that make a target from nothing, in order, each once, to be run in the paper's folder.

    Args:
        paper: Its folder under examples/.
        target: `fig2`.
        scale: demo, small or paper.
        dataset: As the recipe was given.
        out: Where the paper's results are.

    Returns:
        Shell commands, a line each; none where the target or the paper is unknown.
    """
    printed = _make(paper, scale, dataset, out, "-nB", target)
    lines = [" ".join(line.split()) for line in printed.replace("\\\n", " ").splitlines()]
    kept = [_WHOLE.sub(r">\1", line) for line in lines if line and not _NOISE.match(line)]
    return list(dict.fromkeys(kept))


def is_default(out: Path, paper: str, scale: str) -> bool:
    """Whether a paper's results are where its Makefile puts them unasked."""
    return out.resolve() == EXAMPLES / "out" / scale / paper


def _make(paper: str, scale: str, dataset: str, out: Path | None, *arguments: str) -> str:
    folder = EXAMPLES / paper
    if not (folder / "Makefile").is_file():
        return ""
    command = ["make", "--no-print-directory", "-C", str(folder), f"SCALE={scale}", f"DATASET={dataset}"]
    # The commands are shown to people: not the names this machine has for its programs.
    command += ["LCSTOOL=lcstool", "PYTHON=python3"]
    if out is not None and not is_default(out, paper, scale):
        command.append(f"OUT={out.resolve()}")
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    if runs := os.environ.get("RUNS"):  # finished runs, a folder a paper, as ../Makefile has it
        environment["RUNS"] = str(Path(runs).resolve() / paper)
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment)
    return done.stdout if done.returncode == 0 else ""
