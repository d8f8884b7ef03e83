"""Time of making training batches, compared with Pillow in a DataLoader, one image at a time.

    python benchmarks/loader.py [--batch 512] [--batches 2] [--rounds 5] [--workers 0] [--device cpu] [--json FILE]

Both take images in a shuffled order, augment them and give normalised float32 batches on the device. The baseline
augments and normalises one image after another, as the published training scripts do, and joins them to a batch. With
--workers 0 it does so in this process, and so on one core, like ours. The benchmark checks that both give the same
pixels for the same random choices, and that both choose every operation equally often. The limit is a copy of the bytes
that ours must move at least: the image is read as bytes, and its result written in float32.
"""

import argparse
import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measure import (
    Ceilings,
    Target,
    add_json_option,
    interleave,
    must_agree,
    shown_ceilings,
    write_json,
)
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lcstool.data.augment import build_augmentation, fast_autoaugment
from lcstool.data.augment.crop_flip import padding
from lcstool.data.augment.cutout import FILL_COLOR
from lcstool.data.augment.operations import Op
from lcstool.data.preprocess import Preprocess

# Shape suffixes: B images of a batch, C channels, H rows, W columns, S slots of a policy, 2 of a place.

AFFINE = Image.Transform.AFFINE
MEAN, SD = 0.5, 0.25
#: Operation, magnitude, and where Cutout erases, as fractions of width and height.
Chosen = tuple[int, float, tuple[float, float]]
STEP_S = 2.5e-3  # of an S-FC of 256 M weights on an H200, of which a loader may take a tenth

PILLOW: dict[int, Callable[[Image.Image, float], Image.Image]] = {
    Op.SHEAR_X: lambda im, m: im.transform(im.size, AFFINE, (1, m, 0, 0, 1, 0)),
    Op.SHEAR_Y: lambda im, m: im.transform(im.size, AFFINE, (1, 0, 0, m, 1, 0)),
    Op.TRANSLATE_X: lambda im, m: im.transform(im.size, AFFINE, (1, 0, m, 0, 1, 0)),
    Op.TRANSLATE_Y: lambda im, m: im.transform(im.size, AFFINE, (1, 0, 0, 0, 1, m)),
    Op.ROTATE: lambda im, m: im.rotate(m),
    Op.AUTO_CONTRAST: lambda im, m: ImageOps.autocontrast(im),
    Op.EQUALIZE: lambda im, m: ImageOps.equalize(im),
    Op.INVERT: lambda im, m: ImageOps.invert(im),
    Op.SOLARIZE: lambda im, m: ImageOps.solarize(im, m),  # type: ignore[arg-type]  # a fraction is fine
    Op.POSTERIZE: lambda im, m: ImageOps.posterize(im, int(m)),
    Op.BRIGHTNESS: lambda im, m: ImageEnhance.Brightness(im).enhance(m),
    Op.CONTRAST: lambda im, m: ImageEnhance.Contrast(im).enhance(m),
    Op.COLOR: lambda im, m: ImageEnhance.Color(im).enhance(m),
    Op.SHARPNESS: lambda im, m: ImageEnhance.Sharpness(im).enhance(m),
}


def transformed(image: Image.Image, chosen: Chosen) -> Image.Image:
    op, magnitude, (across, down) = chosen
    if op == Op.CUTOUT and magnitude > 0:
        width, height = image.size
        left, top = (int(max(0, middle - magnitude / 2)) for middle in (across * width, down * height))
        box = (left, top, min(width, left + magnitude), min(height, top + magnitude))
        image = image.copy()
        ImageDraw.Draw(image).rectangle(box, FILL_COLOR)
    return PILLOW[op](image, magnitude) if op in PILLOW else image


def cropped(image: Image.Image, down: int, right: int, flip: int) -> Image.Image:
    width, height = image.size
    left, top = padding(width), padding(height)
    image = ImageOps.expand(image, border=(left, top), fill=0)
    image = image.crop((left + right, top + down, left + right + width, top + down + height))
    return ImageOps.mirror(image) if flip else image


