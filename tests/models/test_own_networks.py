"""Networks of one's own: built by name, filled with a state dict of any form, refused by name where they fail."""

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from own_code import importable
from torch import Tensor, nn

from lcstool.checkpoint import Header, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError, LcsError, UsageError
from lcstool.models import ModelSpec, load_model
from lcstool.models.build import empty_model
from lcstool.models.foreign import build_foreign
from lcstool.models.permission import permit
from lcstool.models.wiring.draws import require_seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
SHAPE = (3, 8, 8)
Made = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """The plain way to a network of `mynet`, in memory, with weights of its own."""

    def made(name: str, **arguments: Any) -> nn.Module:
        import mynet  # type: ignore[import-not-found]

        with torch.random.fork_rng():
            torch.manual_seed(1)
            network: nn.Module = getattr(mynet, name)(**arguments)
        return network.eval()

    with importable(tmp_path, monkeypatch):
        sys.path.insert(0, str(tmp_path))
        yield made


def built(name: str, state: dict[str, Tensor], **arguments: Any) -> tuple[ModelSpec, nn.Module]:
    permit(f"mynet:{name}")
    return build_foreign(f"mynet:{name}", SHAPE, state, "net.pth", tuple(sorted(arguments.items())))


def images() -> Tensor:
    return torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))


def same_function(one: nn.Module, other: nn.Module) -> bool:
    """Whether they agree, given the same numbers that no state dict holds."""
    other.load_state_dict(other.state_dict())
    for name, value in one.named_buffers():
        if name.endswith("fixed"):
            other.get_submodule(name.rpartition(".")[0]).fixed = value
    with torch.no_grad():
        return torch.allclose(one(images()), other.eval()(images()), atol=1e-6)


def test_a_class_with_arguments(make: Made) -> None:
    network = make("Net", width=6, num_classes=7)
    spec, model = built("Net", network.state_dict(), width=6)
    assert (spec.arch, spec.classes, spec.model_args) == ("mynet:Net", 7, (("width", 6),))
    assert same_function(network, model)
    with pytest.raises(
        BadInputError, match=r"'conv.weight' has shape \[6, 3, 3, 3\], expected \[4, 3, 3, 3\]"
    ):
        built("Net", network.state_dict())


def test_its_parameters_need_no_memory_and_its_other_numbers_are_always_the_same(make: Made) -> None:
    permit("mynet:Net")
    before = torch.random.get_rng_state()
    one, other = (
        empty_model(ModelSpec(arch="mynet:Net", image=(8, 8), channels=3, classes=3)) for _ in range(2)
    )
    assert all(parameter.is_meta for parameter in one.parameters())
    assert torch.equal(one.fixed, other.fixed)  # type: ignore[arg-type]
    assert torch.equal(before, torch.random.get_rng_state())
    assert type(one).__name__ == "Net"
    copy.deepcopy(one)


def test_the_number_of_outputs_is_read_off_the_output(make: Made) -> None:
    network = make("Wide", outputs=9)
    with torch.no_grad():
        network(images())
    spec, model = built("Wide", network.state_dict(), outputs=9)
    assert spec.classes == 9
    assert same_function(network, model)


@pytest.mark.parametrize("strip", ["", "model.", "model.net."])
def test_a_prefix_that_was_taken_for_a_wrappers_is_put_back(strip: str, make: Made) -> None:
    network = make("Prefixed")
    state = {name.removeprefix(strip): tensor for name, tensor in network.state_dict().items()}
    assert same_function(network.model["net"], built("Prefixed", state)[1].model["net"])  # type: ignore[index]


