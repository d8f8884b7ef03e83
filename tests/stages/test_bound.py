"""The bound stage on files: codes that decode, evidence that must be the training images, the cost of choices."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from amounts import first_of
from safetensors.torch import save_file

from lcstool.bounds import error_bound
from lcstool.checkpoint import open_checkpoint, write_checkpoint
from lcstool.choices import CODES
from lcstool.errors import BadInputError, UsageError
from lcstool.models import load_model
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.bound.file import decode_file
from lcstool.stages.bound.result import BoundResult
from lcstool.stages.bound.stage import bound
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.prune_stats.stage import prune_stats
from lcstool.stages.train.config import TrainConfig

Config = Callable[..., TrainConfig]
Run = Callable[..., Any]


@pytest.fixture
def net(tiny_config: Config, run_train: Run, tmp_path: Path) -> Path:
    """A small convolutional network with batch norm."""
    run_train(tiny_config(arch="d-conv", alpha=2, optim="sgd", epochs=1), "net.safetensors")
    return tmp_path / "net.safetensors"


@pytest.fixture
def bounded(tiny_npz: Path) -> Callable[..., BoundResult]:
    def run(file: Path, emit: Path | None = None, out: Path | None = None, **fields: Any) -> BoundResult:
        defaults = {"dataset": f"npz:{tiny_npz}", "device": "cpu"}
        config = BoundConfig(file=str(file), **(defaults | fields))
        return bound(config, str(emit) if emit else None, str(out) if out else None)

    return run


@pytest.mark.parametrize(
    ("bn", "bits", "quantizer"),
    first_of(
        [
            *[("fold", 32, "uniform"), ("count", 2, "kmeans"), ("fold", 3, "uniform")],
            *[("fold", 16, "uniform"), ("fold", 2, "kmeans"), ("count", 32, "uniform")],
            *[("count", 16, "uniform"), ("count", 3, "uniform")],
        ],
        2,
    ),
)
@pytest.mark.parametrize("code", CODES)
def test_what_is_emitted_gives_the_described_network_back(
    bn: str, bits: int, quantizer: str, code: str, net: Path, bounded: Run, tmp_path: Path
) -> None:
    emit, out, back = (tmp_path / f"{name}.safetensors" for name in ("code", "out", "back"))
    result = bounded(net, emit, out, bn=bn, bits=bits, quantizer=quantizer, code=code)
    (described,) = result.codes
    assert described.measured_bits is not None
    emitted = open_checkpoint(str(emit))
    assert emitted["bits"].numel() == math.ceil(described.measured_bits / 8)
    decode_file(str(emit), str(back))
    first, second = (load_model(open_checkpoint(str(file))) for file in (out, back))
    for (name, tensor), (other, same) in zip(
        first.state_dict().items(), second.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(tensor, same), name
    headers = [open_checkpoint(str(file)).require_kind("model").input for file in (out, back)]
    assert headers[0] == headers[1]
    document = result.to_json()
    assert next(iter(document.items())) == ("schema", "lcstool.bound/1")
    json.dumps(document, allow_nan=False)


def test_the_described_network_is_the_one_measured(net: Path, bounded: Run, tmp_path: Path) -> None:
    """At 32 bits only folding rounds; at 2 bits the network that is written has the errors that are reported."""
    whole = bounded(net)
    history = open_checkpoint(str(net)).require_kind("model").history[-1]["metrics"]
    assert whole.evidence.train_error == pytest.approx(1 - history["train_accuracy_frac"], abs=0.02)
    rough = bounded(net, out=tmp_path / "rough.safetensors", bits=2)
    again = bounded(tmp_path / "rough.safetensors", bits=32)
    assert again.evidence.train_error == pytest.approx(rough.evidence.train_error, abs=0.02)
    assert again.test_error == pytest.approx(rough.test_error, abs=0.04)


def test_every_term_is_there_and_the_best_code_counts(net: Path, bounded: Run) -> None:
    result = bounded(net, bits=4)
    assert [code.code for code in result.codes] == list(CODES)
    for code in result.codes:
        assert sum(code.terms.values()) == pytest.approx(code.formula_bits)
        assert code.measured_bits == pytest.approx(code.formula_bits, rel=0.02, abs=80)
        assert code.bounds(result.evidence)["kl"] == error_bound(code.bits, result.evidence, "kl")
    assert {code.choice_bits for code in result.codes} == {2}  # the best of four codes is a choice too
    assert bounded(net, bits=4, code="comb").codes[0].choice_bits == 0
    assert result.certificate == min(code.bounds(result.evidence)["kl"] for code in result.codes)
    assert result.is_vacuous == (result.certificate >= result.chance)
    paper = result.codes[0]
    n, k, nonzeros = result.size.num_parameters, result.size.num_distinct, result.size.num_nonzeros
    tables = paper.terms["tables"]
    expected = nonzeros * math.log2(k * n) + 2 * math.log2(n) + 4 * k + tables
    assert paper.formula_bits == pytest.approx(expected)


def test_non_zeros_that_would_not_be_vacuous(net: Path, bounded: Run) -> None:
    result = bounded(net, samples=50_000, train_error=0.1, dataset="leaves")
    comb = result.codes[1]
    assert comb.affordable_nonzeros is not None
    n = result.size.num_parameters

    def bits(count: int) -> float:
        return 32 * count + math.ceil(math.log2(math.comb(n, count))) + math.ceil(math.log2(n + 1))

    assert error_bound(2 + bits(comb.affordable_nonzeros), result.evidence, "kl") <= result.chance
    if comb.affordable_nonzeros < n:
        assert error_bound(2 + bits(comb.affordable_nonzeros + 1), result.evidence, "kl") > result.chance


def test_a_search_pays_for_its_choice(net: Path, bounded: Run) -> None:
    result = bounded(net, search=True, search_prune=("0,0.5",), search_bits=("2", "4", "16"))
    search = result.search
    assert search is not None
    assert len(search.candidates) == 2 * (2 + 2 + 1)
    assert search.choice_bits == math.ceil(math.log2(10 * 4))
    assert all(code.choice_bits == search.choice_bits for code in result.codes)
    best = search.candidates[search.best]
    assert best.bound_frac == min(candidate.bound_frac for candidate in search.candidates)
    assert result.certificate == pytest.approx(best.bound_frac, abs=0.02)
    front = [search.candidates[index] for index in search.pareto()]
    assert all(
        a.code_bits <= b.code_bits and a.train_error_frac > b.train_error_frac
        for a, b in itertools.pairwise(front)
    )
    for candidate in search.candidates:
        assert any(
            f.code_bits <= candidate.code_bits and f.train_error_frac <= candidate.train_error_frac
            for f in front
        )


def test_a_search_prunes_what_prune_stats_prunes(
    tiny_config: Config, run_train: Run, bounded: Run, tmp_path: Path
) -> None:
    """Half of 81 weights is 40.5, which rounds to the even number 40."""
    config = tiny_config(
        arch="linear-cnn", alpha=3, optim="sgd", loss="mse", classes=("0", "2"), schedule="constant", epochs=1
    )
    run_train(config, "linear.safetensors")
    found, pruned = tmp_path / "found.safetensors", tmp_path / "pruned.safetensors"
    linear = tmp_path / "linear.safetensors"
    bounded(linear, out=found, search=True, search_prune=("0.5",), search_bits=("32",))
    prune_stats(PruneStatsConfig(files=(str(linear),), prune="magnitude:0.5"), str(pruned))
    first, second = (load_model(open_checkpoint(str(file))).state_dict() for file in (found, pruned))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    (weight,) = (tensor for name, tensor in first.items() if name.endswith("weight"))
    assert (weight.numel(), int(torch.count_nonzero(weight))) == (81, 41)


@pytest.mark.parametrize("fields", [{}, {"samples": 1000, "train_error": 0.5}, {"search": True}])
def test_what_changes_nothing_is_not_in_the_files(
    fields: dict[str, Any], net: Path, bounded: Run, tmp_path: Path, tiny_npz: Path
) -> None:
    """Not the device, nor a limit that is not reached, nor options of something that was not asked for."""
    idle: dict[str, Any] = {"most": 3_000_000, "device": "auto", "data_dir": str(tmp_path)}
    if "search" in fields:
        fields = fields | {"search_prune": ("0.5",), "search_bits": ("4",)}
        idle |= {"bits": 3, "quantizer": "kmeans"}
    else:
        idle |= {"quantizer": "kmeans", "search_prune": ("0.2",), "search_bits": ("3",)}
    if "samples" in fields:
        fields = fields | {"dataset": "leaves"}
        idle["dataset"] = f"npz:{tiny_npz}"
    written = [tmp_path / f"{name}.safetensors" for name in ("code", "out", "code2", "out2")]
    bounded(net, written[0], written[1], code="comb", **fields)
    bounded(net, written[2], written[3], code="comb", **(fields | idle))
    assert written[0].read_bytes() == written[2].read_bytes()
    assert written[1].read_bytes() == written[3].read_bytes()
    entry = open_checkpoint(str(written[1])).require_kind("model").history[-1]
    assert "seed" not in entry  # nothing is drawn


def test_other_images_are_no_evidence(net: Path, bounded: Run, make_npz: Run, tmp_path: Path) -> None:
    other = make_npz(tmp_path / "other.npz", seed=5)
    with pytest.raises(BadInputError, match="was not trained on npz"):
        bounded(net, dataset=f"npz:{other}")


def test_subsets_are_those_of_the_run(
    tiny_config: Config, run_train: Run, bounded: Run, tmp_path: Path
) -> None:
    run_train(
        tiny_config(arch="vanilla-cnn", alpha=2, optim="sgd", train_size=40, val_fraction=0.25),
        "a.safetensors",
    )
    assert bounded(tmp_path / "a.safetensors").evidence.num_samples == 40
    run_train(tiny_config(arch="vanilla-cnn", alpha=2, optim="sgd", labels="random"), "b.safetensors")
    with pytest.raises(BadInputError, match="labels of its own"):
        bounded(tmp_path / "b.safetensors")


def test_any_file_is_counted(tmp_path: Path, bounded: Run) -> None:
    path = tmp_path / "foreign.safetensors"
    weight = torch.tensor([[1.0, 0.0, -0.0], [2.0, 1.0, 0.0]])
    save_file({"fc.weight": weight, "steps": torch.tensor(3)}, path)
    result = bounded(path, samples=100, train_error=0.1)
    assert (result.size.num_parameters, result.size.num_nonzeros, result.size.num_distinct) == (6, 3, 3)
    assert result.chance == 0.5
    assert [code.code for code in result.codes] == ["paper", "comb"]
    assert result.codes[0].terms["codebook"] == 3 * 32
    with pytest.raises(UsageError, match="only a network of known architecture"):
        bounded(path, samples=100, train_error=0.1, code="entropy")
    with pytest.raises(BadInputError):
        bounded(path)
    pruned = tmp_path / "pruned.safetensors"  # ours, but it names no architecture either
    prune_stats(PruneStatsConfig(files=(str(path),), threshold=1.5), str(pruned))
    assert bounded(pruned, samples=100, train_error=0.1).size.num_nonzeros == 1
    with pytest.raises(BadInputError, match="does not say what network it is"):
        bounded(pruned)


def test_broken_codes_are_refused(net: Path, bounded: Run, tmp_path: Path) -> None:
    emit = tmp_path / "code.safetensors"
    bounded(net, emit, bits=4, code="entropy")
    checkpoint = open_checkpoint(str(emit))
    header = checkpoint.require_kind("code")
    data = checkpoint["bits"].clone()
    for wrong in (data[:-3], torch.cat([data, data[:1]]), torch.zeros_like(data)):
        write_checkpoint(str(tmp_path / "wrong.safetensors"), header, {"bits": wrong})
        with pytest.raises(BadInputError):
            decode_file(str(tmp_path / "wrong.safetensors"), str(tmp_path / "back.safetensors"))
    with pytest.raises(BadInputError, match="kind"):
        decode_file(str(net), str(tmp_path / "back.safetensors"))
    assert not (tmp_path / "back.safetensors").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bits": 13}, "bits"),
        ({"bits": 0}, "bits"),
        ({"delta": 0.0}, "delta"),
        ({"samples": 5}, "belong together"),
        ({"samples": 0, "train_error": 0.1}, "samples"),
        ({"samples": 5, "train_error": 1.1}, "train_error"),
        ({"samples": 5, "train_error": 0.1, "search": True}, "dataset"),
        ({"samples": 5, "train_error": 0.1, "bits": 4}, "measured"),
        ({"search_prune": ("2",)}, "search_prune"),
        ({"search_bits": ("x",)}, "search_bits"),
        ({"code": "zip"}, "code"),
    ],
)
def test_wrong_configurations(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        BoundConfig(file="x", **wrong)