class OneByOne(Dataset[tuple[Tensor, int]]):
    """Images as Pillow's, each drawn for and transformed alone, then a normalised tensor."""

    def __init__(self, images_NHWC: np.ndarray, labels: list[int], policy: str) -> None:
        self.images, self.labels, self.policy = images_NHWC, labels, policy
        table = fast_autoaugment.table(*images_NHWC.shape[1:3])
        columns = (table.op_RS, table.probability_RS, table.middle_RS, table.swing_RS)
        self.rows = list(zip(*(column.tolist() for column in columns), strict=True))

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self) -> list[Chosen]:
        """A random row of the policy, each of its operations with its probability."""
        if self.policy != "fast-autoaugment":
            return []
        return [
            (op, middle + random.choice((-1, 1)) * swing, (random.random(), random.random()))
            for op, probability, middle, swing in zip(*random.choice(self.rows), strict=True)
            if random.random() < probability
        ]

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[index])
        for chosen in self.draw():
            image = transformed(image, chosen)
        down, right = (random.randint(-padding(side), padding(side)) for side in (image.height, image.width))
        image = cropped(image, down, right, random.randrange(2))
        x_CHW = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)
        return x_CHW.sub_(MEAN).div_(SD), self.labels[index]


def same_pixels(policy: str, images_BCHW: Tensor) -> float:
    """Ours and Pillow on the same choices: the greatest difference of a pixel, which must be 0."""
    augment, num_images = build_augmentation(policy), len(images_BCHW)
    ours_BCHW = augment(images_BCHW, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)  # draws again, in the order that the augmentation documents
    height, width = images_BCHW.shape[2:]
    choices = []
    if policy == "fast-autoaugment":
        choices = list(fast_autoaugment.build().choices(num_images, height, width, generator))
    shifts = [
        torch.randint(-padding(side), padding(side) + 1, (num_images,), generator=generator).tolist()
        for side in (height, width)
    ]
    flips = torch.randint(2, (num_images,), generator=generator).tolist()
    found = []
    for index, array in enumerate(images_BCHW.permute(0, 2, 3, 1).numpy()):
        image = Image.fromarray(array)
        for choice in choices:
            place = choice.centre_B2[index].tolist()
            op, magnitude = int(choice.op_B[index]), float(choice.magnitude_B[index])
            image = transformed(image, (op, magnitude, (place[0], place[1])))
        image = cropped(image, shifts[0][index], shifts[1][index], flips[index])
        found.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    return must_agree(f"pixels, {policy}", ours_BCHW, torch.stack(found), 0.0)


def same_frequencies(one_by_one: OneByOne, num_draws: int) -> float:
    """The largest difference between how often both draw an operation, in deviations; at most 6."""
    height, width = one_by_one.images.shape[1:3]
    generator = torch.Generator().manual_seed(0)
    ours = torch.zeros(len(Op), dtype=torch.float64)
    for choice in fast_autoaugment.build().choices(num_draws, height, width, generator):
        ours += torch.bincount(choice.op_B, minlength=len(Op))
    random.seed(0)
    drawn = torch.tensor([op for _ in range(num_draws) for op, _, _ in one_by_one.draw()], dtype=torch.int64)
    theirs = torch.bincount(drawn, minlength=len(Op)).double()
    theirs[Op.IDENTITY] = 2 * num_draws - len(drawn)  # a slot that is not applied
    deviations = ((ours - theirs).abs() / (ours + theirs).clamp(min=1).sqrt()).max().item()
    if not deviations <= 6:
        sys.exit(f"operations are drawn differently often, by {deviations:.1f} standard deviations")
    return deviations


