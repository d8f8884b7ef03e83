"""Which layer is the first, told from names and shapes alone: patterns of the networks of three libraries."""

import pytest
import torch
from shapes_only import ShapesOnly
from torch import Tensor, nn

from lcstool.checkpoint.header import Header
from lcstool.errors import BadInputError
from lcstool.models import ModelSpec
from lcstool.stages.energy import layers
from lcstool.stages.energy.layers import find_first_layer

Shapes = dict[str, tuple[int, ...]]


def first(shapes: Shapes, channels: int = 3, image: tuple[int, int] | None = None) -> str:
    """The layer that is found; a name is a layer's, unless it ends as a token's."""
    tensors = {
        name if name.endswith("_token") else f"{name}.weight": (torch.float32, shape)
        for name, shape in shapes.items()
    }
    return find_first_layer(ShapesOnly(tensors), channels, image, None).weight.layer


VIT: Shapes = {
    "blocks.0.attn.qkv": (2304, 768),
    "blocks.0.mlp.fc1": (3072, 768),
    "blocks.0.mlp.fc2": (768, 3072),
}
FOUND: dict[str, tuple[Shapes, str]] = {
    "resnet": ({"conv1": (64, 3, 7, 7), "layer1.0.conv1": (64, 64, 3, 3), "fc": (10, 512)}, "conv1"),
    "the head comes first by name": ({"classifier": (1000, 768), "visual.conv": (64, 3, 7, 7)}, "visual.conv"),
    "vit": (VIT | {"patch_embed.proj": (768, 3, 16, 16), "cls_token": (1, 3, 1, 1)}, "patch_embed.proj"),
    "perceiver": ({"input.convnet_1x1": (256, 3, 1, 1), "attn.k": (512, 512)}, "input.convnet_1x1"),
    "numbered, and one writes 3 channels": (
        {"net.0": (8, 3, 3, 3), "net.2": (3, 8, 3, 3), "net.4": (8, 3, 3, 3)}, "net.0",
    ),
    "mlp": ({"fc1": (100, 3072), "fc2": (3072, 100), "fc3": (10, 3072)}, "fc1"),
    "mlp of one width": ({"fc1": (3072, 3072), "fc2": (3072, 3072), "fc10": (10, 3072)}, "fc1"),
    "mlp in words": ({"input": (100, 3072), "hidden": (100, 100), "output": (10, 100)}, "input"),
}  # fmt: skip
REFUSED: dict[str, tuple[Shapes, str]] = {
    "mvit": (
        {"conv_proj": (96, 3, 3, 7, 7), "blocks.14.mlp.0": (3072, 768), "blocks.14.mlp.3": (768, 3072)},
        r"conv_proj \[96, 3, 3, 7, 7\], a convolution on video: its filters are 3x7x7",
    ),
    "swin3d, whose last layers alone have 3072 inputs": (
        {"patch_embed.proj": (96, 3, 2, 4, 4), "features.6.0.mlp.3": (768, 3072)},
        r"patch_embed\.proj \[96, 3, 2, 4, 4\], a convolution on video",
    ),
    "vivit": (
        {"vivit.embeddings.patch_embeddings.projection": (768, 3, 2, 16, 16), "vivit.layers.0.mlp.fc2": (768, 3072)},
        "patch_embeddings.projection .* video",
    ),
    "naflexvit": (VIT | {"embeds.proj": (768, 768)}, r"embeds\.proj \[768, 768\], a dense .* on patches of 3 channels"),
    "gemma4_vit": (
        {"encoder.patch_embed.input_proj": (768, 768), "encoder.layers.0.mlp.down_proj": (768, 3072)},
        r"patch_embed\.input_proj \[768, 768\].* 16x16 pixels",
    ),
    "siglip2": (
        {"vision_model.embeddings.patch_embedding": (384, 768), "vision_model.encoder.layers.0.mlp.fc2": (384, 3072)},
        r"embeddings\.patch_embedding \[384, 768\]",
    ),
    "gated blocks, whose second layer nothing writes": (
        {"blocks.0.attn.qkv": (2304, 768), "blocks.0.mlp.w12": (6144, 768), "blocks.0.mlp.w3": (768, 3072)},
        "no layer looks like a first layer",
    ),
    "dense after convolutions": (
        {"conv1": (8, 12, 3, 3), "fc": (10, 3072)}, r"no layer looks .*it has conv1 \[8, 12, 3, 3\], fc",
    ),
    "dense, but numbered after another": ({"net.0": (64, 48), "net.2": (10, 3072)}, "no layer looks"),
    "repvgg": (
        {"stem.conv_1x1.conv": (48, 3, 1, 1), "stem.conv_kxk.conv": (48, 3, 3, 3)},
        r"2 layers could be the first .* stem\.conv_1x1\.conv .* stem\.conv_kxk\.conv",
    ),
    "mobileone": (
        {"stem.conv_kxk.0.conv": (48, 3, 3, 3), "stem.conv_scale.conv": (48, 3, 1, 1)}, "2 layers could be the first",
    ),
    "crossvit, whose branches are numbered": (
        {"patch_embed.0.proj": (128, 3, 12, 12), "patch_embed.1.proj": (256, 3, 16, 16)},
        r"2 layers .* patch_embed\.0\.proj .* patch_embed\.1\.proj",
    ),
    "branches that are numbered at their ends": ({"conv1": (8, 3, 3, 3), "conv2": (8, 3, 5, 5)}, "2 layers"),
    "images and video": ({"a": (8, 3, 3, 3), "b": (8, 3, 2, 3, 3)}, r"2 layers could be the first .*: a .*, b "),
    "tresnet": ({"body.conv1": (64, 48, 3, 3), "head.fc": (10, 512)}, r"it has body\.conv1 \[64, 48, 3, 3\]"),
}  # fmt: skip


