"""Files as other programs write them: endings, wrappers, prefixes, shards, unusual tensors; parts are refused."""

import argparse
import io
import json
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lcstool.checkpoint import Checkpoint, content_digest, open_checkpoint
from lcstool.errors import BadInputError, UnreadTensorError, UsageError

STATE = {
    "conv.weight": torch.arange(24.0).view(2, 3, 2, 2),
    "conv.bias": torch.ones(2),
    "fc.weight": torch.eye(3),
}


def tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {name: checkpoint[name] for name in checkpoint.tensors}


def assert_is_state(checkpoint: Checkpoint) -> None:
    found = tensors(checkpoint)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())
    assert checkpoint.digest() == content_digest(STATE)
    for name, tensor in STATE.items():
        assert torch.equal(torch.cat(list(checkpoint.rows(name, rows_per_block=1))), tensor)


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in STATE.items()}


@pytest.mark.parametrize("ending", ["pt", "pth", "ckpt", "th", "bin", "pth.tar", "safetensors", "weird"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_files_of_torch_of_any_ending(tmp_path: Path, ending: str, zipped: bool) -> None:
    path = tmp_path / f"net.{ending}"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    assert_is_state(open_checkpoint(path))


@pytest.mark.parametrize(
    "name", ["state_dict", "model_state", "model_state_dict", "ema", "state_dict_ema", "weights"]
)
def test_wrappers(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Beside the weights stand what trainings keep: numbers, an optimizer with tensors, objects of any class."""
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters())
    content = {
        "epoch": 3,
        name: OrderedDict(STATE),
        "optimizer": optimizer.state_dict(),
        "best": torch.tensor(0.9),
    }
    torch.save(content | {"args": argparse.Namespace(lr=0.1)}, tmp_path / "net.ckpt")
    with caplog.at_level("INFO", "lcstool"):
        assert_is_state(open_checkpoint(tmp_path / "net.ckpt"))
    assert f"the weights are at {name!r}" in caplog.text


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.module._orig_mod.",
     "_fsdp_wrapped_module."],
)  # fmt: skip
def test_prefixes(tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    save_file(prefixed(prefix), tmp_path / "net.safetensors")
    with caplog.at_level("INFO", "lcstool"):
        assert_is_state(open_checkpoint(tmp_path / "net.safetensors"))
    assert "names without" in caplog.text


def test_an_inserted_part_within_names(tmp_path: Path) -> None:
    save_file(
        {"a._orig_mod.weight": torch.ones(2, 2), "b.weight": torch.ones(3, 2)}, tmp_path / "net.safetensors"
    )
    assert set(open_checkpoint(tmp_path / "net.safetensors").tensors) == {"a.weight", "b.weight"}


def test_the_count_of_an_average_keeps_its_name(tmp_path: Path) -> None:
    torch.save(torch.optim.swa_utils.AveragedModel(nn.Linear(3, 2)).state_dict(), tmp_path / "net.pt")
    assert set(open_checkpoint(tmp_path / "net.pt").tensors) == {"weight", "bias", "n_averaged"}


def test_a_prefix_of_some_names_stays(tmp_path: Path) -> None:
    names = {"model.a.weight": torch.ones(2, 2), "head.weight": torch.ones(3, 2)}
    save_file(names, tmp_path / "net.safetensors")
    assert set(open_checkpoint(tmp_path / "net.safetensors").tensors) == set(names)


def test_names_that_would_meet_stay(tmp_path: Path) -> None:
    names = {"a._orig_mod.weight": torch.ones(2, 2), "a.weight": torch.ones(3, 2)}
    save_file(names, tmp_path / "net.safetensors")
    assert set(open_checkpoint(tmp_path / "net.safetensors").tensors) == set(names)


def test_one_of_several_is_chosen_by_key(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    other = {name: tensor + 1 for name, tensor in STATE.items()}
    torch.save({"state_dict": other, "ema": {"decay": 0.9, "shadow": dict(STATE)}}, path)
    with pytest.raises(
        UsageError, match=r"holds 2 state dicts: state_dict \(3\), ema.shadow \(3\)"
    ) as caught:
        open_checkpoint(path)
    assert caught.value.hint == "choose one: --key state_dict"
    assert_is_state(open_checkpoint(path, "ema.shadow"))
    with pytest.raises(UsageError, match="no state dict at 'ema'"):
        open_checkpoint(path, "ema")
    save_file(STATE, tmp_path / "net.safetensors")
    with pytest.raises(UsageError, match="holds one state dict"):
        open_checkpoint(tmp_path / "net.safetensors", "ema")


def test_loose_tensors_beside_a_state_dict_hide_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    torch.save({"model": STATE, "loss.weight": torch.ones(10, 10), "epoch": 1}, path)
    with pytest.raises(UsageError, match=r"holds 2 state dicts: the file itself \(1\), model \(3\)"):
        open_checkpoint(path)
    assert_is_state(open_checkpoint(path, "model"))
    torch.save({"best_optimal_model": STATE, "train.acc": torch.tensor(0.9)}, path)
    assert_is_state(open_checkpoint(path))


def test_a_whole_network_is_refused_by_what_it_is(tmp_path: Path) -> None:
    torch.save(argparse.Namespace(net=nn.Linear(2, 2)), tmp_path / "net.pth")
    with pytest.raises(BadInputError, match="holds an object of a class"):
        open_checkpoint(tmp_path / "net.pth")


def test_what_is_no_tensor_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(STATE | {"version": 3}, tmp_path / "net.pth")
    with caplog.at_level("INFO", "lcstool"):
        assert_is_state(open_checkpoint(tmp_path / "net.pth"))
    assert "left out as no tensors: version" in caplog.text


def test_memory_layouts(tmp_path: Path) -> None:
    """Transposed views, channels last, sparse and shared tensors are the numbers they show."""
    state: dict[str, Tensor] = {
        "conv.weight": STATE["conv.weight"].to(memory_format=torch.channels_last),
        "conv.bias": torch.ones(4)[::2],
        "fc.weight": torch.eye(3).to_sparse(),
    }
    torch.save(state, tmp_path / "net.pth")
    assert_is_state(open_checkpoint(tmp_path / "net.pth"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(state | {"fc.weight": torch.eye(3).to_sparse_csr()}, tmp_path / "net.pth")
    assert_is_state(open_checkpoint(tmp_path / "net.pth"))


def quantised() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)


@pytest.mark.parametrize("make", [lambda: torch.empty(2, 2, device="meta"), quantised], ids=["meta", "qint8"])
def test_tensors_without_readable_values_are_refused_where_they_are_read(
    tmp_path: Path, make: Callable[[], Tensor]
) -> None:
    torch.save(STATE | {"odd.weight": make()}, tmp_path / "net.pth")
    checkpoint = open_checkpoint(tmp_path / "net.pth")
    assert torch.equal(checkpoint["fc.weight"], torch.eye(3))
    with pytest.raises(UnreadTensorError, match=r"'odd.weight'"):
        checkpoint["odd.weight"]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64,
                                   torch.complex64])  # fmt: skip
def test_unusual_numbers_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    odd = torch.ones(2, 3).to(dtype)
    save_file(STATE | {"odd": odd}, tmp_path / "net.safetensors")
    torch.save(STATE | {"odd": odd}, tmp_path / "net.pth")
    found = [open_checkpoint(tmp_path / name) for name in ("net.safetensors", "net.pth")]
    assert [c.tensors["odd"].dtype for c in found] == [dtype, dtype]
    assert all(torch.equal(c["odd"].view(torch.uint8), odd.view(torch.uint8)) for c in found)
    assert found[0].digest() == found[1].digest()


def sharded(folder: Path, save: Callable[[Any, Path], None] = save_file, ending: str = "safetensors") -> Path:
    """The state in two files with an index."""
    places = {}
    for number, names in enumerate((["conv.weight", "conv.bias"], ["fc.weight"]), start=1):
        file = f"model-{number:05}-of-00002.{ending}"
        save({name: STATE[name] for name in names}, folder / file)
        places |= dict.fromkeys(names, file)
    index = folder / f"model.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def test_shards(tmp_path: Path) -> None:
    assert_is_state(open_checkpoint(sharded(tmp_path)))
    assert_is_state(open_checkpoint(sharded(tmp_path, torch.save, "bin")))


def test_a_part_is_refused(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    with pytest.raises(BadInputError, match="is part 1 of 2 of a network") as caught:
        open_checkpoint(tmp_path / "model-00001-of-00002.safetensors")
    assert str(index) in (caught.value.hint or "")
    with pytest.raises(BadInputError, match="is a folder") as caught:
        open_checkpoint(tmp_path)
    assert str(index) in (caught.value.hint or "")
    save_file(STATE, tmp_path / "model-00001-of-00001.safetensors")
    assert_is_state(open_checkpoint(tmp_path / "model-00001-of-00001.safetensors"))


@pytest.mark.parametrize(
    ("name", "offsets", "is_whole"),
    [("shard-00001-model-00001-of-00001", 0, False), ("net", 0, False), ("model-00001-of-00001", 0, True),
     ("model-00001-of-00001", 2, False)],
)  # fmt: skip
def test_one_ranks_part_is_refused(tmp_path: Path, name: str, offsets: int, is_whole: bool) -> None:
    """The first rank's offsets are all 0, and nothing in its file says how large the whole tensors are."""
    info = {name: {"saved_offsets": [offsets] * tensor.ndim} for name, tensor in STATE.items()}
    save_file(
        STATE, tmp_path / f"{name}.safetensors", {"DCP_SHARDING_INFO": json.dumps(info), "format": "pt"}
    )
    if is_whole:
        assert_is_state(open_checkpoint(tmp_path / f"{name}.safetensors"))
    else:
        with pytest.raises(BadInputError, match="one rank's part"):
            open_checkpoint(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"fc.weight": "model-00003-of-00003.safetensors"},
            "names the file model-00003-of-00003.safetensors",
        ),
        ({"more.weight": "model-00001-of-00002.safetensors"}, "does not hold the tensor 'more.weight'"),
        ({"fc.weight": "../model-00002-of-00002.safetensors"}, "is no file beside the index"),
        ({"fc.weight": 2}, "is no file beside the index"),
    ],
)
def test_an_index_that_does_not_fit(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    index = sharded(tmp_path)
    content = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": content["weight_map"] | change}))
    with pytest.raises(BadInputError, match=said):
        open_checkpoint(index)


def test_a_tensor_that_the_index_does_not_name(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    places = json.loads(index.read_text())["weight_map"]
    del places["conv.bias"]
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(BadInputError, match=r"holds, unknown to the index, the tensor 'conv.bias'"):
        open_checkpoint(index)
    index.write_text("{}")
    with pytest.raises(BadInputError, match="no weight_map"):
        open_checkpoint(index)


def test_files_of_torch_through_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"state_dict": prefixed("module.")}, tmp_path / "net.pth")
    piped = io.TextIOWrapper(io.BytesIO((tmp_path / "net.pth").read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    assert_is_state(open_checkpoint("-"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5"),
        (b"\x1f\x8b" + bytes(20), "gzip"),
        (b"PK\x03\x04\x14\0\x08\x08", "cannot be read"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "net.h5").write_bytes(content)
    with pytest.raises(BadInputError, match=said):
        open_checkpoint(tmp_path / "net.h5")


def test_a_program_and_another_archive_are_named(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "net.pt"))
    with pytest.raises(BadInputError, match="TorchScript"):
        open_checkpoint(tmp_path / "net.pt")
    np.savez(tmp_path / "net.npz", a=np.ones(3))
    with pytest.raises(BadInputError, match=r"torch.save did not write \(it holds a.npy\)"):
        open_checkpoint(tmp_path / "net.npz")
