"""lcstool linear and train --arch lcn as processes: tables, JSON, pipes, figures, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Cli = Callable[..., Any]


def test_space_and_scan(run_cli: Cli) -> None:
    done = run_cli("linear", "space", "--kernels", "3,2,2")
    assert done.code == 0
    assert "at least 2 real roots" in done.stdout.decode()
    assert "2|1, 22|0, 4|0" in done.stdout.decode()
    document = json.loads(
        run_cli("linear", "space", "--kernels", "3,2,2", "--strides", "2,1,1", "--json").stdout
    )
    assert (document["dimension"], document["end_size"], document["is_filling"]) == (5, 7, False)
    table = run_cli("linear", "scan", "--max-size", "4").stdout.decode()
    assert "7 architectures of end-to-end size up to 4" in table
    assert (
        len(json.loads(run_cli("linear", "scan", "--max-size", "4", "--json").stdout)["architectures"]) == 7
    )


def test_factor_into_a_pipe_and_compose(run_cli: Cli, tmp_path: Path) -> None:
    done = run_cli("linear", "factor", "1,-3,2", "--kernels", "2,2", "-o", "-")
    assert done.code == 0
    assert "a member" in done.stderr
    composed = json.loads(run_cli("linear", "compose", "-", "--json", stdin=done.stdout).stdout)
    assert [network["pattern"] for network in composed["networks"]] == ["11|0", "11|0"]
    negative = run_cli("linear", "factor", "--kernels", "2,2", "--json", "--", "-1,0,-1")
    assert json.loads(negative.stdout)["is_member"] is False
    nearest = run_cli("linear", "factor", "1,0.3,1", "--kernels", "2,2")
    assert "nearest member: 0." in nearest.stdout.decode()
    assert "at distance 0.9539" in nearest.stdout.decode()


def test_train_compose_draw_and_probe(run_cli: Cli, tmp_path: Path) -> None:
    command = (
        "train",
        "--arch",
        "lcn",
        "--kernels",
        "2,2",
        "--target",
        "1,0.3,1",
        "--runs",
        "6",
        "--device",
        "cpu",
    )
    done = run_cli(*command, "-o", "runs.safetensors")
    assert done.code == 0
    assert "6 of 6 runs converged" in done.stdout.decode()
    piped = run_cli(*command, "-q", "-o", "-")
    assert piped.stdout == (tmp_path / "runs.safetensors").read_bytes()
    drawn = run_cli("linear", "compose", "-", "--plots", "figures", "--show", "2", stdin=piped.stdout)
    assert drawn.code == 0
    assert "4 more" in drawn.stdout.decode()
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "training.png", "training.pdf", "space.png", "space.pdf",
    }  # fmt: skip
    assert "layer 1 - layer 2" in run_cli("linear", "probe", "runs.safetensors").stdout.decode()
    document = json.loads(run_cli(*command, "--json", "-o", "again.safetensors").stdout)
    assert document["metrics"]["patterns"] == {"2|0": 6}


def test_mistakes(run_cli: Cli, told: Cli, trained: Path) -> None:
    for words, code, said in (
        (("linear", "space", "--kernels", "0"), 2, "kernels '0'"),
        (("linear", "space", "--kernels", "2,2", "--strides", "1"), 2, "2 kernel sizes, but 1 strides"),
        (("linear", "factor", "1,x", "--kernels", "2"), 2, "filter '1,x'"),
        (("linear", "factor", "0,0", "--kernels", "2"), 2, "not all of them zero"),
        (("linear", "compose", trained), 3, "kind"),
        (("linear", "probe", trained), 3, "no two depthwise"),
        (("linear", "compose", "missing"), 3, "missing"),
        (("train", "--kernels", "2,2"), 2, "linear convolutional networks"),
        (("train", "--arch", "lcn"), 2, "kernel sizes"),
        (("train", "--arch", "lcn", "--kernels", "2", "--target", "1,1", "--dry-run"), 2, "no --dry-run"),
    ):
        done = run_cli(*words)
        assert done.code == code, (words, done.stderr)
        assert said in told(done.stderr)[0][0]


def test_certify_agrees_and_disagrees(run_cli: Cli, told: Cli, tmp_path: Path) -> None:
    command = (
        "train",
        "--arch",
        "lcn",
        "--kernels",
        "2,2",
        "--runs",
        "6",
        "--device",
        "cpu",
        "-q",
        "-o",
        "-",
    )
    inside = run_cli(*command, "--target", "1,0,-1")
    done = run_cli("linear", "certify", "-", stdin=inside.stdout)
    assert done.code == 0
    assert "the runs agree with the prediction" in done.stdout.decode()
    outside = run_cli(*command, "--target", "1,0.3,1")
    document = json.loads(run_cli("linear", "certify", "-", "--json", stdin=outside.stdout).stdout)
    assert document["agrees"] is True
    assert document["target_is_member"] is False
    assert {end["pattern"] for end in document["ends"]} == {"2|0"}
    # Layers of one run, the target of another: a zero loss that the theory excludes, and a run that has not ended.
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    for name, content in (("a", inside.stdout), ("b", outside.stdout)):
        (tmp_path / name).write_bytes(content)
    mixed = load_file(tmp_path / "a") | {"target": load_file(tmp_path / "b")["target"]}
    with safe_open(tmp_path / "a", "pt") as file:
        metadata = file.metadata()
    save_file(mixed, tmp_path / "mixed", metadata)
    wrong = run_cli("linear", "certify", "mixed")
    assert wrong.code == 4
    assert "no run has ended" in told(wrong.stderr)[0][0]


def test_critical_points_and_ends(run_cli: Cli) -> None:
    found = json.loads(
        run_cli("linear", "critical", "--kernels", "2,2", "--target", "1,0.3,1", "--json").stdout
    )
    lowest = [point for point in found["points"] if point["kind"] == "global minimum"]
    assert sorted(round(value, 6) for value in lowest[0]["filter"]) == [0.1, 0.6, 0.9]
    assert (
        "saddle" in run_cli("linear", "critical", "--kernels", "2,2", "--target", "1,0.3,1").stdout.decode()
    )
    words = ("linear", "ends", "--kernels", "2,2", "--targets", "2", "--starts", "10")
    rows = json.loads(run_cli(*words, "--json").stdout)["rows"]
    assert [(row["num_real"], row["zero_loss"], row["agrees"]) for row in rows] == [
        (0, 0, True),
        (2, 20, True),
    ]
    assert "2|0: 100.0 %" in run_cli(*words).stdout.decode()
