"""Weight matching, against shuffled copies, brute force over permutations, and the function it must keep."""

import copy
import dataclasses
import itertools
import pickle

import pytest
import torch
from amounts import examples, first_of
from embedded import embedded_model
from hypothesis import given
from hypothesis import strategies as st
from models.networks import CHAINS, RESNET, images, with_uneven_norms
from paths.permuted import shuffled
from torch import Tensor, nn

from lcstool.errors import BadInputError
from lcstool.models import ModelSpec, build_model
from lcstool.models.layers.local import FullyConnected2d
from lcstool.models.narrowing.widths import narrow_modules
from lcstool.models.registry import ARCHITECTURES
from lcstool.models.wiring.units import find_wiring
from lcstool.paths.alignment import align

ALL = CHAINS | {"resnet18": RESNET}
CHEAP = {*ALL, "linear-cnn"}


def network(spec: ModelSpec, seed: int = 0) -> nn.Module:
    """Random weights in float64, and batch norms that treat every unit differently."""
    return with_uneven_norms(build_model(spec, torch.Generator().manual_seed(seed)), seed)


def exact(arch: str) -> ModelSpec:
    """A small network of the registry."""
    side = 32 if arch.startswith("vgg") else 9
    classes = 2 if arch == "linear-cnn" else 4
    made = ModelSpec(arch=arch, image=(side, side), channels=3, classes=classes, alpha=4)
    return ALL.get(arch, made)


def distance(first: nn.Module, second: nn.Module) -> float:
    flat = [nn.utils.parameters_to_vector(net.parameters()).detach() for net in (first, second)]
    return float((flat[0] - flat[1]).norm())


def assert_equal(first: nn.Module, second: nn.Module) -> None:
    left, right = first.state_dict(), second.state_dict()
    assert list(left) == list(right)
    for name in left:
        assert torch.equal(left[name], right[name]), name


@pytest.mark.parametrize(
    "arch", [pytest.param(arch, marks=[] if arch in CHEAP else pytest.mark.long) for arch in ARCHITECTURES]
)
@pytest.mark.parametrize("seed", first_of([0, 1], 1))
def test_a_shuffled_copy_comes_back_exactly(arch: str, seed: int) -> None:
    spec = exact(arch)
    reference = network(spec)
    model, orders = shuffled(reference, spec, seed)
    assert torch.allclose(model(images(spec)), reference(images(spec)), rtol=0, atol=1e-10)
    found = align(reference, model, spec, seed)
    assert found.distance_before == pytest.approx(distance(reference, model), rel=1e-12)
    assert found.distance_before > 1
    assert found.distance_after == 0
    assert_equal(found.model, reference)  # the running statistics too, which no distance sees
    assert found.left == {}
    assert found.permutations.keys() == orders.keys()
    for layer, order in orders.items():
        assert torch.equal(order[found.permutations[layer]], torch.arange(len(order))), layer


