"""The interpolate stage: ends kept, mirrored paths, mixed networks, strings resumed, points exported, refusals."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from paths.permuted import shuffled

from lcstool.checkpoint import open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError, UsageError
from lcstool.models import ModelSpec, load_model
from lcstool.paths.alignment import align
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.stage import embed
from lcstool.stages.interpolate import ends as stage_ends
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.interpolate.result import InterpolateResult
from lcstool.stages.interpolate.stage import interpolate

Train = Callable[..., Any]


@pytest.fixture
def joined(tiny_npz: Path) -> Callable[..., InterpolateResult]:
    """Join files on the tiny data set; options of the stage's function begin with `_`."""

    def run(*files: Path, **options: Any) -> InterpolateResult:
        own = {name.removeprefix("_"): options.pop(name) for name in list(options) if name.startswith("_")}
        fields = {"dataset": f"npz:{tiny_npz}", "points": 5, "device": "cpu", "batch_size": 16} | options
        return interpolate(InterpolateConfig(files=tuple(map(str, files)), **fields), **own)

    return run


@pytest.fixture
def pair(run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path) -> tuple[Path, Path]:
    """Two networks with batch norm, of different seeds."""
    for seed in (0, 1):
        run_train(tiny_config(arch="s-conv", alpha=2, optim="sgd", seed=seed), f"{seed}.safetensors")
    return tmp_path / "0.safetensors", tmp_path / "1.safetensors"


def test_the_ends_are_the_inputs_and_swapping_mirrors(
    pair: tuple[Path, Path], joined: Callable[..., InterpolateResult]
) -> None:
    (path,) = joined(*pair, bn="keep").paths
    (back,) = joined(*reversed(pair), bn="keep").paths
    assert path.points is not None
    assert back.points is not None
    for index, file in ((0, pair[0]), (4, pair[1])):
        state = load_model(open_checkpoint(file)).state_dict()
        assert all(torch.equal(path.points.state(index)[name], tensor) for name, tensor in state.items())
    for index in range(5):
        left, right = path.points.state(index), back.points.state(4 - index)
        assert all(torch.equal(left[name], right[name]) for name in left)
    for here, there in zip(path.test, back.test[::-1], strict=True):
        assert here.accuracy == there.accuracy
        assert here.loss == pytest.approx(there.loss, rel=1e-5)
    assert path.barrier == pytest.approx(back.barrier, abs=1e-5)
    assert path.length == pytest.approx(path.straight)


def test_with_norms_estimated_anew_the_parameters_stay(
    pair: tuple[Path, Path], joined: Callable[..., InterpolateResult]
) -> None:
    (kept,), (anew,) = (joined(*pair, bn=bn).paths for bn in ("keep", "reestimate"))
    assert kept.points is not None
    assert anew.points is not None
    for name, tensor in kept.points.state(1).items():
        same = torch.equal(tensor, anew.points.state(1)[name])
        assert same == ("running" not in name and "num_batches" not in name), name
    assert kept.train != anew.train


def test_scores_are_those_of_the_points_one_by_one(
    pair: tuple[Path, Path], joined: Callable[..., InterpolateResult], tmp_path: Path
) -> None:
    path = joined(*pair, method="curvilinear", _out=str(tmp_path / "path.safetensors")).paths[0]
    for index, alpha in enumerate(path.alphas):
        out = tmp_path / f"point{index}.safetensors"
        joined(tmp_path / "path.safetensors", _out=str(out), _export=str(alpha))
        header = open_checkpoint(out).require_kind("model")
        assert header.history[-1]["metrics"]["exported_alpha"] == alpha
        again = joined(out, out, points=2, bn="keep").paths[0]
        assert again.test[0].accuracy == path.test[index].accuracy
        assert again.test[0].loss == pytest.approx(path.test[index].loss, rel=1e-5)
    few = joined(*pair, method="curvilinear", points_at_a_time=2).paths[0]
    assert [score.accuracy for score in few.test] == [score.accuracy for score in path.test]


