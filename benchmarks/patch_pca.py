"""Time of the PCA of all patches of an image set, compared with two ways that first write all patches into one array.

    python benchmarks/patch_pca.py [--kernel 3 5 7 11] [--npz FILE] [--rounds 3] [--json FILE]

Ours goes through the images and never holds all patches. scikit-learn's PCA (if it is installed) and torch.pca_lowrank
take an array of all patches; making this array is part of their time. If the patches of all images exceed --memory-gib,
these two get as many images as fit, and their time is scaled to all images. This is fair, since their time is
proportional to the number of images. All ways take turns in one process. The benchmark fails if their components differ
from ours on the same images; components with nearly equal eigenvalues are compared as a group. FILE holds train_images
(N, H, W, C) uint8; without it the images are noise with a spectrum much like that of photographs. The array of patches
is in float64, since in float32 scikit-learn's mean over more than 2^24 patches is wrong.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Target, Timing, add_json_option, interleave, write_json
from torch import Tensor

from lcstool.energy import PatchBasis

# Shape suffixes: N images, C channels, H W height and width, P patches, D entries of a patch, Q leading components.

LEADING = 6  # what pca_lowrank is asked for, and torch's own default
SPARE = 6  # further components that its random projection needs to find these,
ITERATIONS = 4  # and power iterations: its default of 2 leaves the last of them wrong in the second digit
GAP = 0.01  # eigenvalues closer than this are one group


def natural_images(num_images: int, side: int) -> Tensor:
    """uint8 noise with an amplitude of 1/frequency^1.4, mostly common to the channels, much as small photographs."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None, :]
    amplitude = (y.square() + x.square()).sqrt().clamp(min=1 / side) ** -1.4
    blocks = []
    for start in range(0, num_images, 4096):
        shape = (min(4096, num_images - start), 3, side, side)
        noise = torch.randn(shape, generator=generator) + 2 * torch.randn(
            shape[0], 1, side, side, generator=generator
        )
        smooth = torch.fft.irfft2(torch.fft.rfft2(noise) * amplitude, s=(side, side))
        blocks.append((120 + 50 * smooth / smooth.std()).clamp(0, 255).to(torch.uint8))
    return torch.cat(blocks)


def lay_out(images_NCHW: Tensor, kernel: int) -> Tensor:
    """All patches (P, D), float64 in [0, 1]."""
    num_images, channels, height, width = images_NCHW.shape
    positions = (height - kernel + 1) * (width - kernel + 1)
    patches_PD = torch.empty(num_images * positions, channels * kernel**2, dtype=torch.float64)
    done = 0
    for block in images_NCHW.split(256):
        columns = torch.nn.functional.unfold(block.double() / 255, kernel)
        patches_PD[done : done + len(block) * positions] = columns.transpose(1, 2).reshape(
            -1, patches_PD.shape[1]
        )
        done += len(block) * positions
    return patches_PD