@pytest.mark.parametrize("spec", [*CHAINS.values(), RESNET], ids=lambda spec: spec.arch)
def test_two_networks_come_closer_and_keep_their_functions(spec: ModelSpec) -> None:
    reference, model = network(spec, 1), network(spec, 2)
    before, logits = pickle.dumps(model.state_dict()), model(images(spec))
    found = align(reference, model, spec)
    assert pickle.dumps(model.state_dict()) == before
    assert torch.allclose(found.model(images(spec)), logits, rtol=0, atol=1e-10)
    assert found.distance_before == pytest.approx(distance(reference, model), rel=1e-12)
    assert found.distance_after == pytest.approx(distance(reference, found.model), rel=1e-12)
    assert found.distance_after < found.distance_before
    assert all(a > b for a, b in itertools.pairwise(found.distances[:-1]))
    assert found.distances[-1] == found.distances[-2]
    assert found.num_rounds == len(found.distances) - 1
    if spec is not RESNET:
        permuted = copy.deepcopy(model)
        narrow_modules(permuted, find_wiring(model, spec.in_shape), found.permutations)
        assert_equal(permuted, found.model)


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(arch="3-fc", image=(3, 3), channels=2, classes=3, width=5),
        dataclasses.replace(CHAINS["s-conv"], widths=(("layer1", 4), ("layer2", 5))),
        dataclasses.replace(CHAINS["s-local"], widths=(("layer1", 4), ("layer2", 5))),
        dataclasses.replace(CHAINS["s-fc"], widths=(("layer1", 4), ("layer2", 5))),
        ModelSpec(arch="vanilla-cnn", image=(16, 16), channels=2, classes=3, alpha=4),
    ],
    ids=lambda spec: spec.arch,
)
@examples(5, few=1)
@given(seed=st.integers(0, 1000))
def test_no_order_of_one_layer_is_better(spec: ModelSpec, seed: int) -> None:
    reference = network(spec, seed)
    found = align(reference, network(spec, seed + 1), spec, seed)
    wiring = find_wiring(found.model, spec.in_shape)
    for layer in found.permutations:
        for order in itertools.permutations(range(wiring.out_shapes[layer][0])):
            other = copy.deepcopy(found.model)
            narrow_modules(other, wiring, {layer: torch.tensor(order)})
            assert distance(reference, other) >= found.distance_after - 1e-9


def test_batch_norm_counts_as_weights() -> None:
    """With all else equal, only its scales tell the units apart."""
    spec = ModelSpec(arch="3-fc", image=(3, 3), channels=2, classes=3, width=6)
    reference = network(spec)
    for name, tensor in reference.named_parameters():
        tensor.data.fill_(0.1)
        if name == "bn1.weight":
            tensor.data.copy_(torch.arange(6) + 1.0)
    model, orders = shuffled(reference, spec, 3)
    found = align(reference, model, spec)
    assert found.distance_before > 0
    assert found.distance_after == 0
    assert torch.equal(orders["layer1"][found.permutations["layer1"]], torch.arange(6))


@pytest.mark.parametrize("pad_inputs", [False, True])
@pytest.mark.parametrize("norm", ["units", "channels", "folded"])
def test_embedded_networks_are_permuted_by_whole_channels(norm: str, pad_inputs: bool) -> None:
    spec = ModelSpec(arch="d-conv", image=(8, 8), channels=2, classes=3, alpha=4)
    reference = with_uneven_norms(embedded_model(spec, "fc", norm, pad_inputs))
    assert isinstance(reference.get_submodule("layer1"), FullyConnected2d)
    model, _ = shuffled(reference, spec, 5)
    found = align(reference, model, spec)
    assert found.distance_before > 0
    assert_equal(found.model, reference)


def test_layers_that_are_added_up_share_one_order() -> None:
    found = align(network(RESNET, 1), network(RESNET, 2), RESNET)
    orders = found.permutations
    for writers in (
        ("conv1", "block1_1.conv2", "block1_2.conv2"),
        *((f"block{n}_1.conv2", f"block{n}_1.shortcut.conv", f"block{n}_2.conv2") for n in (2, 3, 4)),
    ):
        assert all(torch.equal(orders[writers[0]], orders[name]) for name in writers)
    assert not torch.equal(orders["conv1"], torch.arange(4))