def test_a_network_and_its_embedding_are_joined(
    run_train: Train,
    tiny_config: Callable[..., Any],
    tmp_path: Path,
    joined: Callable[..., InterpolateResult],
) -> None:
    run_train(tiny_config(arch="vanilla-cnn", alpha=2, epochs=1), "cnn.safetensors")
    embed(EmbedConfig(file=str(tmp_path / "cnn.safetensors")), str(tmp_path / "efcn.safetensors"))
    result = joined(tmp_path / "cnn.safetensors", tmp_path / "efcn.safetensors", method="all", epochs=1)
    assert [path.method for path in result.paths] == ["linear", "string", "output", "curvilinear"]
    linear = result.paths[0]
    assert linear.straight == 0  # the embedding is where the CNN is
    assert all(score.accuracy == linear.test[0].accuracy for score in linear.test)
    document = result.to_json()
    assert document["schema"] == "lcstool.interpolate/1"
    json.dumps(document, allow_nan=False)
    turned = joined(tmp_path / "efcn.safetensors", tmp_path / "cnn.safetensors").paths[0]
    assert turned.straight == 0


def test_a_string_is_resumed_bit_for_bit(
    pair: tuple[Path, Path], joined: Callable[..., InterpolateResult], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"method": "string", "epochs": 3, "lr": 0.05, "stiffness": 0.5}
    whole = joined(*pair, **options, _out=str(tmp_path / "whole.safetensors"))

    class Stop(Exception):
        pass

    def stop(epoch: int, barrier: float, loss: float) -> None:
        if epoch == 2:
            raise Stop

    partial = tmp_path / "string.partial.safetensors"
    with pytest.raises(Stop):
        joined(*pair, **options, _partial=partial, _on_epoch=stop)
    assert partial.exists()
    with pytest.raises(UsageError, match="the state of another path"):
        joined(*pair, **options | {"lr": 0.1}, _partial=partial, _resume=True)
    epochs: list[int] = []
    joined(
        *pair, **options, _partial=partial, _resume=True, _out=str(tmp_path / "resumed.safetensors"),
        _on_epoch=lambda epoch, barrier, loss: epochs.append(epoch),
    )  # fmt: skip
    assert epochs == [3]
    assert not partial.exists()
    assert (tmp_path / "resumed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    path = whole.paths[0]
    assert path.length is not None
    assert path.length > path.straight
    header = open_checkpoint(tmp_path / "whole.safetensors").require_kind("path")
    assert header.history[-1]["stage"] == "interpolate"
    assert "0/layer1.weight" in open_checkpoint(tmp_path / "whole.safetensors").tensors


def test_what_cannot_change_a_path_is_not_in_its_file(
    pair: tuple[Path, Path], joined: Callable[..., InterpolateResult], tmp_path: Path
) -> None:
    """Of a straight line: the device, the string's options, and the seed where nothing is drawn."""
    others: list[dict[str, Any]] = [
        {}, {"device": "auto"}, {"epochs": 9}, {"lr": 1.0}, {"stiffness": 2.0}, {"spring": "explicit"}, {"nudge": True},
        {"batch_size": 3}, {"seed": 5}, {"probabilities": True},
    ]  # fmt: skip
    contents = set()
    for index, other in enumerate(others):
        out = tmp_path / f"path{index}.safetensors"
        joined(*pair, **other, _out=str(out))
        contents.add(out.read_bytes())
    assert len(contents) == 1
    last = open_checkpoint(tmp_path / "path0.safetensors").require_kind("path").history[-1]
    assert set(last["config"]) == {
        "method", "points", "extrapolate", "align", "dataset", "train_size", "loss", "bn",
    }  # fmt: skip
    assert "seed" not in last
    assert list(last["inputs"]) == ["0: 0.safetensors", "1: 1.safetensors"]
    joined(*pair, train_size=20, seed=5, _out=str(tmp_path / "drawn.safetensors"))
    assert open_checkpoint(tmp_path / "drawn.safetensors").require_kind("path").history[-1]["seed"] == 5


def test_the_best_point_is_an_ordinary_model(
    pair: tuple[Path, Path], joined: Callable[..., InterpolateResult], tmp_path: Path, tiny_config: Callable[..., Any],
    run_train: Train,
) -> None:  # fmt: skip
    result = joined(*pair, _out=str(tmp_path / "best.safetensors"), _export="best")
    path = result.paths[0]
    assert result.exported == path.alphas[path.best]
    assert path.test[path.best].accuracy == max(score.accuracy for score in path.test)
    assert path.points is not None
    state = load_model(open_checkpoint(tmp_path / "best.safetensors")).state_dict()
    assert all(torch.equal(path.points.state(path.best)[name], tensor) for name, tensor in state.items())
    run_train(tiny_config(init=str(tmp_path / "best.safetensors"), epochs=1), "on.safetensors")
    with pytest.raises(UsageError, match=r"no point of the path at 0\.3; its points lie at 0, 0\.25, 0\.5"):
        joined(*pair, _out=str(tmp_path / "x.safetensors"), _export="0.3")
    assert not (tmp_path / "x.safetensors").exists()


def test_more_networks_make_a_polyline_and_a_plane(
    run_train: Train,
    tiny_config: Callable[..., Any],
    tmp_path: Path,
    joined: Callable[..., InterpolateResult],
) -> None:
    files = []
    for seed in range(3):
        run_train(tiny_config(arch="3-fc", alpha=1, optim="sgd", epochs=1, seed=seed), f"{seed}.safetensors")
        files.append(tmp_path / f"{seed}.safetensors")
    result = joined(*files, plane=4, bn="keep")
    path, plane = result.paths[0], result.plane
    assert path.points is not None
    assert plane is not None
    middle = load_model(open_checkpoint(files[1])).state_dict()
    assert all(torch.equal(path.points.state(2)[name], tensor) for name, tensor in middle.items())
    assert plane.loss_SS.shape == (4, 4)
    assert set(plane.to_json()) == {"x", "y", "train_loss_nats", "test_accuracy_frac", "corners"}

    def distance(one: int, other: int) -> float:
        states = [load_model(open_checkpoint(files[index])) for index in (one, other)]
        pairs = zip(states[0].parameters(), states[1].parameters(), strict=True)
        return sum((a.double() - b.double()).square().sum().item() for a, b in pairs) ** 0.5

    for one, other in ((0, 1), (0, 2), (1, 2)):
        apart = (plane.corners_32[one] - plane.corners_32[other]).norm().item()
        assert apart == pytest.approx(distance(one, other), rel=1e-9)


def test_alignment_brings_networks_nearer(
    pair: tuple[Path, Path], joined: Callable[..., InterpolateResult]
) -> None:
    plain, aligned = joined(*pair), joined(*pair, align=True)
    (found,) = aligned.aligned
    assert found.distance_before == pytest.approx(plain.paths[0].straight)
    assert found.distance_after == pytest.approx(aligned.paths[0].straight)
    assert found.distance_after < found.distance_before
    assert found.left == {}
    assert aligned.paths[0].test[-1].accuracy == plain.paths[0].test[-1].accuracy


def test_alignment_undoes_a_permutation_of_residual_streams(
    run_train: Train,
    tiny_config: Callable[..., Any],
    tmp_path: Path,
    joined: Callable[..., InterpolateResult],
) -> None:
    files = tmp_path / "first.safetensors", tmp_path / "permuted.safetensors"
    run_train(tiny_config(arch="resnet18", alpha=2, optim="sgd", epochs=1), files[0].name)
    checkpoint = open_checkpoint(files[0])
    header = checkpoint.require_kind("model")
    model, _ = shuffled(load_model(checkpoint), ModelSpec.from_json(header.model or {}, "first"), 3)
    write_checkpoint(str(files[1]), header, model.state_dict())
    plain, aligned = joined(*files, points=3), joined(*files, points=3, align=True)
    (path,) = aligned.paths
    assert plain.paths[0].barrier > 1e-3
    assert path.barrier == pytest.approx(0, abs=1e-6)
    assert len({score.accuracy for score in path.test}) == 1
    assert (aligned.aligned[0].distance_after, aligned.aligned[0].left) == (0, {})


def test_layers_that_cannot_be_aligned_are_named(
    pair: tuple[Path, Path], joined: Callable[..., InterpolateResult],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    left = {f"block{index}": "block2 is a grouped convolution" for index in range(5)} | {
        "gate": "it is shared"
    }
    monkeypatch.setattr(stage_ends, "align", lambda *args: replace(align(*args), left=left))
    result = joined(*pair, pair[1], align=True)
    assert [record.getMessage() for record in caplog.records] == [
        "--align left the order of block0, block1, block2 and 2 more: block2 is a grouped convolution",
        "--align left the order of gate: it is shared",
    ]
    for entry in result.to_json()["aligned"]:
        assert entry["left"] == [{"layer": name, "why": why} for name, why in left.items()]


def test_extrapolation_goes_beyond_the_ends(
    pair: tuple[Path, Path], joined: Callable[..., InterpolateResult]
) -> None:
    path = joined(*pair, points=9, extrapolate=0.5).paths[0]
    assert (path.alphas[0], path.alphas[-1]) == (-0.5, 1.5)
    assert {0.0, 1.0} < set(path.alphas)
    assert path.barrier >= 0


def test_networks_that_do_not_belong_together_are_refused(
    pair: tuple[Path, Path], run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path,
    joined: Callable[..., InterpolateResult],
) -> None:  # fmt: skip
    run_train(tiny_config(arch="s-conv", alpha=3, optim="sgd", epochs=1), "wide.safetensors")
    with pytest.raises(
        BadInputError, match=r"tensor 'layer1.weight' has shape \[2, 3, 9, 9\] in the one, has shape \[3,"
    ):
        joined(pair[0], tmp_path / "wide.safetensors")
    run_train(tiny_config(arch="s-local", alpha=2, optim="sgd", epochs=1), "local.safetensors")
    with pytest.raises(BadInputError, match="different architectures"):
        joined(pair[0], tmp_path / "local.safetensors")
    run_train(
        tiny_config(arch="s-conv", alpha=2, optim="sgd", permute_pixels=1, epochs=1), "permuted.safetensors"
    )
    with pytest.raises(BadInputError, match="see their images differently: permute_pixels is None and 1"):
        joined(pair[0], tmp_path / "permuted.safetensors")
    with pytest.raises(UsageError, match="two networks or more"):
        joined(pair[0])
    with pytest.raises(UsageError, match="no one path of networks to write"):
        joined(*pair, method="output", _out=str(tmp_path / "x.safetensors"))
    joined(*pair, _out=str(tmp_path / "path.safetensors"))
    with pytest.raises(UsageError, match="one point is written"):
        joined(tmp_path / "path.safetensors")
    with pytest.raises(BadInputError, match="is of kind 'path'"):
        joined(tmp_path / "path.safetensors", pair[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": 1}, {"method": "spline"}, {"extrapolate": -1.0}, {"extrapolate": 0.5, "method": "string"},
        {"plane": 5}, {"epochs": -1}, {"lr": -1.0}, {"stiffness": float("nan")}, {"batch_size": 0}, {"seed": -1},
        {"bn": "drop"}, {"spring": "steel"}, {"loss": "hinge"}, {"train_size": 0}, {"points_at_a_time": 0},
        {"files": ("-", "-")}, {"files": ("a", "b", "c"), "method": "output"}, {"dataset": "nothing"},
    ],
)  # fmt: skip
def test_wrong_configurations(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        InterpolateConfig(**({"files": ("a", "b")} | wrong))
