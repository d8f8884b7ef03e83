"""The prune-stats stage: reports against the networks themselves, pruned and compacted files, refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from amounts import is_long
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.data import load_dataset
from lcstool.data.preprocess import Preprocess
from lcstool.errors import BadInputError, CheckFailedError, UsageError
from lcstool.evaluation import evaluate
from lcstool.models import load_model
from lcstool.models.embedding.subspace import Subspace
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.stage import embed
from lcstool.stages.prune_stats import verify
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.layer import spread
from lcstool.stages.prune_stats.result import FileStats, PruneStatsResult
from lcstool.stages.prune_stats.stage import prune_stats

Train = Callable[..., Any]


def look_at(*files: Path, out: Path | None = None, device: str = "cpu", **options: Any) -> PruneStatsResult:
    config = PruneStatsConfig(files=tuple(map(str, files)), device=device, **options)
    return prune_stats(config, None if out is None else str(out))


@pytest.fixture
def s_fc(run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path) -> Path:
    run_train(tiny_config(arch="s-fc", alpha=2, optim="beta-lasso", lambda_conv=2e-3, beta=10.0))
    return tmp_path / "net.safetensors"


@pytest.fixture
def efcn(run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path) -> Path:
    """An embedded network that has left the convolutional subspace."""
    run_train(tiny_config(arch="vanilla-cnn", alpha=2, epochs=1), "cnn.safetensors")
    embed(EmbedConfig(file=str(tmp_path / "cnn.safetensors")), str(tmp_path / "start.safetensors"))
    start = str(tmp_path / "start.safetensors")
    run_train(tiny_config(init=start, epochs=1, lr=0.1), "efcn.safetensors")
    return tmp_path / "efcn.safetensors"


def by_layer(look: FileStats) -> dict[str, Any]:
    return {layer.counts.layer: layer for layer in look.layers}


def test_counts_are_those_of_the_network(s_fc: Path) -> None:
    look = look_at(s_fc).files[0]
    model = load_model(open_checkpoint(s_fc))
    assert look.epoch == 2
    for name, layer in by_layer(look).items():
        weight = model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        assert layer.counts.nonzeros == int((weight != 0).sum())
        assert torch.equal(layer.counts.fan_in_U, (weight != 0).sum(dim=1))
        assert layer.counts.num_dead == int((weight == 0).all(dim=1).sum())
    first = by_layer(look)["layer1"]
    assert (first.counts.num_conv, first.counts.num_local) == (3 * 81 * 2, 3 * 81 * 2 * 64)
    assert first.grid is not None
    assert first.field is not None
    assert look.nonzeros == sum(layer.counts.nonzeros for layer in look.layers)
    next_weight = model.get_submodule("layer2").weight
    assert isinstance(next_weight, Tensor)
    assert first.num_silent == int((next_weight == 0).all(dim=0).sum())


def test_an_embedded_network_is_split_and_masked(efcn: Path, tiny_npz: Path) -> None:
    name = f"npz:{tiny_npz}"
    look = look_at(efcn, dataset=name).files[0]
    model = load_model(open_checkpoint(efcn))
    subspace = Subspace(model)
    assert look.subspace == subspace.report()
    dataset = load_dataset(name, (16, 16), None)
    header = open_checkpoint(efcn).require_kind("model")
    prepare = Preprocess.from_json(header.input or {}, 3, "test").on(torch.device("cpu"), (16, 16))
    expected = {"whole": evaluate(model, dataset.test, prepare).accuracy}
    for part in ("off-local", "local"):
        with subspace.without(part):
            expected[f"without_{part.replace('-', '_')}"] = evaluate(model, dataset.test, prepare).accuracy
    assert look.accuracy == expected


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="dense without MKL")
def test_the_accuracy_of_a_pruned_network_says_what_it_was_computed_with(
    run_train: Train, tiny_config: Callable[..., Any], make_npz: Callable[..., Path], tmp_path: Path
) -> None:
    data = f"npz:{make_npz(tmp_path / 'data.npz', num_test=1100)}"
    run_train(tiny_config(arch="s-fc", alpha=4, dataset=data, epochs=1, optim="sgd"))
    net, pruned = tmp_path / "net.safetensors", tmp_path / "pruned.safetensors"
    result = look_at(net, prune="magnitude:0.95", scope="layer", dataset=data, out=pruned)
    assert result.files[0].to_json()["sparse_layers"] == ["layer1"]  # the others are too small
    assert look_at(net, dataset=data).files[0].to_json()["sparse_layers"] == []
    assert look_at(pruned).files[0].to_json()["sparse_layers"] is None
    model = load_model(open_checkpoint(pruned)).eval()
    dataset = load_dataset(data, (16, 16), None)
    header = open_checkpoint(pruned).require_kind("model")
    prepare = Preprocess.from_json(header.input or {}, 3, "test").on(torch.device("cpu"), (16, 16))
    hits = model(prepare(dataset.test.images)).argmax(dim=1) == dataset.test.labels
    assert (result.files[0].accuracy or {})["whole"] == hits.double().mean().item()


def test_permuted_pixels_are_put_back(run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path,
                                      tiny_npz: Path) -> None:  # fmt: skip
    config = tiny_config(arch="s-fc", alpha=2, permute_pixels=5)
    run_train(config, "permuted.safetensors")
    source = open_checkpoint(tmp_path / "permuted.safetensors")
    header = source.require_kind("model")
    assert header.input is not None
    weight = source["layer1.weight"].view(-1, 3, 256)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(5))
    restored = torch.empty_like(weight)
    restored[:, :, order] = weight
    tensors = {name: source[name] for name in source.tensors} | {"layer1.weight": restored.flatten(1)}
    plain = Header(
        kind="model", model=header.model, input=header.input | {"permute_pixels": None}, layers=header.layers
    )
    write_checkpoint(tmp_path / "plain.safetensors", plain, tensors)
    one, other = (
        look_at(tmp_path / name, dataset=f"npz:{tiny_npz}", discover=True).files[0].to_json()
        for name in ("permuted.safetensors", "plain.safetensors")
    )
    for report in (one, other):
        del report["file"], report["epoch"], report["dataset"]
    assert one == other


def test_any_state_dict_will_do(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5))
    prune.l1_unstructured(net[2], "weight", amount=0.5)
    save_file(net.state_dict(), tmp_path / "foreign.safetensors")
    look = look_at(tmp_path / "foreign.safetensors").files[0]
    layers = by_layer(look)
    assert list(layers) == ["0", "2"]
    assert layers["2"].counts.nonzeros == 40
    assert layers["0"].num_silent is None
    assert look.subspace is None
    assert look.epoch is None
    with pytest.raises(BadInputError, match="does not say what network it is"):
        look_at(tmp_path / "foreign.safetensors", dataset="leaves")
    out = tmp_path / "pruned.safetensors"
    look_at(tmp_path / "foreign.safetensors", prune="magnitude:0.75", out=out)
    written = open_checkpoint(out)
    assert set(written.tensors) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert sum(int((written[f"{name}.weight"] != 0).sum()) for name in ("0", "2")) == 47
    with pytest.raises(BadInputError, match="does not say what network it is"):
        look_at(tmp_path / "foreign.safetensors", compact=True, out=tmp_path / "x.safetensors")


def test_a_dense_image_layer_needs_the_shape_of_the_image(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.randn(30, 48)}, tmp_path / "fc.safetensors")
    assert look_at(tmp_path / "fc.safetensors").files[0].layers[0].grid is None
    look = look_at(tmp_path / "fc.safetensors", input="3x4x4", discover=True).files[0]
    assert look.layers[0].grid is not None
    assert look.discovery is not None
    with pytest.raises(BadInputError, match="no arrangement to discover"):
        look_at(tmp_path / "fc.safetensors", discover=True)


def test_snapshots_become_a_series(run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path) -> None:
    run_train(tiny_config(arch="s-fc", snapshots="0,1"))
    files = [
        tmp_path / name for name in ("net.safetensors", "net.epoch1.safetensors", "net.epoch0.safetensors")
    ]
    result = look_at(*files, out=tmp_path / "stats.safetensors")
    assert [look.epoch for look in result.files] == [0, 1, 2]
    stats = open_checkpoint(tmp_path / "stats.safetensors")
    header = stats.require_kind("stats")
    reports = header.history[0]["metrics"]["files"]
    assert [report["epoch"] for report in reports] == [0, 1, 2]
    assert torch.equal(stats["2/layer1/fan_in"], result.files[2].layers[0].counts.fan_in_U)
    named = [look.to_json() | {"file": Path(look.where).name} for look in result.files]
    assert reports == json.loads(json.dumps(named))
    look_at(*reversed(files), out=tmp_path / "reversed.safetensors")
    assert (tmp_path / "reversed.safetensors").read_bytes() == (tmp_path / "stats.safetensors").read_bytes()
    with pytest.raises(BadInputError, match="expected 'model'"):
        look_at(tmp_path / "stats.safetensors")


@pytest.mark.parametrize("storage", ["dense", "csr"])
def test_pruning_writes_exact_counts(s_fc: Path, tmp_path: Path, storage: str) -> None:
    out = tmp_path / "pruned.safetensors"
    result = look_at(s_fc, prune="magnitude:0.9", storage=storage, out=out)
    before, after = open_checkpoint(s_fc), open_checkpoint(out)
    names = ["layer1.weight", "layer2.weight", "layer3.weight"]
    old, new = (torch.cat([file[name].flatten() for name in names]) for file in (before, after))
    kept = len(old) - round(0.9 * len(old))
    assert int((new != 0).sum()) == min(kept, int((old != 0).sum()))
    assert torch.equal(new[new != 0], old[new != 0])
    assert old[(new == 0)].abs().max() <= new[new != 0].abs().min()
    assert all(torch.equal(before[name], after[name]) for name in before.tensors if name not in names)
    assert after.is_compressed("layer1.weight") == (storage == "csr")
    assert result.written is not None
    assert result.written.num_pruned == int((old != 0).sum() - (new != 0).sum())
    assert result.files[0].nonzeros == int((new != 0).sum())
    load_model(after)
    entry = after.require_kind("model").history[-1]
    assert (entry["stage"], entry["config"]["prune"]) == ("prune-stats", "magnitude:0.9")


def test_a_half_of_five_weights_is_two(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.tensor([[1.0, 2, 3, 4, 5]])}, tmp_path / "five.safetensors")
    out = tmp_path / "pruned.safetensors"
    result = look_at(tmp_path / "five.safetensors", prune="magnitude:0.5", out=out)
    assert result.written is not None
    assert result.written.num_pruned == 2
    assert open_checkpoint(out)["fc.weight"].tolist() == [[0, 0, 3, 4, 5]]


def check_irrelevant(
    net: Path, asked: dict[str, Any], irrelevant: dict[str, Any], recorded: set[str]
) -> None:
    """Options that cannot change the file that is asked for do not.

    All together give the same bytes; in the long run each alone, too.
    """
    contents = set()
    alone = [{name: value} for name, value in irrelevant.items()] if is_long() else []
    for index, other in enumerate([{}, irrelevant, *alone]):
        out = net.with_name(f"out{index}.safetensors")
        look_at(net, out=out, **asked | other)
        contents.add(out.read_bytes())
    assert len(contents) == 1
    header = open_checkpoint(out).header
    assert header is not None
    assert set(header.history[-1]["config"]) == recorded


def test_what_cannot_change_a_pruned_file_is_not_in_it(s_fc: Path, tiny_npz: Path) -> None:
    looks = {"device": "auto", "units": 7, "draws": 2, "locality": False, "discover": True, "input": "3x8x8"}
    data = f"npz:{tiny_npz}"
    names = {"prune", "threshold", "layers", "compact", "storage"}
    check_irrelevant(
        s_fc, {"prune": "magnitude:0.9"}, looks | {"seed": 1, "dataset": data}, names | {"scope"}
    )
    check_irrelevant(s_fc, {"threshold": 0.01}, looks | {"seed": 1, "dataset": data, "scope": "layer"}, names)
    compacted = {"threshold": 0.01, "compact": True}
    check_irrelevant(s_fc, compacted, looks, names | {"accuracy", "dataset"})
    check_irrelevant(
        s_fc, compacted | {"dataset": data}, looks | {"seed": 1}, names | {"accuracy", "dataset"}
    )
    header = open_checkpoint(s_fc.with_name("out0.safetensors")).header
    assert header is not None
    assert header.history[-1]["config"]["dataset"] == f"npz:{tiny_npz.name}"
    assert "seed" not in header.history[-1]


def test_what_cannot_change_the_statistics_is_not_in_them(s_fc: Path, tiny_npz: Path) -> None:
    names = {"input", "locality", "discover", "accuracy", "dataset"}
    check_irrelevant(
        s_fc, {"dataset": f"npz:{tiny_npz}"}, {"device": "auto", "scope": "layer"}, names | {"units", "draws"}
    )
    uncounted = {"device": "auto", "scope": "layer", "units": 7, "draws": 2, "seed": 1}
    check_irrelevant(s_fc, {"locality": False}, uncounted, names)


def test_a_csr_file_stays_csr(s_fc: Path, tmp_path: Path) -> None:
    look_at(s_fc, threshold=0.0, storage="csr", out=tmp_path / "csr.safetensors")
    look_at(tmp_path / "csr.safetensors", threshold=0.01, out=tmp_path / "again.safetensors")
    again = open_checkpoint(tmp_path / "again.safetensors")
    assert again.is_compressed("layer1.weight")
    look_at(
        s_fc, prune="magnitude:0.9", layers=("layer1",), storage="auto", out=tmp_path / "auto.safetensors"
    )
    auto = open_checkpoint(tmp_path / "auto.safetensors")
    assert [auto.is_compressed(f"layer{i}.weight") for i in (1, 2)] == [True, False]
    weight = open_checkpoint(s_fc)["layer1.weight"]
    assert torch.equal(again["layer1.weight"], torch.where(weight.abs() < 0.01, 0, weight))


def test_layers_and_thresholds(s_fc: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    look_at(s_fc, prune="magnitude:0.5", scope="layer", layers=("layer[23]",), out=out)
    before, after = open_checkpoint(s_fc), open_checkpoint(out)
    assert torch.equal(before["layer1.weight"], after["layer1.weight"])
    for name in ("layer2.weight", "layer3.weight"):
        size = after[name].numel()
        assert int((after[name] == 0).sum()) == max(int((before[name] == 0).sum()), round(size / 2))
    with pytest.raises(UsageError, match=r"matches none of layer1, layer2, layer3"):
        look_at(s_fc, prune="magnitude:0.5", layers=("conv*",), out=out)


def test_compaction_keeps_the_function(s_fc: Path, tmp_path: Path, tiny_npz: Path) -> None:
    out = tmp_path / "small.safetensors"
    result = look_at(s_fc, prune="magnitude:0.995", compact=True, dataset=f"npz:{tiny_npz}", out=out)
    assert result.written is not None
    assert result.written.compaction is not None
    assert result.written.compaction.num_parameters_after < result.written.compaction.num_parameters_before
    assert result.written.agreement is not None
    assert (result.written.agreement.images, result.written.agreement.num_images) == ("test", 32)
    look_at(s_fc, prune="magnitude:0.995", out=tmp_path / "pruned.safetensors")
    whole, small = (
        load_model(open_checkpoint(tmp_path / name)).double().eval()
        for name in ("pruned.safetensors", "small.safetensors")
    )
    x = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(whole(x), small(x), atol=1e-5)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in whole.parameters())


def test_a_compaction_that_changes_the_function_is_not_written(
    s_fc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "TOLERANCE", -1.0)
    with pytest.raises(CheckFailedError, match="nothing was written"):
        look_at(s_fc, prune="magnitude:0.995", compact=True, out=tmp_path / "small.safetensors")
    assert not (tmp_path / "small.safetensors").exists()


def test_a_layer_pruned_to_nothing(s_fc: Path, tmp_path: Path) -> None:
    out = tmp_path / "nothing.safetensors"
    look = look_at(s_fc, prune="magnitude:1", layers=("layer1",), out=out, discover=False).files[0]
    first = by_layer(look)["layer1"]
    assert first.counts.num_dead == first.counts.num_units
    assert first.grid is not None
    assert first.grid.min10.value is None
    assert first.grid.shifts is None
    assert first.field.units_frac == 0
    json.dumps(look.to_json(), allow_nan=False)


def test_the_document_says_what_was_dropped_and_why(s_fc: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    document = look_at(s_fc, prune="magnitude:0.999", compact=True, out=out).to_json()
    assert document["schema"] == "lcstool.prune-stats/1"
    header = open_checkpoint(out).header
    assert header is not None
    assert document["written"] == header.history[-1]["metrics"]
    layers = document["written"]["compaction"]["layers"]
    assert all(set(kept) == {"reason", "num_kept"} for layer in layers.values() for kept in layer["kept"])
    assert look_at(s_fc).to_json()["written"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"prune": "magnitude"}, {"prune": "magnitude:1.5"}, {"prune": "random:0.5"}, {"prune": "magnitude:x"},
        {"threshold": -1.0}, {"threshold": float("nan")}, {"prune": "magnitude:0.5", "threshold": 0.1},
        {"storage": "csr"}, {"storage": "coo", "compact": True}, {"layers": ("x",)}, {"scope": "row"},
        {"units": -1}, {"draws": 0}, {"seed": -1}, {"input": "3x32"}, {"dataset": "nothing"},
    ],
)  # fmt: skip
def test_wrong_configurations(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        PruneStatsConfig(files=("a",), **wrong)


def test_two_files_cannot_be_pruned_at_once() -> None:
    with pytest.raises(UsageError, match="one network is pruned at a time, got 2 files"):
        PruneStatsConfig(files=("a", "b"), compact=True)


def test_unfinished_runs_are_looked_at_but_not_pruned(
    run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path
) -> None:
    from lcstool.errors import InterruptedRunError

    with pytest.raises(InterruptedRunError):
        run_train(tiny_config(arch="s-fc"), stop_after=3)
    partial = tmp_path / "net.partial.safetensors"
    assert [layer.counts.layer for layer in look_at(partial).files[0].layers] == [
        "layer1",
        "layer2",
        "layer3",
    ]
    with pytest.raises(BadInputError, match="unfinished run"):
        look_at(partial, prune="magnitude:0.5", out=tmp_path / "x.safetensors")


def test_spread() -> None:
    values = spread(torch.tensor([[5, 1], [3, 2]]))
    assert values == {"min": 1, "q25": 2, "median": 3, "q75": 3, "max": 5, "mean": 2.75}
    assert spread(torch.empty(0))["max"] == 0


def test_networks_beyond_memory_are_still_counted(s_fc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lcstool.stages.prune_stats import measure

    monkeypatch.setattr(measure, "host_memory_bytes", lambda: 1000)
    look = look_at(s_fc).files[0]
    assert "need the whole network" in look.notes[0]
    assert look.subspace is None
    assert look.layers[0].counts.nonzeros > 0
    with pytest.raises(BadInputError, match="need the whole network"):
        look_at(s_fc, dataset="leaves")


def test_the_first_layer_of_a_foreign_file_is_the_one_that_takes_the_image(tmp_path: Path) -> None:
    tensors = {"net.out.weight": torch.randn(10, 64), "net.stem.weight": torch.randn(64, 48)}
    save_file(tensors, tmp_path / "foreign.safetensors")
    layers = by_layer(look_at(tmp_path / "foreign.safetensors", input="3x4x4").files[0])
    assert layers["net.stem"].grid is not None
    assert layers["net.out"].grid is None
    with pytest.raises(BadInputError, match=r"no dense layer takes 18 inputs.*net.out 64, net.stem 48"):
        look_at(tmp_path / "foreign.safetensors", input="3x2x3")


def test_a_mask_beside_a_weight_is_no_layer(tmp_path: Path) -> None:
    weight, mask = torch.randn(6, 5), (torch.arange(30).view(6, 5) % 2).float()
    save_file({"fc.weight": weight, "fc.weight_mask": mask}, tmp_path / "masked.safetensors")
    (layer,) = look_at(tmp_path / "masked.safetensors").files[0].layers
    assert (layer.counts.layer, layer.counts.nonzeros) == ("fc", 15)


def test_an_arrangement_nobody_asked_for_may_fail(
    run_train: Train, tiny_config: Callable[..., Any], tmp_path: Path
) -> None:
    run_train(tiny_config(arch="s-fc", alpha=2, permute_pixels=5), "permuted.safetensors")
    out = tmp_path / "empty.safetensors"
    look = look_at(tmp_path / "permuted.safetensors", threshold=1e9, out=out).files[0]
    assert look.discovery is None
    assert "only 0 pixels have connections" in look.notes[0]
    with pytest.raises(BadInputError, match="only 0 pixels have connections"):
        look_at(out, discover=True)


def test_standard_input_is_read_once() -> None:
    with pytest.raises(UsageError, match="standard input can be read once"):
        PruneStatsConfig(files=("-", "-"))