def by_sklearn(images_NCHW: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues and components; its default solver, which is the eigenvectors of the covariance."""
    from sklearn.decomposition import PCA

    pca = PCA().fit(lay_out(images_NCHW, kernel).numpy())
    return torch.from_numpy(pca.explained_variance_), torch.from_numpy(pca.components_)


def by_lowrank(images_NCHW: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """The leading eigenvalues and components."""
    patches_PD = lay_out(images_NCHW, kernel)
    torch.manual_seed(0)  # it takes no generator
    _, values, vectors = torch.pca_lowrank(
        patches_PD, q=min(LEADING + SPARE, patches_PD.shape[1]), niter=ITERATIONS
    )
    return values[:LEADING].square() / (len(patches_PD) - 1), vectors.T[:LEADING]


def check(name: str, basis: PatchBasis, values_Q: Tensor, vectors_QD: Tensor, tolerance: float) -> float:
    """The largest disagreement with ours: of eigenvalues relative to the first, of groups as 1 - overlap."""
    count = len(values_Q)
    scale = 1 - 1 / basis.moments.num_patches  # the rivals divide by one patch less
    worst = ((values_Q * scale - basis.eigenvalues_D[:count]).abs().max() / basis.eigenvalues_D[0]).item()
    for group in basis.groups(GAP):
        if group[-1] < count:
            overlap = basis.eigenvectors_DD[group] @ vectors_QD[group].T
            worst = max(worst, 1 - overlap.square().sum().item() / len(group))
    if not worst <= tolerance:
        sys.exit(f"{name} finds other components: they differ by {worst:.1e}, allowed {tolerance:.0e}")
    return worst


def measure(
    images_NCHW: Tensor, kernel: int, rounds: int, memory_bytes: float, rivals: list[str]
) -> dict[str, Any]:
    """Seconds of each way, scaled to all images, and the disagreement with ours on the same images."""
    num_images, channels, height, width = images_NCHW.shape
    per_image = (height - kernel + 1) * (width - kernel + 1) * channels * kernel**2 * 8
    ways = {
        "scikit-learn": (by_sklearn, 1, 1e-8),
        "pca_lowrank": (by_lowrank, 2 + (LEADING + SPARE) / (channels * kernel**2) * 3, 2e-3),
    }  # copies of the patches each holds, and how far it may differ: the second is random
    ours = lambda images: PatchBasis.of(images.split(1024), (kernel, kernel))  # noqa: E731
    subsets = {}
    for name in rivals:
        count = min(num_images, int(memory_bytes / (per_image * ways[name][1])))
        if not count:
            sys.exit(f"{name}: not one image's patches fit {memory_bytes / 2**30:g} GiB")
        subsets[name] = images_NCHW[:count]
    differences = {
        name: check(name, ours(subset), *ways[name][0](subset, kernel), ways[name][2])
        for name, subset in subsets.items()
    }
    runs = {name: partial(ways[name][0], subset, kernel) for name, subset in subsets.items()}
    found = interleave({"ours": partial(ours, images_NCHW)} | runs, rounds)
    rows: dict[str, Any] = {}
    for name, timing in found.items():
        count = len(subsets[name]) if name in subsets else num_images
        factor = num_images / count
        scaled = Timing(**{field: seconds * factor for field, seconds in vars(timing).items()})
        rows[name] = {"images": count, "difference": differences.get(name, 0.0), "all images": scaled}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernel", type=int, nargs="+", default=[3])
    parser.add_argument("--images", type=int, default=50000)
    parser.add_argument("--side", type=int, default=32, help="of the images made here")
    parser.add_argument("--npz", type=Path, help="real images instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-gib", type=float, default=4.0, help="for materialised patches")
    add_json_option(parser)
    options = parser.parse_args()
    if options.npz:
        with np.load(options.npz) as archive:
            stored = archive["train_images"][: options.images]
        images = torch.from_numpy(np.ascontiguousarray(stored.transpose(0, 3, 1, 2)))
    else:
        images = natural_images(options.images, options.side)
    rivals = ["scikit-learn", "pca_lowrank"]
    try:
        import sklearn

        about = f"scikit-learn {sklearn.__version__}"
    except ImportError:
        about = "scikit-learn is not installed and left out"
        rivals.remove("scikit-learn")
    results, targets = {}, []
    print(
        f"{len(images)} images of {images.shape[2]}x{images.shape[3]}, {torch.get_num_threads()} threads, {about}\n"
    )
    print("| kernel | way | images measured | wall ms for all, least / median / greatest | CPU ms | against ours "
          "| difference |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for kernel in options.kernel:
        results[kernel] = measure(images, kernel, options.rounds, options.memory_gib * 2**30, rivals)
        for name, row in results[kernel].items():
            ratio = row["all images"].min_s / results[kernel]["ours"]["all images"].min_s
            print(f"| {kernel}x{kernel} | {name} | {row['images']} | {row['all images'].cells()} | {ratio:.1f}x "
                  f"| {row['difference']:.0e} |")  # fmt: skip
            if name == "scikit-learn":
                quantity = f"patch PCA, {len(images):,} images, {kernel}x{kernel}"
                targets.append(
                    Target(
                        quantity=quantity,
                        against="scikit-learn on materialised patches",
                        accept=10,
                        ratio=ratio,
                    )
                )
    write_json(options.json, {"kernels": results}, targets)


if __name__ == "__main__":
    main()
