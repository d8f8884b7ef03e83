"""lcstool bound as a process: tables, JSON, codes through pipes, figures, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcstool.checkpoint import open_checkpoint

Cli = Callable[..., Any]


def test_tables_json_and_requirements(trained: Path, tiny_npz: Path, run_cli: Cli, told: Cli) -> None:
    words = ("bound", trained, "--dataset", f"npz:{tiny_npz}", "--bits", "4", "--device", "cpu")
    done = run_cli(*words)
    assert done.code == 0
    text = done.stdout.decode()
    for part in (
        "What each code spends",
        "Bounds on the true error",
        "Theorem 1",
        "structured",
        "vacuous",
        "certificate",
    ):
        assert part in text
    document = json.loads(run_cli(*words, "--code", "comb", "--json").stdout)
    assert document["schema"] == "lcstool.bound/1"
    assert document["num_samples"] == 64
    assert document["is_vacuous"] is True
    required = run_cli(*words, "--code", "comb", "--require-nonvacuous")
    assert required.code == 4
    assert "is vacuous" in told(required.stderr)[0][0]
    given = ("bound", trained, "--samples", "100000000", "--train-error", "0", "--require-nonvacuous")
    assert run_cli(*given).code == 0


def test_codes_go_through_pipes(trained: Path, tiny_npz: Path, run_cli: Cli, tmp_path: Path) -> None:
    words = ("bound", "--dataset", f"npz:{tiny_npz}", "--bits", "3", "--code", "comb", "--device", "cpu")
    emitted = run_cli(*words, "-", "--emit", "-", stdin=trained.read_bytes())
    assert emitted.code == 0
    assert "certificate" in emitted.stderr
    back = run_cli("bound", "--decode", "-", "-o", "-", stdin=emitted.stdout)
    assert back.code == 0
    (tmp_path / "back").write_bytes(back.stdout)
    assert run_cli(*words, trained, "-o", "out.safetensors").code == 0
    out, decoded = (open_checkpoint(str(tmp_path / name)) for name in ("out.safetensors", "back"))
    assert all(out[name].equal(decoded[name]) for name in out.tensors)
    assert len(emitted.stdout) < len(trained.read_bytes()) / 4


@pytest.mark.long
def test_a_search_is_drawn(trained: Path, tiny_npz: Path, run_cli: Cli, tmp_path: Path) -> None:
    words = ("bound", trained, "--dataset", f"npz:{tiny_npz}", "--device", "cpu", "--search", "--search-prune", "0,0.9",
             "--search-bits", "2,4", "--code", "comb")  # fmt: skip
    done = run_cli(*words, "--plots", "figures")
    assert done.code == 0
    assert "Best trade-offs of 8 candidates" in done.stdout.decode()
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert drawn.keys() == {"search.png", "search.pdf"}
    assert run_cli(*words, "--plots", "again").code == 0
    assert drawn == {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}


def test_mistakes(trained: Path, tiny_npz: Path, run_cli: Cli, told: Cli) -> None:
    data = ("--dataset", f"npz:{tiny_npz}")
    for words, code, said in (
        (("bound", trained), 3, "there is no tiny.npz here"),
        (("bound", trained, "--dataset", "leaves"), 3, "was not trained on leaves"),
        (("bound", trained, "--decode"), 2, "--decode"),
        (("bound", trained, "--decode", "-o", "x"), 3, "kind"),
        (("bound", trained, *data, "--plots", "x"), 2, "--plots"),
        (("bound", trained, *data, "--emit", "-", "--json"), 2, "standard output"),
        (("bound", trained, *data, "--bits", "40"), 2, "bits"),
        (("bound", "missing", *data), 3, "missing"),
    ):
        done = run_cli(*words)
        assert done.code == code, (words, done.stderr)
        assert said in told(done.stderr)[0][0], done.stderr
