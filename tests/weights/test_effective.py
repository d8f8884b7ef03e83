"""The weight that a layer applies, of what a file keeps: held to torch's own modules."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.pruning import WeightNormSparsifier
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from lcstool.checkpoint import Checkpoint
from lcstool.errors import BadInputError
from lcstool.weights import as_used, find_weights, tensors

Saved = Callable[..., Checkpoint]
CONV = (3, 4, 3)


def layer(kind: str) -> nn.Module:
    torch.manual_seed(3)
    return {
        "conv": lambda: nn.Conv2d(3, 4, 3),
        "square": lambda: nn.Conv2d(4, 4, 1),
        "transposed": lambda: nn.ConvTranspose2d(4, 4, 3),
        "dense": lambda: nn.Linear(5, 4),
        "single": lambda: nn.Linear(5, 1),
    }[kind]()


def stretched(module: nn.Module, ways: str) -> nn.Module:
    """With lengths or singular values far from 1, as after training."""
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            if ways in name:
                tensor.mul_(torch.linspace(0.3, 5, len(tensor)).view(-1, *[1] * (tensor.ndim - 1)))
    return module


def effective(saved: Saved, module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """The one weight of a module's state dict, read a few rows at a time; the file lists no parts of it."""
    monkeypatch.setattr(tensors, "_BLOCK_BYTES", 300)
    state = {f"net.{name}": tensor for name, tensor in module.state_dict().items()}
    used = as_used(saved(state))
    assert set(used.tensors) == {"net.weight", "net.bias"}
    (found,) = find_weights(used)
    assert torch.equal(used["net.weight"].flatten(), torch.cat(list(found.rows())).flatten())
    return used["net.weight"]


