"""The embedding equals the network it came from, for every layer kind and geometry."""

import dataclasses

import pytest
import torch
from amounts import examples, first_of
from embedded import embed, meta_copy, realise
from hypothesis import given
from hypothesis import strategies as st
from models.networks import with_uneven_norms
from torch import Tensor, nn

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError
from lcstool.models import ARCHITECTURES, Embedding, ModelSpec, build_model, load_model
from lcstool.models.build import empty_model
from lcstool.models.embedding.modules import embed_modules
from lcstool.models.embedding.phi import gather_entries, pull_back, push_forward
from lcstool.models.embedding.support import convolution_support
from lcstool.models.embedding.tensors import convolution_layers, embedded_tensors
from lcstool.models.wiring.trace import trace

geometries = st.fixed_dictionaries(
    {
        "channels": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "groups": st.integers(1, 2),
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "padding": st.tuples(st.integers(0, 3), st.integers(0, 3)),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "image": st.tuples(st.integers(4, 7), st.integers(4, 7)),
        "mode": st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
        "bias": st.booleans(),
    }
)


@examples(60)
@given(geometries, st.sampled_from(["fc", "local"]), st.booleans(), st.sampled_from(["dense", "csr"]))
def test_any_convolution_equals_its_embedding(g: dict, to: str, pad_inputs: bool, storage: str) -> None:
    groups = g["groups"]
    conv = nn.Conv2d(
        g["channels"][0] * groups, g["channels"][1] * groups, g["kernel"], g["stride"], g["padding"],
        g["dilation"], groups, g["bias"], g["mode"],
    ).double()  # fmt: skip
    model = nn.Sequential(conv, nn.Flatten())
    images = torch.randn(3, g["channels"][0] * groups, *g["image"], dtype=torch.float64)
    try:
        expected = model(images)
    except RuntimeError:
        return  # no such convolution on so small an image
    embedded = embed(model, tuple(images.shape[1:]), storage, to=to, pad_inputs=pad_inputs)
    torch.testing.assert_close(embedded(images), expected, rtol=0, atol=1e-10)


