"""The info stage: what it says of a file is what the file holds, and the scaling table is the papers'."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import UsageError
from lcstool.models import ARCHITECTURES
from lcstool.stages.info.config import InfoConfig
from lcstool.stages.info.result import FileInfo
from lcstool.stages.info.scaling import scaling_table
from lcstool.stages.info.stage import info


def describe(file: Path) -> FileInfo:
    found = info(InfoConfig(file=str(file)))
    assert isinstance(found, FileInfo)
    return found


def test_a_file_is_described(tmp_path: Path) -> None:
    tensors = {
        "w": torch.tensor([[0.0, -0.0, 1.0], [2.0, 0.0, 3.0]]),
        "flag": torch.tensor(True),
        "none": torch.empty(0, 3, dtype=torch.bfloat16),
    }
    header = Header(kind="model", history=({"stage": "train"},), state={"epoch": 3, "step": 1, "loss": 0.5})
    write_checkpoint(tmp_path / "a", header, tensors)
    found = describe(tmp_path / "a").to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert next(iter(found.items())) == ("schema", "lcstool.info/1")
    assert found["file"] == str(tmp_path / "a")
    assert found["kind"] == "model"
    assert found["history"] == [{"stage": "train"}]
    assert found["unfinished"] == {"epoch": 3, "step": 1}
    assert found["digest"] == open_checkpoint(tmp_path / "a").digest()
    table = {entry.pop("name"): entry for entry in found["tensors"]}
    assert list(table) == ["flag", "none", "w"]
    assert table["w"] == {
        "role": "layer",
        "part_of": "w",
        "dtype": "float32",
        "shape": [2, 3],
        "num_elements": 6,
        "nonzeros": 3,
        "density": 0.5,
    }
    assert table["flag"]["shape"] == []
    assert table["flag"]["nonzeros"] == 1
    assert (table["none"]["nonzeros"], table["none"]["density"]) == (0, 0.0)


def test_a_file_of_another_program_is_described(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "a")
    found = describe(tmp_path / "a").to_json()
    assert (found["kind"], found["history"], found["unfinished"]) == (None, [], None)


def test_a_code_file_is_finished_although_it_has_a_state(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", Header(kind="code", state={"code": "paper"}), {})
    assert describe(tmp_path / "a").unfinished is None


def test_a_file_without_tensors_is_described(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", Header(kind="stats"), {})
    assert describe(tmp_path / "a").tensors == ()


def test_the_table_of_architectures_is_one_object() -> None:
    found = info(InfoConfig(archs=True, alpha=(4, 8), image_size=(32,))).to_json()
    assert list(found) == ["schema", "architectures"]
    assert found["schema"] == "lcstool.info-archs/1"
    assert {row["alpha"] for row in found["architectures"]} == {4, 8}
    assert {row["image_pixels"] for row in found["architectures"]} == {32}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "give a file to describe, or --dataset, or --archs"),
        ({"file": "a", "archs": True}, "give a file to describe, or --dataset, or --archs"),
        ({"file": "a", "alpha": (4,)}, "--alpha has no effect without --archs"),
        ({"archs": True, "alpha": (4, 0)}, "alpha must be >= 1, got 0"),
    ],
)
def test_questions_that_are_none(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        InfoConfig(**fields)


def test_the_scaling_table_has_the_papers_counts() -> None:
    table = {row.arch: row for row in scaling_table()}
    assert set(table) == set(ARCHITECTURES)
    assert table["d-local"].num_parameters == 11_713_930
    millions = {name: round(row.num_parameters / 1e6, 1) for name, row in table.items()}
    assert (millions["s-conv"], millions["s-local"], millions["s-fc"], millions["d-conv"]) == (
        138.3,
        147.6,
        256.2,
        1.4,
    )
    assert table["s-conv"].fc_equivalent == table["s-fc"].num_parameters
    assert table["resnet18"].fc_equivalent is None


def test_the_scaling_table_counts_each_layer() -> None:
    rows = scaling_table([6], [32])
    for row in rows:
        assert sum(row.layers.values()) == row.num_parameters, row.arch
    unit = 32**2 * 6**2  # s^2 alpha^2; the terms of D-LOCAL, Table 3 put right
    terms = [27 * 32**2 * 6, *(unit * factor // 2 for factor in (9, 18, 9, 18, 9, 18, 9, 8)), 640 * 6 + 10]
    assert list(next(row for row in rows if row.arch == "d-local").layers.values()) == terms


@pytest.mark.parametrize("image", [1, 8, 9])
def test_architectures_that_do_not_fit_are_left_out(image: int) -> None:
    found = {row.arch for row in scaling_table([2], [image])}
    assert found == {name for name, entry in ARCHITECTURES.items() if entry.smallest_image <= image}