@pytest.mark.parametrize("kind", ["conv", "square", "dense", "single"])
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm(saved: Saved, kind: str, dim: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    new = stretched(parametrizations.weight_norm(layer(kind), dim=dim), "original1")
    assert torch.allclose(effective(saved, new, monkeypatch), new.weight, rtol=1e-6, atol=0)
    old = stretched(weight_norm(layer(kind), dim=dim), "weight_v")
    old(torch.ones(2, 5) if kind in ("dense", "single") else torch.ones(1, old.in_channels, 5, 5))
    assert torch.allclose(effective(saved, old, monkeypatch), old.weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["conv", "square", "transposed", "dense"])
def test_spectral_norm(saved: Saved, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(2, 5) if kind == "dense" else torch.ones(1, 3 if kind == "conv" else 4, 5, 5)
    new = stretched(parametrizations.spectral_norm(layer(kind)), "original")
    for _ in range(20):
        new(x)
    new.eval()
    assert torch.allclose(effective(saved, new, monkeypatch), new.weight, rtol=1e-5, atol=1e-7)
    old = stretched(spectral_norm(layer(kind)), "weight_orig")
    for _ in range(20):
        old(x)
    old.eval()(x)
    assert torch.allclose(effective(saved, old, monkeypatch), old.weight, rtol=1e-5, atol=1e-7)


def test_pruning_by_torch(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    module = layer("conv")
    prune.l1_unstructured(module, "weight", 0.5)
    prune.random_unstructured(module, "bias", 0.5)
    assert torch.equal(effective(saved, module, monkeypatch), module.weight)


@pytest.mark.parametrize(
    ("weight", "mask"),
    [
        ("a.conv.weight", "__nncf_hooks.post_hooks.a:conv:weight__0.0.binary_mask"),
        ("a.conv.weight", "mask_a___conv___weight"),
        ("a.conv.weight", "a.conv.mask"),
        ("a.conv.weight", "a.conv.weight_mask"),
        ("a.conv.module.weight", "a.conv.weight_mask"),
    ],
    ids=["nncf", "open_lth", "mask", "weight_mask", "nni"],
)
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.uint8])
def test_masks_of_other_packages(saved: Saved, weight: str, mask: str, dtype: torch.dtype) -> None:
    values, kept = torch.randn(4, 3, 3, 3), torch.rand(4, 3, 3, 3) < 0.4
    used = as_used(saved({weight: values, mask: kept.to(dtype), "fc.weight": torch.ones(2, 4)}))
    assert set(used.tensors) == {weight, "fc.weight"}
    assert torch.equal(used[weight], values * kept)


def test_values_beside_a_bitmask_are_refused(saved: Saved) -> None:
    state = {"a.weight.compressed": torch.ones(5), "a.weight.bitmask": torch.ones(4, 1, dtype=torch.uint8)}
    with pytest.raises(BadInputError, match=r"'a.weight.compressed' is not the weight"):
        as_used(saved(state))["a.weight"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "order", ["pruned directions", "pruned before spectral norm", "normed before the mask"]
)
def test_parts_of_parts(saved: Saved, order: str) -> None:
    module = layer("conv")
    if order == "pruned directions":
        prune.l1_unstructured(weight_norm(module), "weight_v", 0.5)
    elif order == "pruned before spectral norm":
        prune.l1_unstructured(spectral_norm(module), "weight_orig", 0.5)
    else:
        prune.l1_unstructured(module, "weight", 0.5)
        stretched(parametrizations.weight_norm(module, "weight_orig"), "original1")
    module.eval()(torch.ones(1, 3, 5, 5))
    used = as_used(saved({f"net.{name}": tensor for name, tensor in module.state_dict().items()}))
    assert set(used.tensors) == {"net.weight", "net.bias"}
    assert torch.allclose(used["net.weight"], module.weight, rtol=1e-5, atol=1e-7)
    assert len(used.composed()["net.weight"]) == len(used.stored_names("net.weight")) >= 3
    assert int((used["net.weight"] == 0).sum()) == 54


def test_a_mask_of_whole_filters(saved: Saved) -> None:
    values, kept = torch.randn(4, 3, 2, 2), torch.tensor([1.0, 0, 0, 1]).view(4, 1, 1, 1)
    used = as_used(saved({"a.weight": values, "a.mask": kept}))
    assert torch.equal(used["a.weight"], values * kept)


@pytest.mark.parametrize("name", ["conv/weights", "conv.w"])
def test_filters_whose_axes_are_in_no_known_order_are_refused(saved: Saved, name: str) -> None:
    with pytest.raises(BadInputError, match="nothing says whether"):
        as_used(saved({name: torch.ones(3, 3, 3, 16)}))[name]


def test_a_mask_that_is_none(saved: Saved) -> None:
    file = saved({"a.weight": torch.ones(4, 3), "a.mask": torch.rand(4, 3)})
    with pytest.raises(BadInputError, match=r"'a.mask' is no mask of zeros and ones"):
        as_used(file)["a.weight"]
    with pytest.raises(BadInputError, match=r"is the mask of 'b.weight', which is not there"):
        as_used(saved({"mask_b___weight": torch.ones(3, 3)}))


@pytest.mark.parametrize("separator", [".", "/"])
def test_kernels_of_flax_and_keras(saved: Saved, separator: str) -> None:
    conv, dense = torch.randn(8, 3, 5, 4), torch.randn(10, 6)
    depthwise = torch.randn(5, 4, 3, 2)  # of Keras: 3 channels, 2 filters each
    used = as_used(saved({
        f"params{separator}conv{separator}kernel": conv.permute(2, 3, 1, 0),
        f"params{separator}dense{separator}kernel": dense.T,
        f"params{separator}deep{separator}depthwise_kernel": depthwise,
        f"params{separator}query{separator}kernel": torch.randn(6, 2, 4),
        f"params{separator}out{separator}kernel": torch.randn(2, 4, 6),
    }))  # fmt: skip
    assert torch.equal(used[f"params{separator}conv{separator}kernel"], conv)
    assert torch.equal(used[f"params{separator}dense{separator}kernel"], dense)
    x = torch.randn(1, 3, 5, 4)
    filters = used[f"params{separator}deep{separator}depthwise_kernel"]
    expected = torch.einsum("cij,ijcm->cm", x[0], depthwise).flatten()
    assert torch.allclose(nn.functional.conv2d(x, filters, groups=3).flatten(), expected, atol=1e-5)
    shapes = {w.layer.split(separator)[1].split(".")[0]: w.shape for w in find_weights(used)}
    assert shapes["query"] == (8, 6)
    assert shapes["out"] == (6, 8)
    assert used.tensors[f"params{separator}conv{separator}kernel"].shape == (8, 3, 5, 4)


def test_float8_is_read_as_float32(saved: Saved) -> None:
    exact = torch.tensor([[0.0, 0.5, -2.0], [1.0, 0.0, 3.0]])
    used = as_used(saved({"a.weight": exact.to(torch.float8_e4m3fn)}))
    assert used.tensors["a.weight"].dtype == torch.float32
    assert torch.equal(used["a.weight"], exact)


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def orthogonal() -> nn.Module:
    return parametrizations.orthogonal(layer("dense"))


def of_ones_own() -> nn.Module:
    module = layer("dense")
    parametrize.register_parametrization(module, "weight", Doubled())
    return module


def sparsified() -> nn.Module:
    """Its parametrization multiplies with a mask, which torch 2.14 keeps out of the state dict."""
    net = nn.Sequential(layer("dense"))
    WeightNormSparsifier(sparsity_level=0.5).prepare(net, [{"tensor_fqn": "0.weight"}])
    return net[0]


@pytest.mark.parametrize("make", [orthogonal, of_ones_own, sparsified])
def test_what_cannot_be_put_together_is_refused_where_it_is_read(
    saved: Saved, make: Callable[[], nn.Module]
) -> None:
    file = saved(
        {f"a.{name}": tensor for name, tensor in make().state_dict().items()} | {"b.weight": torch.ones(2, 2)}
    )
    weights = {weight.layer: weight for weight in find_weights(file)}
    assert set(weights) == {"a", "b"}
    assert next(weights["b"].rows()).sum() == 4
    with pytest.raises(BadInputError, match=r"'a.parametrizations.weight.original' is not the weight"):
        next(weights["a"].rows())


def test_low_rank_updates_are_refused(saved: Saved) -> None:
    state: dict[str, Any] = {"q.base_layer.weight": torch.ones(4, 4), "q.lora_A.default.weight": torch.ones(2, 4),
                             "q.lora_B.default.weight": torch.ones(4, 2)}  # fmt: skip
    with pytest.raises(BadInputError, match=r"'q.base_layer.weight' is not the weight"):
        as_used(saved(state))["q.base_layer.weight"]


def test_two_ways_at_once_are_refused(saved: Saved) -> None:
    state = spectral_norm(layer("conv")).state_dict() | {"weight_mask": torch.ones(4, 3, 3, 3)}
    with pytest.raises(BadInputError, match="made of it and 'weight_mask', 'weight_u', 'weight_v'"):
        as_used(saved(state))["weight"]
