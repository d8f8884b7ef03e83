"""Every tensor is part of a layer, of a norm, or something else, once; the class count by shapes and names."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torchvision
from amounts import first_of
from shapes_only import ShapesOnly
from torch import nn

from lcstool.checkpoint import Checkpoint, Header
from lcstool.errors import BadInputError
from lcstool.weights import find_weights, num_classes, require_floating, roles_of

Saved = Callable[..., Checkpoint]
LAYERS = (nn.Conv2d, nn.Linear)
NAMES = ["resnet18", "shufflenet_v2_x0_5", "swin_v2_t", "densenet121", "googlenet", "vit_b_16", "convnext_tiny",
         "squeezenet1_0", "maxvit_t", "mobilenet_v3_small", "efficientnet_b0", "vgg11_bn",
         "regnet_y_400mf"]  # fmt: skip


@pytest.mark.parametrize("name", first_of(NAMES, 4))
def test_networks_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, num_classes=10)
    state = model.state_dict()
    file = ShapesOnly({key: (tensor.dtype, tuple(tensor.shape)) for key, tensor in state.items()})
    roles = roles_of(file)
    named = [*(n for parts in (*roles.layers.values(), *roles.norms.values()) for n in parts), *roles.other]
    assert Counter(named) == Counter(list(file.tensors))
    layers = {n for n, module in model.named_modules() if isinstance(module, LAYERS)}
    assert layers <= roles.layers.keys()
    assert all(n.endswith("in_proj_weight") for n in roles.layers.keys() - layers)
    assert roles.norms.keys() == {n for n, m in model.named_modules() if "Norm" in type(m).__name__}
    assert num_classes(find_weights(file)) == 10


def test_tokens_embeddings_scales_and_buffers(saved: Saved) -> None:
    roles = roles_of(saved({
        "cls_token": torch.ones(1, 1, 8),
        "pos_embed": torch.ones(1, 5, 8),
        "gamma": torch.ones(8, 1, 1),
        "embed_tokens.weight": torch.ones(20, 8),
        "patch_embedding.weight": torch.ones(8, 12),
        "patch_embed.proj.weight": torch.ones(8, 3, 4, 4),
        "patch_embed.proj.bias": torch.ones(8),
        "index": torch.ones(3, 3, dtype=torch.int64),
        "attn.in_proj_weight": torch.ones(24, 8),
        "attn.in_proj_bias": torch.ones(24),
        "norm.weight": torch.ones(8),
        "norm.bias": torch.ones(8),
        "act.weight": torch.ones(8),
        "q.weight": torch.ones(4, 4, dtype=torch.int8),
        "n_averaged": torch.tensor(3),
        "state/momentum": torch.ones(3, 3),
    }))  # fmt: skip
    assert roles.layers == {
        "patch_embedding": ("patch_embedding.weight",),
        "patch_embed.proj": ("patch_embed.proj.weight", "patch_embed.proj.bias"),
        "attn.in_proj_weight": ("attn.in_proj_weight", "attn.in_proj_bias"),
    }
    assert set(roles.norms) == {"norm"}
    assert roles.other == {
        "cls_token": "token", "pos_embed": "embedding", "gamma": "scale or shift", "embed_tokens.weight": "embedding",
        "index": "integers", "act.weight": "scale or shift", "q.weight": "integer weight", "n_averaged": "counter",
        "state/momentum": "of an unfinished run",
    }  # fmt: skip


def test_parts_of_a_weight_belong_to_its_layer(saved: Saved) -> None:
    roles = roles_of(
        saved({"a.weight_orig": torch.ones(2, 2), "a.weight_mask": torch.ones(2, 2), "a.bias": torch.ones(2)})
    )
    assert roles.layers == {"a": ("a.weight_orig", "a.weight_mask", "a.bias")}


def test_integer_weights_are_refused_by_name(saved: Saved) -> None:
    with pytest.raises(BadInputError, match=r"the weight 'q.weight' is of int8"):
        require_floating(
            saved({"a.weight": torch.ones(2, 2), "q.weight": torch.ones(4, 4, dtype=torch.int8)})
        )
    require_floating(
        saved({"a.weight": torch.ones(2, 2), "position_ids": torch.ones(4, 4, dtype=torch.int64)})
    )


def conv(outs: int, ins: int) -> torch.Tensor:
    return torch.ones(outs, ins, 3, 3)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"features.0": conv(11, 3), "features.2": conv(64, 11), "classifier.0": torch.ones(10, 64)}, 10),
        ({"conv": conv(8, 3), "out": torch.ones(10, 8 * 16)}, 10),
        ({"z": torch.ones(100, 48), "y": torch.ones(100, 100), "x": torch.ones(2, 100)}, 2),
        ({"stem": conv(16, 3), "branch": conv(24, 16), "fc": torch.ones(7, 40)}, 7),
        ({"stem": conv(10, 3), "c2": conv(20, 10), "aux": conv(100, 20), "out": torch.ones(10, 20)}, 10),
        (
            {
                "conv1": conv(10, 1),
                "conv2": conv(20, 10),
                "fc1": torch.ones(50, 320),
                "fc2": torch.ones(10, 50),
            },
            10,
        ),
    ],
    ids=["vgg", "flat", "names in no order", "concatenated", "auxiliary", "as many channels as classes"],
)
def test_the_number_of_classes(saved: Saved, shapes: dict[str, torch.Tensor], expected: int) -> None:
    assert num_classes(find_weights(saved({f"{name}.weight": t for name, t in shapes.items()}))) == expected


def test_inner_widths_are_no_classes(saved: Saved) -> None:
    """Of a recurrent layer's gates, and of attention; the head is as wide as an inner layer's inputs."""
    gates = {"lstm.weight_ih_l0": torch.ones(64, 10), "lstm.weight_hh_l0": torch.ones(64, 16)}
    assert num_classes(find_weights(saved(gates | {"fc.weight": torch.ones(10, 16)}))) == 10
    attention = {"proj.weight": conv(64, 3), "attn.in_proj_weight": torch.ones(192, 64)}
    assert num_classes(find_weights(saved(attention | {"heads.head.weight": torch.ones(64, 64)}))) == 64


def test_an_open_number_of_classes_is_refused(saved: Saved) -> None:
    weights = find_weights(saved({"a.weight": torch.ones(5, 3), "b.weight": torch.ones(6, 3)}))
    with pytest.raises(BadInputError, match="with their widths: a 5, b 6"):
        num_classes(weights)


def test_buffers_of_any_name_are_no_layers(saved: Saved) -> None:
    roles = roles_of(saved({
        "pos_encoder.pe": torch.ones(500, 1, 64),
        "queue": torch.ones(128, 1024),
        "blur.filt": torch.ones(16, 1, 3, 3),
        "conv.scores": torch.ones(4, 3, 3, 3),
        "norm3.weight": torch.ones(16, 8, 8),
        "norm3.bias": torch.ones(16, 8, 8),
        "embedding.weight": torch.ones(64, 32),
        "embedding.bias": torch.ones(64),
        "emb.weight": torch.ones(1000, 64),
    }))  # fmt: skip
    assert roles.layers == {"embedding": ("embedding.weight", "embedding.bias")}
    assert roles.norms.keys() == {"norm3"}
    assert roles.other.keys() == {"pos_encoder.pe", "queue", "blur.filt", "conv.scores", "emb.weight"}


def test_names_that_meet_are_refused(saved: Saved) -> None:
    with pytest.raises(BadInputError, match="two names of one tensor"):
        roles_of(saved({"a.weight": torch.ones(2, 2), "a/weight": torch.ones(2, 2)}))


def test_a_headers_file_is_sorted_too(saved: Saved) -> None:
    file = saved({"a.weight": torch.ones(2, 2), "a.bias": torch.ones(2)}, layers={})
    assert isinstance(file.header, Header)
    assert roles_of(file).layers == {"a": ("a.weight", "a.bias")}
