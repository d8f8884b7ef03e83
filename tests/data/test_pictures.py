"""Image files of all kinds: their bytes are what they show, or they are refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from data.sources import refusal
from PIL import Image

from lcstool.data import load_dataset
from lcstool.data.pictures import picture_size, read_picture
from lcstool.data.preprocess import Preprocess
from lcstool.errors import BadInputError

RAMP = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
SCALED = np.rint(RAMP / 257).astype(np.uint8)


def pixels(path: Path) -> np.ndarray:
    """The picture at its own size, (H, W, 3)."""
    return read_picture(path, picture_size(path)).permute(1, 2, 0).numpy()


def gray(values_HW: np.ndarray) -> list[list[list[int]]]:
    """A gray image in three channels."""
    three: list[list[list[int]]] = np.repeat(values_HW[..., None], 3, axis=2).tolist()
    return three


def png(samples: np.ndarray, colour: int) -> bytes:
    """A PNG file of 16 bits a sample, (H, W, C): colour 0 gray, 2 RGB, 4 gray and alpha, 6 RGB and alpha."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


# Sixteen bits


def test_a_folder_of_sixteen_bit_ramps_is_half_white(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("a", "b"):
            folder = tmp_path / "ramp" / split / name
            folder.mkdir(parents=True)
            for index in range(3):
                Image.fromarray(RAMP if name == "a" else RAMP.T.copy()).save(folder / f"{index}.png")
    images = load_dataset(f"folder:{tmp_path / 'ramp'}").train.images
    found = Preprocess.of(images, "channel", None)
    assert found.mean == pytest.approx([RAMP.mean() / 65535] * 3, abs=1e-3)
    assert found.std == pytest.approx([(RAMP / 65535).std()] * 3, abs=1e-3)
    assert images[0].permute(1, 2, 0).tolist() == gray(SCALED)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bit_gray_is_scaled(tmp_path: Path, name: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / name)
    assert pixels(tmp_path / name).tolist() == gray(SCALED)


def test_big_endian_sixteen_bit_gray(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (8, 8), RAMP.astype(">u2").tobytes())
    image.save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as saved:
        assert saved.mode == "I;16B"
    assert pixels(tmp_path / "a.tif").tolist() == gray(SCALED)


def test_gray_of_any_greatest_value(tmp_path: Path) -> None:
    """A PGM file says which value is white."""
    values = (np.arange(16) * 273).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 4 4 4095\n" + values.tobytes())
    assert pixels(tmp_path / "a.pgm").tolist() == gray((np.arange(16, dtype=np.uint8) * 17).reshape(4, 4))


def test_twelve_bit_gray_is_scaled_by_its_own_white(tmp_path: Path) -> None:
    data = bytes.fromhex("fff000")  # two pixels of twelve bits: white and black
    entries = [
        (256, 2),
        (257, 1),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, 1),
        (279, len(data)),
    ]
    tags = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in entries
    )
    head = b"II*\0" + struct.pack("<I", 12) + data + b"\0"
    (tmp_path / "a.tif").write_bytes(head + struct.pack("<H", len(entries)) + tags + b"\0" * 4)
    assert pixels(tmp_path / "a.tif").tolist() == gray(np.array([[255, 0]], np.uint8))


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_sixteen_bit_colours_are_scaled_to_within_a_level(tmp_path: Path, colour: int) -> None:
    shown = np.random.default_rng(0).integers(0, 65536, (6, 5, 1 if colour == 4 else 3))
    shown[0, 0], shown[0, 1] = 0, 65535
    alpha = np.full((6, 5, 1), 65535)
    samples = shown if colour == 2 else np.concatenate([shown, alpha], axis=2)
    (tmp_path / "a.png").write_bytes(png(samples, colour))
    found = pixels(tmp_path / "a.png")
    assert np.abs(found - shown / 257).max() < 1
    assert found[0, :2].tolist() == [[0] * 3, [255] * 3]


# As Pillow converts them


def test_palettes_and_alpha(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    assert pixels(tmp_path / "rgba.png").tolist() == rgba[..., :3].tolist()
    Image.fromarray(rgba[..., :2]).save(tmp_path / "la.png")
    assert pixels(tmp_path / "la.png").tolist() == gray(rgba[..., 0])
    palette = Image.fromarray(rgba[..., :3]).quantize(7)
    for name, options in (
        ("p.png", {}),
        ("seen.png", {"transparency": 2}),
        ("parts.png", {"transparency": b"\x07\x80"}),
    ):
        palette.save(tmp_path / name, **options)
        with Image.open(tmp_path / name) as image:
            assert image.mode == "P"
        assert pixels(tmp_path / name).tolist() == np.asarray(palette.convert("RGB")).tolist()
    Image.fromarray(rgba[..., 0] > 99).save(tmp_path / "bits.png")
    assert pixels(tmp_path / "bits.png").tolist() == gray(255 * (rgba[..., 0] > 99).astype(np.uint8))


def test_cmyk_and_jpeg(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = Image.fromarray(colours).convert("CMYK")
    image.save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif").tolist() == np.asarray(image.convert("RGB")).tolist()
    image.save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as saved:
        assert saved.mode == "CMYK"
        expected = np.asarray(saved.convert("RGB")).tolist()
    assert pixels(tmp_path / "a.jpg").tolist() == expected


def test_other_sizes_are_resized_with_antialiasing(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (8, 4))
    Image.fromarray(stripes).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", (4, 2))
    assert found.shape == (3, 4, 2)
    assert ((found > 110) & (found < 145)).all()


# What is refused


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (RAMP.astype(np.int32), "whole numbers of 32 bits or with a sign"),
        (RAMP.astype(np.float32) / 65535, "floating-point numbers"),
    ],
)
def test_numbers_without_a_white(tmp_path: Path, values: np.ndarray, said: str) -> None:
    path = tmp_path / "images" / "train" / "x" / "a.tif"
    path.parent.mkdir(parents=True)
    Image.fromarray(values).save(path)
    error = refusal(f"folder:{tmp_path / 'images'}", test=False)
    assert f"{path} holds {said}, of which nothing says what is black and what white" in error.message
    assert error.hint == "convert it to 8 or 16 bits"


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    for read in (picture_size, pixels):
        with pytest.raises(BadInputError, match=r"a\.png cannot be read as an image: .*bomb"):
            read(tmp_path / "a.png")
