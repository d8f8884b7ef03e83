"""Whose code may be run, and with which arguments: hostile headers import nothing, read nothing, fetch nothing."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from own_code import importable

from lcstool.errors import BadInputError, LcsError, UsageError
from lcstool.models import ModelSpec
from lcstool.models.arguments import keywords, model_args
from lcstool.models.build import empty_model
from lcstool.models.permission import permit, require_permission
from lcstool.models.registry import is_own_code
from lcstool.options import model_arguments
from lcstool.stages.sharpness.config import SharpnessConfig

ARGS = {"image": [8, 8], "channels": 3, "classes": 3}
OWN = {"arch": "mynet:Net", "args": ARGS}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with `mynet.py` in it."""
    with importable(tmp_path, monkeypatch):
        yield tmp_path


def plug_in(folder: Path) -> None:
    """An installed package's metadata, which declares the network."""
    info = folder / "someone-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: someone\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lcstool.architectures]\nanything = mynet:Net\n")


def test_a_header_does_not_import_code() -> None:
    with pytest.raises(UsageError, match=r"net.safetensors names the network mynet:Net") as caught:
        ModelSpec.from_json(OWN, "net.safetensors")
    assert caught.value.hint is not None
    assert "--model mynet:Net" in caught.value.hint
    with pytest.raises(UsageError, match="whose code is not run"):
        empty_model(ModelSpec(arch="mynet:Net", image=(8, 8), channels=3, classes=3))
    assert "mynet" not in sys.modules


def test_only_the_very_name_is_permitted() -> None:
    SharpnessConfig(file="net.safetensors", model="mynet:Prefixed")
    with pytest.raises(UsageError, match="mynet:Net"):
        ModelSpec.from_json(OWN, "net.safetensors")
    SharpnessConfig(file="net.safetensors", model="mynet:Net")
    empty_model(ModelSpec.from_json(OWN, "net.safetensors"))


def test_an_installed_plug_in_permits_its_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(folder / "site")
    with pytest.raises(UsageError, match="whose code is not run"):
        require_permission("mynet:Net", "x")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder / "site")])
    require_permission("mynet:Net", "x")
    with pytest.raises(UsageError, match="no module 'mynet'"):  # not from the current folder
        empty_model(ModelSpec.from_json(OWN, "net.safetensors"))


def test_the_current_folder_is_no_installed_plug_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(folder)
    monkeypatch.setattr(sys, "path", ["", str(folder), *sys.path])
    with pytest.raises(UsageError, match="whose code is not run"):
        require_permission("mynet:Net", "x")


@pytest.mark.parametrize(
    "name",
    ["timm:hf-hub:someone/net", "timm:local-dir:/tmp/net", "timm:../net", "torchvision:hub", "torchvision:fcn_resnet50",
     "torchvision:resnet18:x", "timm:", "torchvision:"],
)  # fmt: skip
def test_only_registered_names_of_libraries_are_built(name: str) -> None:
    with pytest.raises(LcsError, match=r"has no model|needs timm"):
        empty_model(ModelSpec.from_json({"arch": name, "args": ARGS}, "net.safetensors"))


@pytest.mark.parametrize(
    "arguments",
    [{"pretrained": True}, {"weights": "DEFAULT"}, {"weights": [1]}, {"checkpoint_path": "/etc/passwd"},
     {"pretrained_cfg": "x"}, {"pretrained_cfg_overlay": [1]}, {"cache_dir": "x"}, {"weights_backbone": "DEFAULT"},
     {"url": "http://x"}, {"state_dict": "x"}, {"file": "x"}, {"a": {"b": 1}}, {"a": [[{"b": 1}]]}, {"a.b": 1}, {"": 1},
     {"norm_layer": float("nan")}],
    ids=str,
)  # fmt: skip
def test_arguments_that_read_or_are_not_plain(arguments: dict[str, Any]) -> None:
    spec = {"arch": "torchvision:resnet18", "args": ARGS, "model_args": arguments}
    with pytest.raises(BadInputError, match=r"cannot be built: (model argument|a network takes no argument)"):
        ModelSpec.from_json(spec, "net.safetensors")
    with pytest.raises(UsageError):
        model_args(arguments)


@pytest.mark.parametrize("arguments", [[1], "a", None, 3], ids=str)
def test_arguments_that_are_none(arguments: Any) -> None:
    with pytest.raises(BadInputError, match="cannot be built"):
        ModelSpec.from_json(
            {"arch": "torchvision:resnet18", "args": ARGS, "model_args": arguments}, "net.safetensors"
        )


def test_deep_lists_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(BadInputError, match="cannot be built"):
        ModelSpec.from_json({"arch": "torchvision:resnet18", "args": ARGS, "model_args": {"a": deep}}, "x")


def test_arguments_from_the_command_line() -> None:
    found = model_arguments(
        ("width=8", "rate=0.5", "act=relu", "sizes=[3, (5, 7)]", "flag=True", "name=a=b", "no=None")
    )
    assert dict(found) == {
        "width": 8, "rate": 0.5, "act": "relu", "sizes": (3, (5, 7)), "flag": True, "name": "a=b", "no": None,
    }  # fmt: skip
    assert keywords(found)["sizes"] == [3, [5, 7]]
    assert hash(found) is not None
    assert model_arguments(("pretrained=False",)) == (("pretrained", False),)
    for entries, said in (
        (("width",), "not of the form NAME=VALUE"),
        (("a b=1",), "NAME=VALUE"),
        (("a=1", "a=2"), "gives 'a' twice"),
        (("a={1: 2}",), "neither a number"),
        (("pretrained=True",), "would read other files"),
    ):
        with pytest.raises(UsageError, match=said):
            model_arguments(entries)


def test_what_the_name_of_a_network_looks_like() -> None:
    assert all(map(is_own_code, ("a:B", "a.b:C", "a_1.b:C.d")))
    assert not any(
        map(is_own_code, ("torchvision:x", "timm:x", "resnet18", "a:", ":b", "a:b:c", "a/b:c", "a.:b", "1:b"))
    )
    for wrong in ("resnet8", "a/b:c", ""):
        with pytest.raises(UsageError, match="is no network"):
            SharpnessConfig(file="x", model=wrong)


def test_a_network_of_ones_own_does_not_shadow_a_name_of_the_registry() -> None:
    permit("mynet:Net")
    with pytest.raises(UsageError, match="resnet18 takes no argument 'width'"):
        ModelSpec(arch="resnet18", image=(8, 8), channels=3, classes=3, model_args=(("width", 3),))