def batches_of(
    policy: str,
    images: Tensor,
    labels: Tensor,
    prepare: Callable[[Tensor], Tensor],
    options: argparse.Namespace,
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """An epoch by Pillow and one by ours; each returns its last batch."""
    device = torch.device(options.device)
    dataset = OneByOne(images.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist(), policy)
    loader = DataLoader(dataset, options.batch, shuffle=True, num_workers=options.workers)
    sent, sent_labels = images.to(device), labels.to(device)
    augment, generator = build_augmentation(policy), torch.Generator().manual_seed(0)

    def by_pillow() -> Any:
        for x_BCHW, y_B in loader:
            batch = x_BCHW.to(device), y_B.to(device)
        return batch

    def by_ours() -> Any:
        order = torch.randperm(len(images), generator=generator).to(device)
        for chosen in order.split(options.batch):
            batch = prepare(augment(sent[chosen], generator)), sent_labels[chosen]
        return batch

    return by_pillow, by_ours


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--batches", type=int, default=2, help="batches a round")
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=50_000, help="draws whose frequencies are compared")
    parser.add_argument("--workers", type=int, default=0, help="processes of the DataLoader")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, targets = torch.device(options.device), []
    gpu, num_images, side = device.type == "cuda", options.batch * options.batches, options.image
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (num_images, 3, side, side), dtype=torch.uint8, generator=generator)
    # Of all brightnesses and contrasts, so that no operation has nothing to do.
    low, high = (torch.randint(256, (num_images, 1, 1, 1), generator=generator) for _ in range(2))
    images = (low + (high - low) * images.float() / 255).to(torch.uint8)
    labels = torch.randint(10, (num_images,), generator=generator)
    prepare = Preprocess((MEAN,) * 3, (SD,) * 3).on(device, (side, side))
    ceilings, floor = Ceilings(device), 3 * side**2 * 5
    document: dict[str, Any] = {"device": device.type, "threads": options.threads, "workers": options.workers}
    document |= {"batch": options.batch, "images": num_images, "bytes_an_image": floor}
    print(f"{options.batches} batches of {options.batch} images of {side}x{side} a round, {device.type}, "
          f"{options.threads} threads, {options.workers} workers\n")  # fmt: skip
    print("| augmentation | way | wall ms, least / median / greatest | CPU ms | against Pillow | images/s "
          "| of a copy |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for policy, accept in (("crop-flip", 2.5), ("fast-autoaugment", 5.0)):
        difference = same_pixels(policy, images[: options.batch])
        ways = batches_of(policy, images, labels, prepare, options)
        runs = dict(zip(("Pillow", "ours"), ways, strict=True))
        shapes = {way: [tuple(part.shape) for part in run()] for way, run in runs.items()}
        if shapes["Pillow"] != shapes["ours"]:
            sys.exit(f"{policy}: batches of shapes {shapes}")
        found = interleave(runs | ceilings.ways, options.rounds, device)
        limits, found = ceilings.of(found), ceilings.without(found)
        for way, timing in found.items():
            rate, gain = num_images / timing.min_s, found["Pillow"].min_s / timing.min_s
            share = rate * floor / (1e9 * limits["copy_gb_per_s"])
            print(f"| {policy} | {way} | {timing.cells()} | {gain:.2f}x | {rate:,.0f} | {share:.1%} |")
        document[policy] = {"ways": found, "ceilings": limits, "pixel_difference": difference}
        quantity = f"loader, {policy}, batch {options.batch}"
        if gpu:
            share = found["ours"].min_s / options.batches / STEP_S
            targets.append(
                Target(
                    quantity=quantity,
                    against=f"a step of {1e3 * STEP_S:g} ms",
                    accept=0.1,
                    ratio=share,
                    at_most=True,
                )
            )
        else:
            targets.append(Target(quantity=quantity, against="Pillow, DataLoader", accept=accept, ratio=gain))
    deviations = same_frequencies(
        OneByOne(images[:1].permute(0, 2, 3, 1).numpy(), [0], "fast-autoaugment"), options.draws
    )
    document["frequency_deviations"] = deviations
    print(f"\n{shown_ceilings(limits)}; on the same choices no pixel differs; {options.draws:,} draws of each choose "
          f"the operations alike, within {deviations:.1f} standard deviations")  # fmt: skip
    write_json(options.json, document, targets, device)


if __name__ == "__main__":
    main()
