"""Hostile data and configurations: no crash, no traceback, no hang, no memory beyond the file's own and a bound."""

import io
import random
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from amounts import few_or_many
from fuzz.fuzzing import TooSlow, fuzz, limits, mutated, replaced_values, report
from PIL import Image

from lcstool.cli.config_file import resolve
from lcstool.data import load_dataset
from lcstool.data.pictures import picture_size, read_picture
from lcstool.errors import UsageError
from lcstool.stages.bound.config import BoundConfig
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.interpolate.config import InterpolateConfig
from lcstool.stages.prune_stats.config import PruneStatsConfig
from lcstool.stages.sharpness.config import SharpnessConfig
from lcstool.stages.train.config import TrainConfig

Make = Callable[[random.Random], bytes]
CONFIGS = (
    TrainConfig, BoundConfig, EmbedConfig, EnergyConfig, InterpolateConfig, PruneStatsConfig, SharpnessConfig,
)  # fmt: skip


# Data


def npz_bytes(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npz_seeds() -> list[bytes]:
    images, labels = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3), np.array([0, 1, 0, 1])
    whole = {
        f"{split}_{part}": a
        for split in ("train", "test")
        for part, a in (("images", images), ("labels", labels))
    }
    compressed = io.BytesIO()
    np.savez_compressed(compressed, **whole)
    return [
        npz_bytes(**whole),
        compressed.getvalue(),
        npz_bytes(**whole | dict.fromkeys(("train_images", "test_images"), images[..., 0])),
    ]


def odd_archive(seeds: list[bytes]) -> Make:
    """Half mutated bytes, half sound archives of odd arrays."""
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1])

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.6:
            return mutated(seeds, draw)
        odd = [
            np.zeros((0, 8, 8, 3), np.uint8), np.zeros((4, 0, 8, 3), np.uint8), np.zeros((4, 8, 8, 3)), np.zeros(()),
            np.array(["a"] * 4), np.array([0, 1, -1, 5]), np.array([0, 2**62, 0, 1]), np.array([0.5, 1, 0, 1]),
            np.zeros((4, 1, 1, 1), np.uint8), np.zeros((3, 8, 8, 3), np.uint8), np.zeros((4, 8, 8, 40), np.uint8),
            np.zeros(4, dtype=[("a", "i4")]), np.array([None, {}], dtype=object), np.full(4, np.nan),
            np.zeros((4, 8), np.uint8), np.zeros((1,) * 20, np.uint8), np.array([2**64 - 1] * 4, np.uint64),
            np.zeros((4, 3, 8, 8), np.uint8), np.zeros((8, 8, 3, 4), np.uint8), np.zeros((4, 3, 8, 3), np.uint8),
            images / np.float32(255), images / 7, np.eye(4), np.ones((4, 2)), labels[:, None], labels + 1,
            np.full((4, 8, 8, 3), "a"), np.array([["a", "b"]] * 4), np.zeros((4, 8, 8, 3), dtype=[("a", "i4")]),
        ]  # fmt: skip
        arrays = {
            "train_images": images,
            "train_labels": labels,
            "test_images": images,
            "test_labels": labels,
        }
        for _ in range(draw.choice((1, 1, 2))):
            arrays[draw.choice(list(arrays))] = draw.choice(odd)
        if draw.random() < 0.1:
            del arrays[draw.choice(list(arrays))]
        return npz_bytes(**arrays)

    return make


@pytest.mark.parametrize("num_cases", few_or_many(100, 20_000))
def test_archives(tmp_path: Path, num_cases: int) -> None:
    def target(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile's, of duplicate names
            load_dataset(f"npz:{path}")

    seeds = npz_seeds()
    for seed in seeds:
        (tmp_path / "whole.npz").write_bytes(seed)
        load_dataset(f"npz:{tmp_path / 'whole.npz'}")
    outcomes = fuzz(odd_archive(seeds), target, tmp_path / "case.npz", num_cases, 3)
    report("archives", outcomes)
    assert outcomes["accepted"] > 0
    assert outcomes["BadInputError"] > num_cases / 3


def picture_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture_seeds() -> list[bytes]:
    colours = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    rgb, deep = Image.fromarray(colours[..., :3]), Image.fromarray(colours[..., 0].astype(np.uint16) * 257)
    seeds = [picture_bytes(rgb, kind) for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")]
    seeds += [picture_bytes(deep, kind) for kind in ("PNG", "TIFF", "PPM")]
    seeds += [
        picture_bytes(rgb.quantize(7), "PNG", transparency=b"\x07"),
        picture_bytes(rgb.convert("CMYK"), "JPEG"),
    ]
    return [*seeds, picture_bytes(Image.fromarray(colours), "PNG"), picture_bytes(deep.convert("F"), "TIFF")]


@pytest.mark.parametrize("num_cases", few_or_many(100, 20_000))
def test_pictures(tmp_path: Path, num_cases: int) -> None:
    def target(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of odd metadata
            picture_size(path)
            read_picture(path, (6, 5))

    seeds = picture_seeds()
    outcomes = fuzz(lambda draw: mutated(seeds, draw), target, tmp_path / "case.png", num_cases, 5)
    report("pictures", outcomes)
    assert min(outcomes["accepted"], outcomes["BadInputError"]) > num_cases / 10


# Configurations


def odd_yaml() -> Make:
    plain = {
        config: {e.name: e.default for e in fields(config) if not e.metadata.get("argument")}
        for config in CONFIGS
    }
    seeds = [
        yaml.safe_dump({k: list(v) if isinstance(v, tuple) else v for k, v in d.items()}).encode()
        for d in plain.values()
    ]
    seeds += [
        b"a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        b"!!python/object/apply:os.system ['true']\n",
        b"epochs: 1_000\n? []\n: x\n",
    ]

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            return mutated(seeds, draw)
        document = {
            k: list(v) if isinstance(v, tuple) else v for k, v in draw.choice(list(plain.values())).items()
        }
        for _ in range(draw.choice((1, 2, 5))):
            document = replaced_values(document, draw)
        return yaml.safe_dump(document).encode()

    return make


@pytest.mark.parametrize("num_cases", few_or_many(100, 20_000))
def test_configurations(tmp_path: Path, num_cases: int) -> None:
    def target(path: Path) -> None:
        refused = []
        for config in CONFIGS:
            try:
                resolve(config, path, {})
            except UsageError as error:
                refused.append(error)
        if len(refused) == len(CONFIGS):
            raise refused[-1]

    outcomes = fuzz(odd_yaml(), target, tmp_path / "case.yaml", num_cases, 4)
    report("configurations", outcomes)
    assert outcomes["UsageError"] > num_cases / 3


# The fuzzer itself


def test_the_fuzzer_finds_what_it_looks_for(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        if b"\xff" in path.read_bytes():
            raise IndexError("a bug")

    with pytest.raises(AssertionError, match="IndexError: a bug"):
        fuzz(lambda draw: mutated([b"abc"], draw), fails, tmp_path / "case", 2000, 0)
    with pytest.raises((MemoryError, RuntimeError)), limits():
        torch.zeros(1 << 32)
    with pytest.raises(AssertionError, match="TooSlow"):
        fuzz(lambda _: b"", lambda _: (_ for _ in ()).throw(TooSlow()), tmp_path / "case", 1, 0)