@examples(30)
@given(geometries)
def test_pull_back_is_the_transpose_of_push_forward(g: dict) -> None:
    """<Phi w, m> = <w, Phi^T m> for random w and m; and the convolution's gradient is the pulled-back one."""
    groups = g["groups"]
    conv = nn.Conv2d(
        g["channels"][0] * groups, g["channels"][1] * groups, g["kernel"], g["stride"], g["padding"],
        g["dilation"], groups, False, g["mode"],
    ).double()  # fmt: skip
    model = nn.Sequential(conv, nn.Flatten())
    images = torch.randn(2, g["channels"][0] * groups, *g["image"], dtype=torch.float64)
    try:
        model(images).square().sum().backward()
    except RuntimeError:
        return
    found = trace(meta_copy(model), tuple(images.shape[1:]))
    support = convolution_support(found.layers["0"], False, g["mode"])
    embedded = embed(model, tuple(images.shape[1:]))
    embedded(images).square().sum().backward()
    gradient = pull_back(support, embedded.get_submodule("0").weight.grad)
    torch.testing.assert_close(gradient, conv.weight.grad.flatten(1), rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(gradient)
    matrix = torch.randn_like(embedded.get_submodule("0").weight)
    inner = (push_forward(support, weights) * gather_entries(support, matrix)).sum()
    torch.testing.assert_close(inner, (weights * pull_back(support, matrix)).sum(), rtol=1e-10, atol=1e-10)


NETWORKS = sorted(
    (name for name in ARCHITECTURES if not name.endswith("fc")),
    key=lambda name: name[:5] in ("vgg13", "vgg16", "vgg19"),
)
NUM_KINDS = sum(
    name[:5] not in ("vgg13", "vgg16", "vgg19") for name in NETWORKS
)  # deeper ones have the same layers


@pytest.mark.parametrize("to", ["fc", "local"])
@pytest.mark.parametrize("norm", first_of(["units", "folded", "channels"], 1))
@pytest.mark.parametrize("arch", first_of(NETWORKS, NUM_KINDS))
def test_every_network_equals_its_embedding(arch: str, norm: str, to: str) -> None:
    spec = ModelSpec(
        arch=arch, image=(10, 9), channels=2, classes=ARCHITECTURES[arch].num_classes or 3, alpha=2
    )
    model = with_uneven_norms(build_model(spec))
    embedded = embed(model, spec.in_shape, to=to, norm=norm)
    images = torch.randn(5, 2, 10, 9, dtype=torch.float64)
    torch.testing.assert_close(embedded.eval()(images), model.eval()(images), rtol=0, atol=1e-10)
    has_norm = any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    if norm == "channels" or (norm == "units" and not has_norm):
        torch.testing.assert_close(embedded.train()(images), model.train()(images), rtol=0, atol=1e-10)


def test_a_wrong_weight_is_noticed() -> None:
    """The comparison above can fail."""
    model = build_model(ModelSpec(arch="vanilla-cnn", image=(10, 9), channels=2, classes=3, alpha=2)).double()
    embedded = embed(model, (2, 10, 9))
    with torch.no_grad():
        embedded.get_submodule("layer1").weight += 1e-6
    images = torch.randn(5, 2, 10, 9, dtype=torch.float64)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(embedded(images), model(images), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "squeezenet1_1",
        "mobilenet_v2",
        pytest.param("densenet121", marks=pytest.mark.long),
        pytest.param("vgg11_bn", marks=pytest.mark.long),
    ],
)
def test_torchvision_networks_equal_their_embedding(name: str) -> None:
    spec = ModelSpec(arch=f"torchvision:{name}", image=(33, 32), channels=3, classes=4)
    model = empty_model(spec).to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(
                torch.rand(tensor.shape, generator=generator) * 0.1 + (0.5 if tensor.ndim == 1 else -0.05)
            )
    found = trace(empty_model(spec), spec.in_shape)
    convs = convolution_layers(model, found)
    chosen = [layer for layer in convs if found.layers[layer].num_weights("fc") < 3_000_000][:6]
    embedding = Embedding(tuple((layer, "fc") for layer in chosen), norm="units")
    tensors = realise(embedded_tensors(model, found, embedding))  # type: ignore[arg-type]
    embedded = empty_model(dataclasses.replace(spec, embedding=embedding)).eval()
    embedded.load_state_dict(tensors, assign=True)
    images = torch.rand(2, 3, 33, 32)
    expected = model(images).detach()
    torch.testing.assert_close(embedded(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_vanilla_cnn_counts_of_the_paper() -> None:
    """Padded inputs, 32x32: 110.58 M weights, 7.77 M local, 36.65 M of them fed by padding (dA19)."""
    found = trace(
        empty_model(ModelSpec(arch="vanilla-cnn", image=(32, 32), channels=3, classes=10, alpha=64)),
        (3, 32, 32),
    )
    total = local = padded = 0
    for geometry in found.layers.values():
        support = convolution_support(geometry, pad_inputs=True)
        units = geometry.out_channels * support.num_positions
        inside = geometry.in_shape[0] * geometry.in_shape[1] * geometry.in_shape[2]
        total += units * support.num_columns
        local += geometry.out_channels * len(support.row_N)
        padded += units * (support.num_columns - inside)
    assert round(total / 1e6, 2) == 110.58
    assert round(local / 1e6, 2) == 7.77
    assert round(padded / 1e6, 2) == 36.65


def test_an_embedded_network_is_an_ordinary_model_file(tmp_path: object) -> None:
    spec = ModelSpec(arch="s-conv", image=(9, 9), channels=1, classes=3, alpha=2)
    model = build_model(spec)
    found = trace(empty_model(spec), spec.in_shape)
    embedding = Embedding((("layer1", "fc"),))
    images = torch.rand(2, 1, 9, 9)
    for storage in ("dense", "csr"):
        path = tmp_path / f"{storage}.safetensors"  # type: ignore[operator]
        embedded = dataclasses.replace(spec, embedding=embedding)
        write_checkpoint(
            path,
            Header(kind="model", model=embedded.to_json()),
            embedded_tensors(model, found, embedding, storage),
        )
        loaded = load_model(open_checkpoint(path))
        torch.testing.assert_close(loaded.eval()(images), model.eval()(images))


def test_what_cannot_be_embedded_is_named() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x)).flatten(1)

    class Functional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.conv2d(x, torch.ones(1, 1, 3, 3, device=x.device)).flatten(1)

    transposed = nn.Sequential(nn.ConvTranspose2d(1, 1, 3), nn.Flatten())
    for model, word in (
        (Shared(), "conv"),
        (Functional(), "Functional"),
        (transposed, "0 .ConvTranspose2d. convolves"),
    ):
        with pytest.raises(BadInputError, match=word):
            trace(model.to("meta"), (1, 8, 8))


def test_a_norm_before_its_convolution_cannot_be_folded_but_can_go_over_units_in_two_steps() -> None:
    """A pre-activation network, all at once and one layer after the other."""
    model = nn.Sequential(
        nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3), nn.Flatten()
    )
    model.insert(3, nn.Identity())
    model = model.double().eval()
    with_uneven_norms(model)
    images = torch.randn(3, 2, 7, 7, dtype=torch.float64)
    expected = model(images).detach()
    with pytest.raises(BadInputError, match="batch norm '0' follows no convolution"):
        embed(model, (2, 7, 7), norm="folded")
    found = trace(meta_copy(model), (2, 7, 7))
    first, second = (Embedding(((name, "fc"),)) for name in ("1", "5"))
    merged = Embedding((("1", "fc"), ("5", "fc")))
    half = meta_copy(model)
    embed_modules(half, found, first)
    half.load_state_dict(realise(embedded_tensors(model, found, first)), assign=True)  # type: ignore[arg-type]
    torch.testing.assert_close(half.eval()(images), expected, rtol=0, atol=1e-10)
    tensors = embedded_tensors(half, trace(meta_copy(half), (2, 7, 7)), second, merged=merged)
    whole = meta_copy(model)
    embed_modules(whole, found, merged)
    whole.load_state_dict(realise(tensors), assign=True)  # type: ignore[arg-type]
    torch.testing.assert_close(whole.eval()(images), expected, rtol=0, atol=1e-10)