class Recurrent(nn.Sequential):
    """A layer that is added to its own input: its weights have one order on both sides."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(nn.Flatten(), nn.Linear(12, 6), nn.Linear(6, 6), nn.Linear(6, 3))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        flat, first, middle, last = self
        y = first(flat(x)).relu()
        out: Tensor = last(y + middle(y).relu())
        return out


@pytest.mark.parametrize("seed", range(4))
def test_a_layer_that_reads_what_it_writes(seed: int) -> None:
    spec = ModelSpec(arch="3-fc", image=(2, 2), channels=3, classes=3)  # only the image counts
    with torch.random.fork_rng():
        reference, other = Recurrent(seed), Recurrent(seed + 10)
    model, order = copy.deepcopy(reference), torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    for tensor, axis in ((model[1].weight, 0), (model[1].bias, 0), (model[2].weight, 0), (model[2].bias, 0),
                         (model[2].weight, 1), (model[3].weight, 1)):  # fmt: skip
        tensor.data = tensor.data.index_select(axis, order)
    found = align(reference, model, spec)
    assert found.distance_before > 0
    assert_equal(found.model, reference)
    found = align(reference, other, spec)
    assert all(a > b for a, b in itertools.pairwise(found.distances[:-1]))
    assert torch.allclose(found.model(images(spec)), other(images(spec)), rtol=0, atol=1e-12)


def test_what_is_left_is_said() -> None:
    class Grouped(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 6, 1),
                             nn.Flatten(), nn.Linear(24, 3))  # fmt: skip

    spec = ModelSpec(arch="3-fc", image=(2, 2), channels=3, classes=3)
    found = align(Grouped(), Grouped(), spec)
    assert found.left == dict.fromkeys(("0", "1"), "1 is a grouped convolution")
    assert list(found.permutations) == ["2"]


def test_the_seed_decides() -> None:
    spec = CHAINS["3-fc"]
    reference, model = network(spec, 1), network(spec, 2)
    once, again = align(reference, model, spec, 3), align(reference, model, spec, 3)
    assert once.distances == again.distances
    assert_equal(once.model, again.model)
    assert len({align(reference, network(spec, 2), spec, seed).distances for seed in range(8)}) > 1


def test_single_precision_keeps_its_bits_and_its_mode() -> None:
    spec = CHAINS["vgg11-bn"]
    reference = network(spec).float().train()
    model, _ = shuffled(reference, spec, 0)
    found = align(reference, model, spec)
    assert found.distance_after == 0
    assert_equal(found.model, reference)
    assert found.model.training
    assert all(parameter.requires_grad for parameter in found.model.parameters())


def test_a_network_aligned_to_itself_stays() -> None:
    spec = CHAINS["d-conv"]
    model = network(spec)
    found = align(model, model, spec)
    assert found.distances == (0.0, 0.0)
    assert all(torch.equal(order, torch.arange(len(order))) for order in found.permutations.values())


def test_a_network_of_one_layer_is_returned_as_it_is() -> None:
    spec = ModelSpec(arch="3-fc", image=(4, 2), channels=1, classes=3)  # only the image counts
    reference, model = (nn.Sequential(nn.Flatten(), nn.Linear(8, 3)) for _ in range(2))
    found = align(reference, model, spec)
    assert_equal(found.model, model)
    assert found.permutations == {}
    assert found.num_rounds == 0
    assert found.distance_before == found.distance_after == pytest.approx(distance(reference, model))


@pytest.mark.parametrize(
    ("sizes", "name", "shapes"),
    [
        ({"classes": 4, "width": 21}, "layer1.weight", ([21, 90], [20, 90])),
        ({"classes": 5, "width": 20}, "layer3.weight", ([5, 20], [4, 20])),
    ],
)
def test_other_architectures_are_refused(
    sizes: dict[str, int], name: str, shapes: tuple[list[int], list[int]]
) -> None:
    spec = CHAINS["3-fc"]
    with pytest.raises(BadInputError, match="different architectures") as error:
        align(network(spec), network(dataclasses.replace(spec, **sizes)), spec)
    assert error.value.message.endswith(
        f"tensor {name!r} has shape {shapes[1]} in the one, has shape {shapes[0]} in the other"
    )


def test_superfluous_and_missing_tensors_are_refused() -> None:
    spec = CHAINS["3-fc"]
    more = network(spec)
    more.register_buffer("extra", torch.zeros(2))
    with pytest.raises(BadInputError, match=r"'extra' is missing in the one, has shape \[2\] in the other"):
        align(network(spec), more, spec)
    with pytest.raises(BadInputError, match=r"'extra' has shape \[2\] in the one, is missing in the other"):
        align(more, network(spec), spec)
