"""The stages of `lcstool linear` on files: what they read off networks, and that what they write reads back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError, NonFiniteError, UsageError
from lcstool.lcn import LinearConvArchitecture
from lcstool.lcn.file import LcnFile, read_lcn, stacked, write_lcn
from lcstool.stages.linear.compose.config import ComposeConfig
from lcstool.stages.linear.compose.stage import compose
from lcstool.stages.linear.critical.config import CriticalConfig
from lcstool.stages.linear.critical.stage import critical
from lcstool.stages.linear.ends.config import EndsConfig
from lcstool.stages.linear.factor.config import FactorConfig
from lcstool.stages.linear.factor.stage import factor
from lcstool.stages.linear.probe.config import ProbeConfig
from lcstool.stages.linear.probe.stage import probe
from lcstool.stages.linear.scan.config import ScanConfig
from lcstool.stages.linear.scan.stage import scan
from lcstool.stages.linear.space.config import SpaceConfig
from lcstool.stages.linear.space.stage import space


def question(filter_: str, kernels: str) -> FactorConfig:
    return FactorConfig(filter=filter_, kernels=kernels, starts=20)


def test_a_space_and_the_table_agree() -> None:
    table = scan(ScanConfig(max_size=5)).to_json()
    assert table.pop("schema") == "lcstool.linear-scan/1"
    (row,) = (
        row for row in table["architectures"] if (row["kernels"], row["strides"]) == ([3, 2, 2], [1] * 3)
    )
    alone = space(SpaceConfig(kernels="3,2,2")).to_json()
    assert alone.pop("schema") == "lcstool.linear-space/1"
    assert alone["num_real_roots_required"] == 2
    assert row.pop("same_space_as") == {"kernels": [4, 2], "strides": [1, 1]}
    assert row == alone
    json.dumps(table, allow_nan=False)


def test_factorizations_are_written_and_compose_to_the_filter(tmp_path: Path) -> None:
    out = str(tmp_path / "ways.safetensors")
    result = factor(question("1,-6,11,-6", "2,2,2"), out)
    assert result.membership.is_member
    assert len(result.ways) == 6
    composed = compose(ComposeConfig(file=out, radius=1e-6))
    assert len(composed.networks) == 6
    for network in composed.networks:
        assert network.filter_K.tolist() == pytest.approx([1, -6, 11, -6], abs=1e-12)
        assert network.pattern is not None
        assert network.pattern.label == "111|0"
        assert network.rank == 4
        assert network.shared == ()
        assert network.invariants.abs().max() < 1e-12
    json.dumps(composed.to_json() | result.to_json(), allow_nan=False)
    (entry,) = open_checkpoint(out).require_kind("lcn").history
    assert (entry["stage"], entry["seed"]) == ("linear-factor", 0)
    assert entry["config"] == {"filter": [1, -6, 11, -6], "noise": 1e-10, "starts": 20}


def test_of_a_filter_outside_the_nearest_is_written(tmp_path: Path) -> None:
    out = str(tmp_path / "near.safetensors")
    result = factor(question("1,0.3,1", "2,2"), out)
    assert not result.membership.is_member
    assert result.nearest is not None
    assert result.nearest.distance == pytest.approx(0.91**0.5)
    (network,) = compose(ComposeConfig(file=out, noise=1e-6, radius=1e-3)).networks
    assert network.pattern is not None
    assert network.pattern.label == "2|0"
    assert network.rank == 2
    assert network.shared
    json.dumps(result.to_json(), allow_nan=False)


def test_infinite_roots_and_zero_networks_have_json(tmp_path: Path) -> None:
    out = str(tmp_path / "odd.safetensors")
    networks = [
        [torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0])],
        [torch.tensor([0.0, 0.0]), torch.tensor([1.0, 2.0])],
    ]
    file = LcnFile(architecture=LinearConvArchitecture((2, 2), (1, 1)), filters=stacked(networks))
    write_lcn(out, file, {"stage": "test"})
    double, zero = compose(ComposeConfig(file=out, radius=1e-6)).networks
    text = json.dumps(double.to_json(), allow_nan=False)
    assert '"root": "inf", "multiplicity": 2' in text
    assert zero.pattern is None
    assert zero.shared is None
    json.dumps(zero.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("tensors", "args", "said"),
    [
        ({}, {"kernels": [2], "strides": [1]}, "no tensor 'layer1.weight'"),
        ({"layer1.weight": torch.ones(1, 3)}, {"kernels": [2], "strides": [1]}, r"shape \[1, 3\], expected"),
        ({"layer1.weight": torch.ones(0, 2)}, {"kernels": [2], "strides": [1]}, "holds no network"),
        ({"layer1.weight": torch.ones(1, 2)}, {"kernels": [2], "strides": [0]}, "strides"),
        ({"layer1.weight": torch.ones(1, 2)}, {"kernels": 2}, "does not say its kernel sizes"),
    ],
)
def test_files_that_are_not_whole(tmp_path: Path, tensors: dict, args: dict, said: str) -> None:
    path = tmp_path / "wrong.safetensors"
    write_checkpoint(str(path), Header(kind="lcn", model={"arch": "lcn", "args": args}), tensors)
    with pytest.raises(BadInputError, match=said):
        read_lcn(open_checkpoint(str(path)))


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "nan.safetensors")
    layers = (torch.tensor([[1.0, float("nan")]], dtype=torch.float64),)
    file = LcnFile(architecture=LinearConvArchitecture((2,), (1,)), filters=layers)
    write_lcn(path, file, {"stage": "test"})
    with pytest.raises(NonFiniteError):
        read_lcn(open_checkpoint(path))


def test_a_filter_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match="2 entries; layers of sizes"):
        factor(question("1,2", "2,2"))
    with pytest.raises(UsageError, match="the target has 2 entries; layers of sizes"):
        critical(CriticalConfig(kernels="2,2", target="1,2"))
    with pytest.raises(UsageError, match="the filter is zero"):
        factor(question("0,0,0", "2,2"))


@pytest.mark.parametrize(
    ("config", "fields", "said"),
    [
        (SpaceConfig, {"kernels": "2,x"}, "kernels '2,x'"),
        (SpaceConfig, {"kernels": "2,2", "strides": "1"}, "2 kernel sizes, but 1 strides"),
        (ScanConfig, {"max_size": 13}, r"max_size must be in \[2, 12\]"),
        (ComposeConfig, {"file": "a", "noise": -1.0}, "noise must be finite and >= 0"),
        (FactorConfig, {"kernels": "2,2", "filter": "1,nan,1"}, "filter '1,nan,1'"),
        (CriticalConfig, {"kernels": "2,2", "target": "1,x,1"}, "target '1,x,1'"),
        (EndsConfig, {"kernels": "2,2", "lr": 0.0}, "lr must be finite and > 0"),
    ],
)
def test_fields_that_are_refused(config: Any, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config(**fields)


def test_neighbouring_depthwise_layers_of_any_network(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(50, 1, 3, 3, generator=generator)
    state = {
        "layers.2.weight": first.flip(2) * -2,
        "layers.10.weight": torch.randn(50, 1, 3, 3, generator=generator),
        "layers.1.weight": first,
        "mixing.weight": torch.randn(7, 50, 1, 1, generator=generator),
    }
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "net.safetensors")
    result = probe(ProbeConfig(file=str(tmp_path / "net.safetensors")))
    assert [(pair.first, pair.second) for pair in result.pairs] == [
        ("layers.1.weight", "layers.2.weight"),
        ("layers.2.weight", "layers.10.weight"),
    ]
    same, other = result.pairs
    assert min(same.cosines) == pytest.approx(1, abs=1e-6)
    assert other.random_cosine is not None
    assert sum(other.cosines) / 50 == pytest.approx(other.random_cosine, abs=0.1)
    json.dumps(result.to_json(), allow_nan=False)


def test_a_network_without_such_layers_is_refused(tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(4, 3, 3, 3)}, tmp_path / "net.safetensors")
    with pytest.raises(BadInputError, match="no two depthwise or single-channel"):
        probe(ProbeConfig(file=str(tmp_path / "net.safetensors")))