@pytest.mark.parametrize("norm", ["new", "old", "spectral", "old spectral", "orthogonal"])
def test_torch_puts_the_parts_of_weights_together(norm: str, make: Made) -> None:
    network = make("Net", norm=norm)
    spec, model = built("Net", network.state_dict(), norm=norm)
    assert set(model.state_dict()) == {f"{layer}.{part}" for layer in ("conv", "norm", "head")
                                       for part in ("weight", "bias")}  # fmt: skip
    assert same_function(network, model)
    again = build_foreign(spec.arch, SHAPE, model.state_dict(), "plain.pth", spec.model_args)[1]
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_shared_parameters_stay_shared(make: Made) -> None:
    state = make("Tied").state_dict()
    _, model = built("Tied", state)
    assert model.one.weight is model.two.weight  # type: ignore[union-attr]
    del state["one.weight"]  # as files without duplicates have it
    assert torch.equal(built("Tied", state)[1].one.weight, state["two.weight"])  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(
    ("name", "said", "kind"),
    [
        ("Missing", "mynet has no 'Missing'", UsageError),
        ("network", "mynet:network is a Net, not a class or a function", UsageError),
        ("no_network", "mynet:no_network gave a int, not a torch.nn.Module", BadInputError),
        ("unbuildable", "mynet:unbuildable cannot be built: 'nothing'", BadInputError),
        ("leaving", "mynet:leaving cannot be built: usage: mynet", BadInputError),
        (
            "Failing",
            r"mynet:Failing does not run on images of shape \[3, 8, 8\]: .a key of its own",
            BadInputError,
        ),
    ],
)
def test_code_that_fails_is_named(name: str, said: str, kind: type[LcsError], make: Made) -> None:
    with pytest.raises(kind, match=said):
        built(name, make("Net").state_dict())


def test_wrong_arguments_are_named(make: Made) -> None:
    with pytest.raises(
        BadInputError, match=r"mynet:Net cannot be built: .*unexpected keyword argument 'colour'"
    ):
        built("Net", {}, colour="red")


@pytest.mark.usefixtures("make")
def test_a_module_that_is_not_there() -> None:
    permit("nonet.part:Net")
    with pytest.raises(UsageError, match=r"there is no module 'nonet', which --model nonet.part:Net names"):
        build_foreign("nonet.part:Net", SHAPE, {}, "net.pth")


def test_its_description_comes_back_from_a_file(make: Made, tmp_path: Path) -> None:
    network = make("Net", width=6, drop=0.5)
    spec, model = built("Net", network.state_dict(), width=6, drop=0.5)
    header = Header(kind="model", model=spec.to_json())
    write_checkpoint(str(tmp_path / "n.safetensors"), header, model.state_dict())
    loaded = load_model(open_checkpoint(tmp_path / "n.safetensors"))
    assert ModelSpec.from_json(spec.to_json(), "x") == spec
    assert same_function(model.eval(), loaded)


def test_what_draws_without_the_seed_is_named(make: Made) -> None:
    for name, said in (
        ("Functional", r"net.pth: in training the network itself \(Functional\) draws random numbers"),
        ("Attentive", r"attention \(MultiheadAttention\) draws"),
    ):
        with pytest.raises(BadInputError, match=said):
            require_seeded(make(name), SHAPE, "net.pth")
    require_seeded(make("Attentive", dropout=0.0), SHAPE, "net.pth")
    require_seeded(built("Net", make("Net").state_dict(), drop=0.5)[1], SHAPE, "net.pth")


@pytest.mark.parametrize("width", [2, 40])
def test_orthogonal_weights_of_any_shape(make: Made, width: int) -> None:
    """torch makes them of the rotation that it keeps; on tensors without values it cannot."""
    model = make("Net", norm="orthogonal", width=width)
    spec, network = built("Net", model.state_dict(), norm="orthogonal", width=width)
    assert spec.classes == 3
    assert torch.allclose(network.conv.weight, model.conv.weight, atol=1e-6)
    assert same_function(model, network)


def test_the_network_within_a_training(make: Made, caplog: pytest.LogCaptureFixture) -> None:
    """Lightning saves a loss or a metric beside the network; what is left out is named."""
    model = make("Net")
    state = {f"student.{name}": tensor for name, tensor in model.state_dict().items()}
    with caplog.at_level("INFO", "lcstool"):
        _, network = built("Net", state | {"criterion.weight": torch.ones(3)})
    assert same_function(model, network)
    assert "are those under student.; left out: criterion.weight" in caplog.text
    twice = state | {f"teacher.{name}": tensor for name, tensor in model.state_dict().items()}
    with pytest.raises(UsageError, match=r"more than once: under student\., teacher"):
        built("Net", twice)
