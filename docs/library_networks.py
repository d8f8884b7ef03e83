"""The networks of torchvision, timm and transformers, built without weights, and how each is run on images.

Nothing is downloaded: they are built on torch's meta device, which holds shapes only.
"""

import inspect
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

os.environ["HF_HUB_OFFLINE"] = "1"

import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn
from transformers.models.auto import modeling_auto

# A network, and the ways in which it may be run, each with its images: those that it does not take fail.
Ready = tuple[nn.Module, list[tuple[Callable[[], Any], Tensor]]]


class Network(NamedTuple):
    """One network of a library."""

    source: str
    family: str
    name: str
    make: Callable[[], Ready]


def all_networks() -> Iterator[Network]:
    """Those of the three libraries, one library after the other."""
    yield from torchvision_networks()
    yield from timm_networks()
    yield from transformers_networks()


def torchvision_networks() -> Iterator[Network]:
    """All networks of torchvision."""
    for name in torchvision.models.list_models():
        builder = torchvision.models.get_model_builder(name)
        module = builder.__module__.removeprefix("torchvision.models.")
        yield Network("torchvision", module, name, partial(_torchvision, builder, module))


def _torchvision(builder: Callable[..., nn.Module], module: str) -> Ready:
    known = inspect.signature(builder).parameters
    options: dict[str, Any] = {"weights": None} | {key: None for key in ("weights_backbone",) if key in known}
    if module in ("googlenet", "inception"):
        options["init_weights"] = False
    try:
        with torch.device("meta"):
            model = builder(**options)
    except NotImplementedError:  # regnet computes its widths with tensors
        model = builder(**options).to("meta")
    side = {"inception": 299, "quantization.inception": 299, "optical_flow.raft": 128}.get(module, 224)
    image = _empty(1, 3, side, side)
    if module.startswith("detection"):
        image = _empty(3, 320, 320)
        return model, [(lambda: model([image]), image)]
    if module.startswith("video"):
        image = _empty(1, 3, 16, 224, 224)
    if module.startswith("optical_flow"):
        return model, [(lambda: model(image, image), image)]
    return model, [(lambda: model(image), image)]


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def timm_networks() -> Iterator[Network]:
    """Of each module of timm one network of each size that its name tells, and one of each family within it.

    A family is what the name begins with, up to the first digit. The network with the shortest name is taken.
    """
    words = {
        "tiny": "atto femto pico nano xxtiny xtiny tiny mini micro xxs xs xt t n zepto test",
        "small": "small s lite xsmall",
        "medium": "medium m base b",
        "large": "large l",
        "huge": "xl xlarge xxl xxlarge huge h giant gigantic g so400m",
    }
    sizes = {word: size for size, names in words.items() for word in names.split()}
    chosen: dict[tuple[str, str, str], str] = {}
    for name in sorted(timm.list_models(), key=lambda name: (len(name), name)):
        module = timm.models.model_entrypoint(name).__module__.removeprefix("timm.models.")
        parts = [part.rstrip("0123456789") if part not in sizes else part for part in name.split("_")]
        size = next((sizes[part] for part in parts if part in sizes), "")
        family = re.match("[a-z]*", name)
        chosen.setdefault((module, "size", size), name)
        chosen.setdefault((module, "family", family[0] if family else name), name)
    modules = {name: module for (module, _, _), name in chosen.items()}
    for name in sorted(modules):
        yield Network("timm", modules[name], name, partial(_timm, name))


def _timm(name: str) -> Ready:
    with torch.device("meta"):
        model = timm.create_model(name)
    image = _empty(1, *model.pretrained_cfg["input_size"])
    return model, [(lambda: model(image), image)]


def transformers_networks() -> Iterator[Network]:
    """The networks of transformers that take images and no text alone, one of each type, with default sizes."""
    seen: set[str] = set()
    for task in (
        "IMAGE_CLASSIFICATION", "VIDEO_CLASSIFICATION", "ZERO_SHOT_IMAGE_CLASSIFICATION", "OBJECT_DETECTION",
        "ZERO_SHOT_OBJECT_DETECTION", "SEMANTIC_SEGMENTATION", "INSTANCE_SEGMENTATION", "UNIVERSAL_SEGMENTATION",
        "DEPTH_ESTIMATION", "MASKED_IMAGE_MODELING", "IMAGE_TO_IMAGE", "KEYPOINT_DETECTION", "KEYPOINT_MATCHING",
        "BACKBONE", "IMAGE_MATTING", "IMAGE",
    ):  # fmt: skip
        names = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES")
        for kind, classes in names.items():
            if kind not in seen:
                seen.add(kind)
                owner = classes if isinstance(classes, str) else classes[0]
                family = task.lower().replace("_", " ")
                yield Network("transformers", family, kind, partial(_transformers, owner))


def _transformers(owner: str) -> Ready:
    network = getattr(transformers, owner)
    config = network.config_class()
    with torch.device("meta"):
        model: Any = network(config)
    inner = next(
        (part for key in ("vision_config", "backbone_config") if (part := getattr(config, key, None))), config
    )
    side = getattr(config, "image_size", None) or getattr(inner, "image_size", None) or 224
    height, width = (side, side) if isinstance(side, int) else tuple(side)[-2:]
    if owner.startswith("DepthPro"):
        height = width = 1536  # four of its patches
    image = _empty(1, 3, height, width)
    frames = getattr(inner, "num_frames", None) or getattr(inner, "frames_per_clip", None) or 16
    film, pair = _empty(1, frames, 3, height, width), _empty(1, 2, 3, height, width)
    patches = _empty(1, 256, 3 * 16 * 16)
    text = torch.zeros(1, 16, dtype=torch.long, device="meta")
    sizes = torch.full((1, 2), 16, device="meta")
    return model, [
        (lambda: model(pixel_values=image), image),
        (lambda: model.get_image_features(pixel_values=image), image),
        (lambda: model(pixel_values=image, input_ids=text), image),
        (lambda: model(pixel_values=image, task_inputs=text), image),
        (lambda: model(pixel_values=film), film),
        (lambda: model(pixel_values_videos=film), film),
        (lambda: model(pixel_values_videos=film, input_ids=text), film),
        (lambda: model(pixel_values=pair), pair),
        (lambda: model(patches, pixel_attention_mask=text, spatial_shapes=sizes), patches),
    ]
