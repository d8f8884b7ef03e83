"""The same images with other second-order statistics, as an npz file: python images.py whitened --dataset leaves -o OUT

`permuted` moves the pixels of all images in the same way. `whitened` makes neighbouring pixels and colours
uncorrelated: at every frequency of an image's discrete Fourier transform it decorrelates the colours and divides by
their root mean square over the training images. Phases do not change, so shapes can still be seen.
"""

import argparse
from pathlib import Path

import numpy as np

from lcstool.data import load_dataset
from lcstool.data.preprocess import pixel_permutation
from lcstool.parsing import parse_image_size

# Shape suffixes: N images, C channels, H W image.

_LEAST = 1e-6  # of the largest variance: directions without images stay small
_DEVIATION = 40  # grey levels of the whitened pixels around 128; one or two in a hundred are clipped


def whitened(train_NCHW: np.ndarray, images_NCHW: np.ndarray) -> np.ndarray:
    """uint8 images whose spectrum, measured over `train_NCHW`, is flat."""
    mean_CHW = train_NCHW.mean(axis=0, dtype=np.float64)
    channels = train_NCHW.shape[1]
    height, width = train_NCHW.shape[2:]
    covariance = np.zeros((height, width, channels, channels), dtype=np.complex128)
    for block in np.array_split(train_NCHW, max(1, len(train_NCHW) // 1000)):
        spectrum = np.fft.fft2(block - mean_CHW)
        covariance += np.einsum("nchw,ndhw->hwcd", spectrum, spectrum.conj())
    values, vectors = np.linalg.eigh(covariance / len(train_NCHW) / (height * width))
    gain = 1 / np.sqrt(values + _LEAST * values.max())
    filters = np.einsum("hwck,hwk,hwdk->hwcd", vectors, gain, vectors.conj())
    out = np.empty_like(images_NCHW)
    for block in np.array_split(np.arange(len(images_NCHW)), max(1, len(images_NCHW) // 1000)):
        spectrum = np.einsum("hwcd,ndhw->nchw", filters, np.fft.fft2(images_NCHW[block] - mean_CHW))
        out[block] = np.clip(128 + _DEVIATION * np.fft.ifft2(spectrum).real, 0, 255).round()
    return out


def permuted(images_NCHW: np.ndarray) -> np.ndarray:
    """The pixels in another order, channels together."""
    height, width = images_NCHW.shape[2:]
    order = pixel_permutation(height, width, 0).numpy()
    moved = images_NCHW.reshape(*images_NCHW.shape[:2], -1)[:, :, order]
    return moved.reshape(images_NCHW.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description="Images with other second-order statistics.")
    parser.add_argument("how", choices=("whitened", "permuted"))
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--image-size")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    size = parse_image_size(options.image_size) if options.image_size else None
    dataset = load_dataset(options.dataset, size)
    arrays = {}
    train_NCHW = dataset.train.images.numpy()
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        images_NCHW = split.images.numpy()
        made = permuted(images_NCHW) if options.how == "permuted" else whitened(train_NCHW, images_NCHW)
        arrays[f"{name}_images"] = made.transpose(0, 2, 3, 1)
        arrays[f"{name}_labels"] = split.labels.numpy()
    part = options.out.with_name(options.out.name + ".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(options.out)


if __name__ == "__main__":
    main()
