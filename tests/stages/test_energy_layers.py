"""Which layer of a file is measured, and on what patches."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from safetensors.torch import save_file

from lcstool.checkpoint import open_checkpoint
from lcstool.errors import BadInputError, UsageError
from lcstool.stages.energy.layers import find_first_layer
from lcstool.stages.energy.result import EnergyResult
from lcstool.weights.grid import sampled_units

Measure = Callable[..., EnergyResult]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "conv1"), ("alexnet", "features.0"), ("vgg11", "features.0"), ("densenet121", "features.conv0"),
        ("googlenet", "conv1.conv"), ("inception_v3", "Conv2d_1a_3x3.conv"), ("squeezenet1_1", "features.0"),
        ("mobilenet_v2", "features.0.0"), ("efficientnet_b0", "features.0.0"), ("convnext_tiny", "features.0.0"),
        ("swin_t", "features.0.0"), ("vit_b_32", "conv_proj"),
    ],
)  # fmt: skip
def test_torchvision_networks(tmp_path: Path, name: str, layer: str) -> None:
    """Some of these networks have layers with 768 inputs, as many as a 16x16 colour image has."""
    with torch.device("meta"):
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        shapes = torchvision.models.get_model(name, **options).state_dict()
    header, end = {}, 0
    for key, value in shapes.items():
        begin, end = end, end + 4 * value.numel()
        header[key] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    file = tmp_path / "net.safetensors"
    with file.open("wb") as stream:  # the weights are a hole in the file, which takes no room
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)
    for size in ((16, 16), None):
        assert find_first_layer(open_checkpoint(file), 3, size, None).weight.layer == layer


def saved(path: Path, **shapes: tuple[int, ...]) -> Path:
    generator = torch.Generator().manual_seed(0)
    save_file(
        {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()}, path
    )
    return path


def test_names_that_give_no_order_are_not_guessed(tmp_path: Path, measured: Measure) -> None:
    both = {"stem.conv": (8, 3, 3, 3), "decoder.up": (8, 3, 4, 4)}
    file = saved(tmp_path / "net.safetensors", **both)
    with pytest.raises(
        BadInputError, match=r"2 layers could be the first .*decoder\.up \[8, 3, 4, 4\], stem"
    ) as error:
        measured(file)
    assert error.value.hint == "name it with --layer"
    assert measured(file, layer="stem.conv").banks[0].layer == "stem.conv"
    numbered = {"f.10": (8, 3, 3, 3), "f.2.conv": (8, 3, 4, 4), "f.2.conv2": (3, 8, 3, 3)}
    assert measured(saved(tmp_path / "numbered.safetensors", **numbered)).banks[0].layer == "f.2.conv"


def test_the_architecture_says_which_layer_is_first(
    run_train: Callable[..., Any], tiny_config: Callable[..., Any], tmp_path: Path
) -> None:
    run_train(tiny_config(arch="resnet18", optim="sgd", epochs=1, train_size=16), "r.safetensors")
    found = find_first_layer(open_checkpoint(tmp_path / "r.safetensors"), 3, (16, 16), None)
    assert found.weight.layer == "conv1"


def test_a_dense_layer_of_any_file_sees_the_images(tmp_path: Path, measured: Measure) -> None:
    file = saved(tmp_path / "fc.safetensors", fc1=(20, 768), fc2=(10, 20))
    for layer in (None, "fc1"):
        (bank,) = measured(file, layer=layer, kernel_size=3).banks
        assert (bank.layer, bank.kind, bank.profile.num_filters) == ("fc1", "fc", 20)
        assert bank.positions_PQD is not None
        assert bank.positions_PQD.shape == (14, 14, 27)
    with pytest.raises(BadInputError, match=r"fc\.safetensors: fc2 has 20 inputs, its image \[3, 16, 16\]"):
        measured(file, layer="fc2", kernel_size=3)
    with pytest.raises(BadInputError, match=r"fc1: a 17x17 patch does not fit"):
        measured(file, kernel_size=17)


def test_patches_of_dense_layers_are_as_large_as_filters_beside_them(
    tmp_path: Path, measured: Measure
) -> None:
    conv = saved(tmp_path / "conv.safetensors", conv1=(8, 3, 4, 4))
    dense = saved(tmp_path / "fc.safetensors", fc1=(20, 768))
    for files in ((conv, dense), (dense, conv)):
        assert [bank.profile.projections_MD.shape[1] for bank in measured(*files).banks] == [48, 48]
    measured(conv, kernel_size=4)
    with pytest.raises(UsageError, match=r"kernel_size 5x5, but .*conv\.safetensors: conv1 has 4x4 filters"):
        measured(conv, kernel_size=5)
    with pytest.raises(BadInputError, match="fc1 is dense, so nothing says how large a patch is"):
        measured(dense)


def test_a_sample_of_units_meets_all_columns(tmp_path: Path, measured: Measure) -> None:
    file = saved(tmp_path / "fc.safetensors", fc1=(1024, 768))
    (bank,) = measured(file, kernel_size=16, units=64).banks
    weight = open_checkpoint(file)["fc1.weight"]
    norms = weight[sampled_units(1024, 64)].double().norm(dim=1)
    torch.testing.assert_close(bank.profile.projections_MD.norm(dim=1), norms)


def test_chance_is_wider_for_overlapping_units(tmp_path: Path, measured: Measure) -> None:
    conv = saved(tmp_path / "conv.safetensors", conv1=(64, 3, 3, 3))
    dense = saved(tmp_path / "fc.safetensors", fc1=(64, 768))
    result = measured(conv, dense, draws=4000)
    narrow, mixed, wide = (
        result.chance[pair]
        for pair in (("64", "64"), ("64", "64 dense at 14x14 places"), ("64 dense at 14x14 places",) * 2)
    )
    assert narrow.sd < 1.05 * mixed.sd < 1.1 * wide.sd
    assert wide.sd > 1.1 * narrow.sd
    assert result.banks[1].random is not None
    assert result.banks[0].random is not None
    assert result.banks[1].random.sd > result.banks[0].random.sd


def test_filters_that_cannot_be_measured_are_named(tmp_path: Path, measured: Measure) -> None:
    bad = {"stem.weight": torch.full((4, 3, 3, 3), float("nan")), "line.weight": torch.ones(4, 3, 5)}
    save_file(bad, tmp_path / "bad.safetensors")
    with pytest.raises(
        BadInputError, match=r"bad\.safetensors: stem: the filters hold values that are not finite"
    ):
        measured(tmp_path / "bad.safetensors")
    with pytest.raises(
        BadInputError, match=r"bad\.safetensors: line of shape \[4, 3, 5\] has no filters on images"
    ):
        measured(tmp_path / "bad.safetensors", layer="line")
    wide = saved(tmp_path / "wide.safetensors", a=(4, 3, 3, 3), b=(4, 8, 3, 3))
    with pytest.raises(BadInputError, match=r"wide\.safetensors: b: filters of shape \[8, 3, 3\]"):
        measured(wide, layer="b")
    empty = saved(tmp_path / "empty.safetensors", conv=(0, 3, 3, 3))
    with pytest.raises(BadInputError, match=r"empty\.safetensors: conv has no filters"):
        measured(empty)
