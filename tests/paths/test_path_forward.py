"""Points run together give what networks run one after another give, for every architecture there is."""

import copy

import pytest
import torch
from amounts import first_of, shallow_first
from embedded import embed
from paths.networks import CLASSES, SIDE, mlp, of_registry, prepare, random_split, shaken, tiny_spec
from torch import Tensor, nn

from lcstool.models import ARCHITECTURES
from lcstool.models.layers.local import FullyConnected2d, LocallyConnected2d, UnitBatchNorm2d
from lcstool.models.layers.parameters import NORM_LAYERS
from lcstool.paths import BatchedNetwork, Blend, Points, linear_path, positions, reestimate_norms


@torch.no_grad()
def one_by_one(model: nn.Module, points: Points, x_BCHW: Tensor) -> Tensor:
    """Plain modules, one a point."""
    network, outputs = copy.deepcopy(model).eval(), []
    for index in range(points.num_points):
        points.load_into(network, index)
        outputs.append(network(x_BCHW))
    return torch.stack(outputs)


def check(models: list[nn.Module], side: int) -> None:
    blend = Blend.linear([model.state_dict() for model in models], positions(4))
    points, x_BCHW = blend.points(), prepare(random_split(3, side).images)
    network = BatchedNetwork(models[0])
    expected = one_by_one(models[0], points, x_BCHW)
    assert expected.std(dim=0).max() > 1e-6  # else the points would be one
    torch.testing.assert_close(network(points, x_BCHW), expected, rtol=0, atol=1e-12)
    assert network.is_batched
    torch.testing.assert_close(network(points, x_BCHW, blend), expected, rtol=0, atol=1e-12)
    loop = BatchedNetwork(models[0], batched=False)
    torch.testing.assert_close(loop(points, x_BCHW), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(loop(points, x_BCHW, blend), expected, rtol=0, atol=1e-12)
    assert not loop.is_batched


@pytest.mark.parametrize("arch", shallow_first(ARCHITECTURES))
def test_points_run_together_as_they_do_alone(arch: str) -> None:
    check([of_registry(arch, seed) for seed in (1, 2)], tiny_spec(arch).image[0])


@pytest.mark.parametrize(("to", "norm"), [("fc", "units"), ("fc", "channels"), ("local", "units")])
def test_embedded_networks_do_too(to: str, norm: str) -> None:
    models = [embed(of_registry("d-conv", seed), (3, 9, 9), to=to, norm=norm) for seed in (1, 2)]
    kinds = {type(module) for module in models[0].modules()}
    assert {"fc": FullyConnected2d, "local": LocallyConnected2d}[to] in kinds
    assert {"units": UnitBatchNorm2d, "channels": nn.BatchNorm2d}[norm] in kinds
    check(models, 9)


def test_a_lone_layer_leaves_nothing_to_mix() -> None:
    assert BatchedNetwork(of_registry("linear-cnn", 1)).first_names == frozenset()
    check([shaken(nn.Sequential(nn.Flatten(), nn.Linear(108, CLASSES)).double(), s) for s in (1, 2)], SIDE)


def test_the_head_runs_on_the_ends_only() -> None:
    models = [mlp(1), mlp(2)]
    blend = Blend.linear([model.state_dict() for model in models], positions(5))
    points, x_BCHW = blend.points(), prepare(random_split(3).images)
    expected = one_by_one(models[0], points, x_BCHW)
    network = BatchedNetwork(models[0])
    assert network.first_names == {"1.weight", "1.bias"}
    fewer = blend.points(without=network.first_names)
    assert points.parameters.keys() - fewer.parameters.keys() == network.first_names
    torch.testing.assert_close(network(fewer, x_BCHW, blend), expected, rtol=0, atol=1e-12)


class _DataDependent(nn.Module):
    """Control flow that no batching over points can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(108, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flatten(1))
        return y if y.sum().item() > 0 else 2 * y


def test_where_batching_fails_the_points_run_one_after_another() -> None:
    models = [shaken(_DataDependent().double(), seed) for seed in (1, 2)]
    points, x_BCHW = (
        linear_path([m.state_dict() for m in models], positions(4)),
        prepare(random_split(4).images),
    )
    network = BatchedNetwork(models[0])
    y_NBK = network(points, x_BCHW)
    assert not network.is_batched
    torch.testing.assert_close(y_NBK, one_by_one(models[0], points, x_BCHW), rtol=0, atol=1e-12)


def test_a_wrong_input_is_an_error_and_not_a_loop() -> None:
    network = BatchedNetwork(mlp(1))
    with pytest.raises(RuntimeError, match="shape"):
        network(Points.of([mlp(1), mlp(2)]), torch.zeros(2, 3, 4, 4, dtype=torch.float64))


def test_the_skeleton_has_no_storage_and_the_model_keeps_its_own() -> None:
    model = mlp(1).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = BatchedNetwork(model, batch_statistics=True)
    assert {tensor.device.type for tensor in network.skeleton.state_dict().values()} == {"meta"}
    network(Points.of([model, mlp(2)]), prepare(random_split(4).images))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def torch_pass(model: nn.Module, images: Tensor, batch_size: int) -> dict[str, Tensor]:
    """Statistics by torch itself: one pass in training mode, cumulative averages (momentum None)."""
    network = copy.deepcopy(model).eval()
    for module in network.modules():
        if isinstance(module, NORM_LAYERS):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    with torch.no_grad():
        for start in range(0, len(images) - batch_size + 1, batch_size):
            network(prepare(images[start : start + batch_size]))
    return network.state_dict()


@pytest.mark.parametrize("arch", first_of(["mlp", "resnet18", "s-local", "d-fc"], 2))
@pytest.mark.parametrize(("chunk", "batched"), [(None, True), (2, True), (None, False)])
def test_norms_are_those_of_a_pass_of_torch(arch: str, chunk: int | None, batched: bool) -> None:
    models = [mlp(seed) if arch == "mlp" else of_registry(arch, seed) for seed in (1, 2)]
    images = random_split(22, SIDE if arch == "mlp" else 9).images
    points = linear_path([model.state_dict() for model in models], positions(5))
    before = {name: tensor.clone() for name, tensor in points.buffers.items()}
    found = reestimate_norms(models[0], points, images, prepare, 10, chunk, batched)
    for index in range(5):
        points.load_into(models[0], index)
        expected = torch_pass(models[0], images, 10)  # two full batches; two images are left over
        for name, tensor in found.state(index).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-10, atol=1e-12)
    assert all(torch.equal(tensor, before[name]) for name, tensor in points.buffers.items())
    assert found.parameters is points.parameters


def test_without_batch_norm_points_stay() -> None:
    models = [mlp(seed, norm=False) for seed in (1, 2)]
    points = Points.of(models)
    assert reestimate_norms(models[0], points, random_split().images, prepare, 8) is points
