"""YAML and flags are one list of fields: what is printed is read back, and flags win."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lcstool.cli.config_file import resolve, to_yaml
from lcstool.errors import UsageError
from lcstool.stages.info.config import InfoConfig
from lcstool.stages.linear.train.config import LinearTrainConfig
from lcstool.stages.train.config import TrainConfig

Cli = Callable[..., Any]
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))


def test_print_config_round_trip_and_flags_win(run_cli: Cli, tmp_path: Path, told: Any) -> None:
    flags = [
        "--arch",
        "s-conv",
        "--freeze",
        "layer1",
        "--freeze",
        "bn*",
        "--lr",
        "1e-3",
        "--snapshots",
        "0,1",
    ]
    first = run_cli("train", *flags, "--print-config")
    assert (first.code, first.stderr) == (0, "")
    (tmp_path / "run.yaml").write_bytes(first.stdout)
    again = run_cli("train", "--config", "run.yaml", "--print-config")
    assert (again.code, again.stdout, again.stderr) == (0, first.stdout, "")
    found = run_cli("train", "--config", "run.yaml", "--lr", "0.5", "--print-config")
    before, after = yaml.safe_load(first.stdout), yaml.safe_load(found.stdout)
    assert (before["lr"], after["lr"]) == (1e-3, 0.5)
    assert before["freeze"] == ["layer1", "bn*"]
    assert before | {"lr": 0.5} == after

    (tmp_path / "odd.yaml").write_text("learning_rate: 0.1\n")
    done = run_cli("train", "--config", "odd.yaml")
    assert (done.code, done.stdout) == (2, b"")
    (error,), (hint,) = told(done.stderr)
    assert error == "error: odd.yaml: unknown key 'learning_rate'"
    assert "lr" in hint.replace(",", " ").split()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["odd.yaml", "run.yaml"]


def from_yaml(tmp_path: Path, text: str, **flags: Any) -> TrainConfig:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    config = resolve(TrainConfig, file, flags)
    assert isinstance(config, TrainConfig)
    return config


def test_yaml_values_become_the_fields_types(tmp_path: Path) -> None:
    config = from_yaml(tmp_path, "lr: 1\nbeta: 1e-3\nimage-size: 16\nfreeze: layer1\nseed: 3\nrefit: false\n")
    assert (config.lr, config.beta, config.image_size, config.freeze, config.seed) == (
        1.0,
        1e-3,
        "16",
        ("layer1",),
        3,
    )
    assert type(config.lr) is float
    assert from_yaml(tmp_path, "") == TrainConfig()
    assert from_yaml(tmp_path, "alpha: null\n", lr=0.25) == TrainConfig(lr=0.25)


def test_every_config_comes_back(tmp_path: Path) -> None:
    for config in (
        TrainConfig(),
        TrainConfig(lr=1e-7, freeze=("a", "b"), snapshots="5", epochs=9, image_size="8x9"),
    ):
        assert from_yaml(tmp_path, to_yaml(config)) == config


def test_fields_that_must_be_given_may_stand_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("kernels: 2,2\ntarget: 1,0,1\n")
    assert resolve(LinearTrainConfig, file, {}) == LinearTrainConfig(kernels="2,2", target="1,0,1")
    with pytest.raises(UsageError, match="--kernels is missing"):
        resolve(LinearTrainConfig, None, {"target": "1,0,1"})


def test_lists_of_numbers(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    config = InfoConfig(archs=True, alpha=(15, 150))
    file.write_text(to_yaml(config))
    assert resolve(InfoConfig, file, {}) == config
    assert resolve(InfoConfig, file, {"alpha": [4]}).alpha == (4,)
    file.write_text("archs: true\nalpha: 15\n")
    assert resolve(InfoConfig, file, {}).alpha == (15,)
    for text in ("alpha: [15, x]", "alpha: [1.5]", "alpha: [true]", "alpha: '15'"):
        file.write_text(f"archs: true\n{text}\n")
        with pytest.raises(UsageError, match="alpha should be a list of whole numbers"):
            resolve(InfoConfig, file, {})


def test_info_takes_a_configuration(run_cli: Cli, tmp_path: Path) -> None:
    flags = ("--archs", "--alpha", "15", "--alpha", "30", "--image-size", "32")
    first = run_cli("info", *flags, "--print-config")
    assert (first.code, first.stderr) == (0, "")
    assert yaml.safe_load(first.stdout) == {
        "key": None,
        "dataset": None,
        "data_dir": None,
        "archs": True,
        "alpha": [15, 30],
        "image_size": [32],
    }
    (tmp_path / "archs.yaml").write_bytes(first.stdout)
    assert (
        run_cli("info", "--config", "archs.yaml", "--json").stdout == run_cli("info", *flags, "--json").stdout
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr: fast", "lr should be a number, got 'fast'"),
        ("lr: true", "lr should be a number, got True"),
        ("lr: [1]", r"lr should be a number, got \[1\]"),
        ("lr: null", "lr should be a number, got None"),
        ("epochs: 1.5", "epochs should be a whole number, got 1.5"),
        ("epochs: 1e3", "epochs should be a whole number"),
        ("refit: 1", "refit should be true or false, got 1"),
        ("freeze: [1]", "freeze should be a list of names"),
        ("freeze: {a: 1}", "freeze should be a list of names"),
        ("arch: [s-fc]", "arch should be text"),
        ("3: 4", "unknown key 3"),
        ("- a", "should map field names to values, found a list"),
        ("text", "should map field names to values, found a str"),
        ("a: [", "is not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("lr: .nan", "lr must be finite and >= 0, got nan"),
    ],
)
def test_yaml_that_does_not_fit(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        from_yaml(tmp_path, text)
    assert "\n" not in caught.value.message


def test_yaml_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        resolve(TrainConfig, tmp_path / "nothing.yaml", {})
    with pytest.raises(UsageError, match="cannot be read"):
        resolve(TrainConfig, tmp_path, {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not valid YAML"):
        resolve(TrainConfig, tmp_path / "binary.yaml", {})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path) -> None:
    if "arch" in yaml.safe_load(path.read_text()):
        assert resolve(TrainConfig, path, {}).epochs > 0
