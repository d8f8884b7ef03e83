"""lcstool linear as processes: tables, JSON, pipes, figures, configurations, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
TRAIN = ("linear", "train", "--kernels", "2,2", "--runs", "6", "--device", "cpu")


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
    command = (*TRAIN, "--target", "1,0.3,1")
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
    assert document["schema"] == "lcstool.linear-train/1"
    assert document["out"] == "again.safetensors"
    assert document["metrics"]["patterns"] == [{"pattern": "2|0", "num_runs": 6}]


def test_train_names_its_own_output(run_cli: Cli, told: Cli, tmp_path: Path) -> None:
    command = (*TRAIN, "--target", "1,0,-1", "--seed", "3")
    done = run_cli(*command)
    assert (done.code, done.stdout) == (0, b"lcn.descent.seed3.safetensors\n")
    assert "6 of 6 runs converged" in done.stderr
    again = run_cli(*command)
    assert (again.code, again.stdout) == (3, b"")
    assert "lcn.descent.seed3.safetensors exists" in told(again.stderr)[0][0]
    both = run_cli(*command, "--json", "-o", "-")
    assert (both.code, both.stdout) == (2, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["lcn.descent.seed3.safetensors"]


IMAGE_OPTIONS = ("--momentum", "0.9", "--dataset", "cifar10", "--dropout", "0.5", "--precision", "bf16",
                 "--snapshots", "all")  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        ("--arch", "lcn"),
        ("--arch=lcn", "--momentum", "0.9"),
        ("--arch", "lcn", "--kernels", "2,2", "--target", "1,0.3,1", *IMAGE_OPTIONS),
        ("--config", "old.yaml"),
    ],
)
def test_train_of_images_says_where_linear_networks_train(
    run_cli: Cli, told: Cli, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "old.yaml").write_text("arch: lcn\n")
    done = run_cli("train", *options)
    assert (done.code, done.stdout) == (2, b"")
    (error,), _ = told(done.stderr)
    assert error == "error: linear convolutional networks train under `lcstool linear train`"
    assert [path.name for path in tmp_path.iterdir()] == ["old.yaml"]


def test_the_help_of_train_is_about_images(run_cli: Cli) -> None:
    text = run_cli("train", "--help", COLUMNS="200").stdout.decode()
    for word in ("--kernels", "--regression", "--init-scale", "Linear convolutional"):
        assert word not in text
    assert "--regression" in run_cli("linear", "train", "--help", COLUMNS="200").stdout.decode()


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--kernels", "2,2", "--target", "1,0,1", "--lr", "0.02", "--runs", "9"),
        ("space", "--kernels", "3,2", "--strides", "2,1"),
        ("scan", "--max-size", "4"),
        ("factor", "1,0,1", "--kernels", "2,2", "--starts", "7"),
        ("compose", "runs.safetensors", "--noise", "1e-7", "--show", "3"),
        ("probe", "runs.safetensors"),
        ("certify", "runs.safetensors"),
        ("critical", "--kernels", "2,2", "--target", "1,0,1", "--seed", "4"),
        ("ends", "--kernels", "2,2", "--init-scale", "0.5"),
    ],
    ids=lambda command: command[0],
)
def test_configurations_come_back(run_cli: Cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    first = run_cli("linear", *command, "--print-config")
    assert (first.code, first.stderr) == (0, "")
    (tmp_path / "run.yaml").write_bytes(first.stdout)
    argument = [word for word in command[1:2] if not word.startswith("--")]
    again = run_cli("linear", command[0], *argument, "--config", "run.yaml", "--print-config")
    assert (again.code, again.stdout, again.stderr) == (0, first.stdout, "")


def test_a_configuration_is_run_and_flags_win(run_cli: Cli, told: Cli, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("kernels: 2,2\nstarts: 30\n")
    command = ("linear", "factor", "1,0.3,1", "--config", "run.yaml", "--json")
    document = json.loads(run_cli(*command).stdout)
    assert document["schema"] == "lcstool.linear-factor/1"
    assert (document["kernels"], document["nearest"]["num_starts"]) == ([2, 2], 30)
    assert json.loads(run_cli(*command, "--starts", "5").stdout)["nearest"]["num_starts"] == 5
    (tmp_path / "odd.yaml").write_text("kernel: 2,2\n")
    wrong = run_cli("linear", "space", "--config", "odd.yaml")
    assert wrong.code == 2
    assert told(wrong.stderr)[0][0] == "error: odd.yaml: unknown key 'kernel'"
    missing = run_cli("linear", "space")
    assert missing.code == 2
    assert told(missing.stderr)[0][0] == "error: --kernels is missing"


def test_mistakes(run_cli: Cli, told: Cli, trained: Path) -> None:
    for words, code, said in (
        (("linear", "space", "--kernels", "0"), 2, "kernels '0'"),
        (("linear", "space", "--kernels", "2,2", "--strides", "1"), 2, "2 kernel sizes, but 1 strides"),
        (("linear", "factor", "1,x", "--kernels", "2"), 2, "filter '1,x'"),
        (("linear", "factor", "0,0", "--kernels", "2"), 2, "the filter is zero"),
        (("linear", "compose", trained), 3, "kind"),
        (("linear", "probe", trained), 3, "no two depthwise"),
        (("linear", "compose", "missing"), 3, "missing"),
        (("linear", "train", "--kernels", "2,2"), 2, "give one of --target and --regression"),
        (("linear", "train", "--kernels", "2,2", "--target", "1,1"), 2, "the target has 2 entries"),
    ):
        done = run_cli(*words)
        assert done.code == code, (words, done.stderr)
        assert said in told(done.stderr)[0][0]


def test_certify_agrees_and_disagrees(run_cli: Cli, told: Cli, tmp_path: Path) -> None:
    command = (*TRAIN, "-q", "-o", "-")
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
