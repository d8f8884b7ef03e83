"""Hostile checkpoints and codes: no crash, no traceback, no hang, no memory beyond the file's own size and a bound.

A hundred cases a target here; 20,000 in the long run (`pytest -m long tests/fuzz`).
"""

import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from amounts import few_or_many
from fuzz.fuzzing import fuzz, mutated, replaced_values, report

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.codes import CODES
from lcstool.codes.quantise import quantise
from lcstool.lcn.file import read_lcn
from lcstool.models import ModelSpec, build_model, load_model
from lcstool.models.wiring.trace import trace
from lcstool.stages.bound.description import describe
from lcstool.stages.bound.file import decode_file, write_code
from lcstool.weights import count_layer, find_weights

# Code, bits of a value, grid, batch norms.
WAYS = (
    ("paper", 4, "uniform", "fold"),
    ("comb", 32, "uniform", "count"),
    ("structured", 3, "kmeans", "fold"),
    ("entropy", 2, "uniform", "fold"),
)
Make = Callable[[random.Random], bytes]


# Checkpoints


def model_file(spec: ModelSpec, path: Path) -> bytes:
    model = build_model(spec, torch.Generator().manual_seed(0))
    layers = trace(model.to("meta"), spec.in_shape).layers_json()
    model = build_model(spec, torch.Generator().manual_seed(0))
    entry = {"stage": "train", "config": {"epochs": 1, "loss": "mse"}, "seed": 0, "metrics": {}, "inputs": {}}
    constants = {"mean": [0.5] * 3, "std": [0.2] * 3, "permute_pixels": None, "classes": ["a", "b"]}
    header = Header(kind="model", model=spec.to_json(), input=constants, layers=layers, history=(entry,))
    write_checkpoint(str(path), header, dict(model.state_dict()))
    return path.read_bytes()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    specs = (
        ModelSpec(arch="s-fc", image=(9, 9), channels=3, classes=2, alpha=1),
        ModelSpec(arch="vanilla-cnn", image=(8, 8), channels=3, classes=2, alpha=1),
    )
    files = [model_file(spec, folder / "model.safetensors") for spec in specs]
    lcn = Header(kind="lcn", model={"arch": "lcn", "args": {"kernels": [2, 2], "strides": [1, 1]}})
    layers = {f"layer{i}.weight": torch.ones(3, 2, dtype=torch.float64) for i in (1, 2)}
    write_checkpoint(str(folder / "lcn.safetensors"), lcn, layers)
    files.append((folder / "lcn.safetensors").read_bytes())
    return [*files, foreign_file()]


def foreign_file() -> bytes:
    tensors = {
        "conv.weight_orig": ((2, 3, 1, 1), "F32"),
        "conv.weight_mask": ((2, 3, 1, 1), "BOOL"),
        "b": ((2,), "BF16"),
    }
    size, header, at = {"F32": 4, "BOOL": 1, "BF16": 2}, {}, 0
    for name, (shape, dtype) in tensors.items():
        num_bytes = int(np.prod(shape)) * size[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + num_bytes]}
        at += num_bytes
    return packed(header, bytes(at))


def packed(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + data


def unpacked(file: bytes) -> tuple[Any, bytes]:
    length = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def odd_checkpoint(seeds: list[bytes]) -> Make:
    """Half of the cases are mutated bytes, half files whose header is well formed and wrong somewhere."""

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            return mutated(seeds, draw)
        header, data = unpacked(draw.choice(seeds))
        described = "lcstool" in header.get("__metadata__", {})
        inner = json.loads(header["__metadata__"]["lcstool"]) if described else None
        for _ in range(draw.choice((1, 1, 2, 4))):
            if described and draw.random() < 0.6:
                inner = replaced_values(inner, draw)
            elif isinstance(header, dict):
                header = replaced_values(header, draw)
        if described and isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
            header = header | {"__metadata__": {"lcstool": json.dumps(inner)}}
        return packed(header, data)

    return make


def read_checkpoint(path: Path) -> None:
    """What any stage does first with a file, in turn."""
    checkpoint = open_checkpoint(str(path))
    kind = checkpoint.header.kind if checkpoint.header is not None else None
    if kind == "model":
        load_model(checkpoint)
    elif kind == "lcn":
        read_lcn(checkpoint)
    for weight in find_weights(checkpoint):
        count_layer(weight)


@pytest.mark.parametrize("num_cases", few_or_many(100, 20_000))
def test_checkpoints(checkpoints: list[bytes], tmp_path: Path, num_cases: int) -> None:
    outcomes = fuzz(odd_checkpoint(checkpoints), read_checkpoint, tmp_path / "case.safetensors", num_cases, 1)
    report("checkpoints", outcomes)
    assert outcomes["accepted"] > 0
    assert outcomes["BadInputError"] > num_cases / 3


def test_a_pickle_is_never_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    torch.save({"w": Bomb()}, tmp_path / "zip.safetensors")
    (tmp_path / "plain.safetensors").write_bytes(pickle.dumps(Bomb()))
    seeds = [(tmp_path / name).read_bytes() for name in ("zip.safetensors", "plain.safetensors")]
    outcomes = fuzz(lambda draw: mutated(seeds, draw), read_checkpoint, tmp_path / "case.safetensors", 200, 2)
    assert outcomes["accepted"] == 0
    assert not marker.exists()


# Codes


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A small network by every code, with several kinds of values."""
    folder = tmp_path_factory.mktemp("codes")
    files = []
    for spec in (
        ModelSpec(arch="s-conv", image=(9, 9), channels=3, classes=2, alpha=1),
        ModelSpec(arch="vanilla-cnn", image=(8, 8), channels=3, classes=2, alpha=1),
    ):
        (folder / "model.safetensors").write_bytes(model_file(spec, folder / "model.safetensors"))
        checkpoint = open_checkpoint(str(folder / "model.safetensors"))
        for name, bits, grid, bn in WAYS:
            description = describe(checkpoint, bn)
            tensors, values = quantise(description.tensors, bits, grid)
            side = description.side(values)
            string = CODES[name].encode(tensors, side)
            out = folder / f"{name}.safetensors"
            write_code(str(out), description, side, string, {"stage": "bound"}, code=name, bn=bn)
            files.append(out.read_bytes())
    return files


def odd_code(seeds: list[bytes]) -> Make:
    """Half of the cases have wrong bits under a right header, so that the decoders themselves are reached."""
    whole = odd_checkpoint(seeds)

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            return whole(draw)
        header, data = unpacked(draw.choice(seeds))
        bits = bytearray(data)
        for _ in range(draw.choice((1, 2, 8))):
            bits[draw.randrange(len(bits))] ^= 1 << draw.randrange(8)
        return packed(header, bytes(bits))

    return make


@pytest.mark.parametrize("num_cases", few_or_many(100, 20_000))
def test_decoders(codes: list[bytes], tmp_path: Path, num_cases: int) -> None:
    for seed in codes:
        (tmp_path / "whole.safetensors").write_bytes(seed)
        decode_file(str(tmp_path / "whole.safetensors"), str(tmp_path / "out.safetensors"))

    def target(path: Path) -> None:
        decode_file(str(path), str(tmp_path / "out.safetensors"))

    outcomes = fuzz(odd_code(codes), target, tmp_path / "case.safetensors", num_cases, 5)
    report("codes", outcomes)
    assert outcomes["BadInputError"] > num_cases / 3