@pytest.mark.parametrize("image", [None, (16, 16), (32, 32)], ids=str)
@pytest.mark.parametrize("name", FOUND)
def test_the_first_layer_is_found(name: str, image: tuple[int, int] | None) -> None:
    shapes, layer = FOUND[name]
    if "mlp" in name and image != (32, 32):
        with pytest.raises(BadInputError, match="no layer looks like a first layer on 3-channel images"):
            first(shapes, image=image)
    else:
        assert first(shapes, image=image) == layer


@pytest.mark.parametrize("image", [None, (16, 16), (32, 32)], ids=str)
@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_be_the_first_layer_is_refused(name: str, image: tuple[int, int] | None) -> None:
    shapes, match = REFUSED[name]
    with pytest.raises(BadInputError, match=match) as error:
        first(shapes, image=image)
    assert "--layer" in str(error.value.hint)


def test_depthwise_convolutions_are_not_layers_on_grey_images() -> None:
    depthwise: Shapes = {"features.1.conv.0": (32, 1, 3, 3), "features.1.conv.1": (16, 32, 1, 1)}
    assert first({"features.0.0": (32, 1, 3, 3), **depthwise}, channels=1) == "features.0.0"
    with pytest.raises(BadInputError, match=r"seems to be features\.0\.0 .* the images here have 1"):
        first({"features.0.0": (32, 3, 3, 3), **depthwise}, channels=1)
    with pytest.raises(BadInputError, match="2 layers could be the first"):
        first(
            {"blocks.0.dw": (32, 1, 3, 3), "stem": (32, 1, 3, 3), "blocks.0.pw": (16, 32, 1, 1)}, channels=1
        )


def test_an_error_lists_some_names_only() -> None:
    with pytest.raises(BadInputError, match=r"9 layers could be .* \[8, 3, 3, 3\] and 3 more$"):
        first({f"branch{letter}": (8, 3, 3, 3) for letter in "abcdefghi"})


class HeadFirst(nn.Module):
    """Registers its layers in another order than that in which it runs them."""

    def __init__(self, branches: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.head = nn.Linear(8, 4)
        self.body = nn.Conv2d(8, 8, 3)
        self.stems = nn.ModuleList(nn.Conv2d(3, 8, 3) for _ in range(branches))

    def forward(self, image: Tensor) -> Tensor:
        seen = sum(stem(image / 2 - 1) for stem in self.stems)
        found: Tensor = self.head(self.body(seen).mean(dim=(2, 3)))
        return found


@pytest.mark.parametrize("branches", [1, 2])
def test_the_layer_that_sees_the_image_may_be_registered_last(
    branches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec(arch="resnet18", image=(16, 16), channels=3, classes=4)
    model = HeadFirst(branches).to("meta")
    monkeypatch.setattr(layers, "empty_model", lambda _: model)
    file = ShapesOnly(
        {name: (torch.float32, tuple(value.shape)) for name, value in model.state_dict().items()}
    )
    file.header = Header(kind="model", model=spec.to_json())
    if branches == 1:
        assert find_first_layer(file, 3, None, None).weight.layer == "stems.0"
        return
    with pytest.raises(BadInputError, match=r"2 layers of resnet18 see the image: stems\.0 .*, stems\.1 "):
        find_first_layer(file, 3, None, None)
