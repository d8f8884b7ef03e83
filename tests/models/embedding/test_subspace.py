"""The three-way split is an orthogonal decomposition, and tied gradients move a network as its CNN would."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from embedded import embedded_model

from lcstool.choices import SUBSPACE_PARTS
from lcstool.data.dataset import Split as ImageSplit
from lcstool.models import Embedding, ModelSpec, build_model
from lcstool.models.build import empty_model, initialise
from lcstool.models.embedding.subspace import Subspace
from lcstool.models.wiring.trace import trace


@pytest.mark.parametrize("to", ["fc", "local"])
@pytest.mark.parametrize("arch", ["s-conv", "vanilla-cnn", "resnet18"])
def test_parts_are_orthogonal_and_complete(arch: str, to: str) -> None:
    model = embedded_model(ModelSpec(arch=arch, image=(10, 9), channels=2, classes=3, alpha=2), to).double()
    subspace = Subspace(model)
    vector = {name: torch.randn_like(parameter) for name, parameter in model.named_parameters()}
    parts = [subspace.project(vector, part) for part in SUBSPACE_PARTS]
    for name, tensor in vector.items():
        torch.testing.assert_close(sum(part[name] for part in parts), tensor, rtol=0, atol=1e-12)
        for i in range(3):
            for j in range(i):
                assert abs((parts[i][name] * parts[j][name]).sum().item()) < 1e-9
        again = subspace.project(parts[0], "conv")[name]
        torch.testing.assert_close(again, parts[0][name], rtol=0, atol=1e-12)


def test_a_fresh_embedding_is_all_convolution() -> None:
    model = embedded_model(
        ModelSpec(arch="vanilla-cnn", image=(10, 9), channels=2, classes=3, alpha=2)
    ).double()
    subspace = Subspace(model)
    assert subspace.off_local_frac() == 0
    for name, split in subspace.split().items():
        assert split.off_local == 0
        assert split.unshared_local < 1e-20 * split.conv
        weight = model.get_submodule(name).weight
        bias = model.get_submodule(name).bias
        total = weight.square().sum() + bias.square().sum()
        assert math.isclose(split.conv, total.item(), rel_tol=1e-12)


def test_split_against_brute_force() -> None:
    """A random dense layer: the parts by loops over units, positions and taps."""
    spec = ModelSpec(arch="s-conv", image=(9, 9), channels=2, classes=3, alpha=2)
    model = embedded_model(spec)
    layer = model.get_submodule("layer1")
    layer.weight.data = torch.randn(layer.weight.shape, dtype=torch.float64)
    orbits: dict[tuple[int, ...], list[float]] = {}
    off_local = 0.0
    size, out, kernel = 9, 5, 9
    for o in range(2):
        for p in range(out):
            for q in range(out):
                row = layer.weight[(o * out + p) * out + q].view(2, size, size)
                for c in range(2):
                    for y in range(size):
                        for x in range(size):
                            i, j = y - 2 * p + 4, x - 2 * q + 4
                            value = row[c, y, x].item()
                            if 0 <= i < kernel and 0 <= j < kernel:
                                orbits.setdefault((o, c, i, j), []).append(value)
                            else:
                                off_local += value**2
    conv = sum(sum(orbit) ** 2 / len(orbit) for orbit in orbits.values())
    local = sum(value**2 for orbit in orbits.values() for value in orbit)
    split = Subspace(model).split()["layer1"]
    assert math.isclose(split.conv, conv, rel_tol=1e-10)
    assert math.isclose(split.off_local, off_local, rel_tol=1e-10)
    assert math.isclose(split.unshared_local, local - conv, rel_tol=1e-10)
    assert split.num_local == sum(map(len, orbits.values()))


def test_delta_of_a_default_fcn_of_vanilla_cnn_shape() -> None:
    """Padded inputs, default initialisation: delta = 0.9746 (dA19: about 97 %)."""
    spec = ModelSpec(arch="vanilla-cnn", image=(32, 32), channels=3, classes=10, alpha=64)
    found = trace(empty_model(spec), spec.in_shape)
    fcn = dataclasses.replace(spec, embedding=Embedding(tuple((name, "fc") for name in found.layers), True))
    model = empty_model(fcn).to_empty(device="cpu")
    initialise(model, torch.Generator().manual_seed(0))
    assert Subspace(model).off_local_frac() == pytest.approx(0.9746, abs=2e-4)


@pytest.mark.parametrize("to", ["fc", "local"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_orbit_matched_run_follows_the_cnn(to: str, momentum: float, tmp_path: Path) -> None:
    """With tied gradients and equal learning rates, 20 steps in float64 keep the logits equal to 1e-10."""
    spec = ModelSpec(arch="vanilla-cnn", image=(9, 9), channels=2, classes=3, alpha=3)
    cnn, efcn = build_model(spec).double(), embedded_model(spec, to).double()
    subspace = Subspace(efcn)
    generator = torch.Generator().manual_seed(0)
    data = ImageSplit(
        torch.randn(40, 2, 9, 9, dtype=torch.float64, generator=generator), torch.arange(40) % 3
    )
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum) for model in (cnn, efcn)]
    for step in range(20):
        batch = data.take(torch.arange(8) + 8 * (step % 5))
        for model, optimizer in zip((cnn, efcn), optimizers, strict=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch.images), batch.labels).backward()
            if model is efcn:
                subspace.tie_gradients()
            optimizer.step()
    torch.testing.assert_close(efcn(data.images), cnn(data.images), rtol=0, atol=1e-10)
    assert subspace.off_local_frac() == 0


def test_a_network_without_a_part_of_its_weights() -> None:
    model = embedded_model(
        ModelSpec(arch="vanilla-cnn", image=(10, 9), channels=2, classes=3, alpha=2)
    ).double()
    subspace, images = Subspace(model), torch.randn(4, 2, 10, 9, dtype=torch.float64)
    whole = model(images)
    with subspace.without("off-local"):
        torch.testing.assert_close(model(images), whole)  # a fresh embedding has none
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    parts = {part: subspace.project(before, part) for part in SUBSPACE_PARTS}
    for part in ("off-local", "local"):
        with subspace.without(part):
            for index in (1, 2, 3):
                name = f"layer{index}.weight"
                local = parts["conv"][name] + parts["unshared-local"][name]
                expected = local if part == "off-local" else parts["off-local"][name]
                torch.testing.assert_close(model.get_parameter(name), expected, check_stride=False)
    for name, parameter in model.named_parameters():
        assert parameter.equal(before[name])
