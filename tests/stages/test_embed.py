"""The embed stage: files in, files out, refusals; the mathematics is tested with the models."""

import dataclasses
from pathlib import Path

import pytest
import torch

from lcstool.checkpoint import Header, StreamedTensor, open_checkpoint, write_checkpoint
from lcstool.errors import BadInputError, CheckFailedError, UsageError
from lcstool.models import ModelSpec, build_model, load_model
from lcstool.models.build import empty_model
from lcstool.models.embedding.tensors import embedded_tensors
from lcstool.stages.embed import verify as verify_module
from lcstool.stages.embed.config import EmbedConfig
from lcstool.stages.embed.plan import plan
from lcstool.stages.embed.source import choose_layers, open_source
from lcstool.stages.embed.stage import embed


def write_model(path: Path, arch: str = "s-conv", **changes: object) -> ModelSpec:
    spec = dataclasses.replace(ModelSpec(arch=arch, image=(10, 9), channels=2, classes=3, alpha=2), **changes)  # type: ignore[arg-type]
    fields = {"mean": [0.5] * spec.channels, "std": [0.25] * spec.channels, "permute_pixels": None}
    write_checkpoint(
        path, Header(kind="model", model=spec.to_json(), input=fields), build_model(spec).state_dict()
    )
    return spec


@pytest.mark.parametrize("storage", ["dense", "csr"])
@pytest.mark.parametrize("to", ["fc", "local"])
def test_the_written_network_computes_the_same(to: str, storage: str, tmp_path: Path) -> None:
    source, out = tmp_path / "cnn.safetensors", tmp_path / "out.safetensors"
    spec = write_model(source, "resnet18")
    result = embed(EmbedConfig(file=str(source), to=to, storage=storage), str(out))
    assert result.max_difference["random"] <= 1e-10 * max(1.0, result.largest_logit)
    written = open_checkpoint(out)
    images = torch.randn(3, *spec.in_shape)
    one, other = load_model(open_checkpoint(source)).eval(), load_model(written).eval()
    torch.testing.assert_close(other(images), one(images))
    assert written.header is not None
    assert written.header.history[-1]["stage"] == "embed"
    assert written.header.history[-1]["inputs"]["model"] == open_checkpoint(source).digest()
    assert written.is_compressed("conv1.weight") == (storage == "csr" and to == "fc")


def test_dense_and_csr_files_have_one_content(tmp_path: Path) -> None:
    write_model(tmp_path / "cnn.safetensors")
    for storage in ("dense", "csr"):
        embed(EmbedConfig(file=str(tmp_path / "cnn.safetensors"), storage=storage), str(tmp_path / storage))
    assert open_checkpoint(tmp_path / "dense").digest() == open_checkpoint(tmp_path / "csr").digest()
    embed(EmbedConfig(file=str(tmp_path / "cnn.safetensors")), str(tmp_path / "again"))
    assert (tmp_path / "dense").read_bytes() == (tmp_path / "again").read_bytes()


def test_some_layers_then_the_others_and_local_to_fc(tmp_path: Path) -> None:
    source = tmp_path / "cnn.safetensors"
    spec = write_model(source, "vanilla-cnn")
    embed(EmbedConfig(file=str(source), layers=("layer1", "layer2"), to="local"), str(tmp_path / "a"))
    assert type(load_model(open_checkpoint(tmp_path / "a")).get_submodule("layer3")).__name__ == "Conv2d"
    embed(EmbedConfig(file=str(tmp_path / "a")), str(tmp_path / "b"))
    both = load_model(open_checkpoint(tmp_path / "b"))
    kinds = {type(both.get_submodule(f"layer{index}")).__name__ for index in (1, 2, 3)}
    assert kinds == {"FullyConnected2d"}
    images = torch.randn(3, *spec.in_shape)
    torch.testing.assert_close(both.eval()(images), load_model(open_checkpoint(source)).eval()(images))


def test_a_difference_is_exit_four_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "cnn.safetensors")
    original = verify_module.streamed_network

    def off_by_a_little(spec: ModelSpec, tensors: dict) -> torch.nn.Module:
        network = original(spec, tensors)
        network.get_submodule("layer3").bias.data += 1e-6
        return network

    monkeypatch.setattr(verify_module, "streamed_network", off_by_a_little)
    with pytest.raises(CheckFailedError, match="the logits differ by 1e-06"):
        embed(EmbedConfig(file=str(tmp_path / "cnn.safetensors")), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_plan_says_what_is_written(tmp_path: Path) -> None:
    source = tmp_path / "cnn.safetensors"
    write_model(source, "vanilla-cnn")
    for storage in ("dense", "csr", "auto"):
        config = EmbedConfig(file=str(source), storage=storage)
        opened = open_source(config)
        sizes = plan(config, opened, choose_layers(config, opened))
        embed(config, str(tmp_path / "out"))
        written = open_checkpoint(tmp_path / "out")
        size = (tmp_path / "out").stat().st_size
        assert sizes.file_bytes <= size <= sizes.file_bytes + 16_384
        for layer in sizes.layers:
            weight = written[f"{layer.name}.weight"]
            assert weight.shape == (layer.rows, layer.columns)
            assert torch.count_nonzero(weight) <= layer.nonzeros
            assert layer.dense_bytes == weight.nbytes
            assert written.is_compressed(f"{layer.name}.weight") == (layer.storage == "csr")
            if storage == "auto":
                assert layer.stored_bytes == min(layer.dense_bytes, layer.csr_bytes)


def test_foreign_state_dicts(tmp_path: Path) -> None:
    spec = ModelSpec(arch="torchvision:resnet18", image=(32, 32), channels=3, classes=7)
    model = empty_model(spec).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.1)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "ddp.pth"
    )
    names = {"model": "torchvision:resnet18", "input": "3x32x32", "layers": ("layer4.*",)}
    for source in ("net.pt", "ddp.pth"):
        embed(EmbedConfig(file=str(tmp_path / source), **names), str(tmp_path / "out"))  # type: ignore[arg-type]
        assert load_model(open_checkpoint(tmp_path / "out")).get_submodule("fc").out_features == 7
    with pytest.raises(BadInputError, match="which torchvision:resnet34 needs"):
        embed(EmbedConfig(file=str(tmp_path / "net.pt"), **names | {"model": "torchvision:resnet34"}), "x")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="torchvision has no model"):
        embed(EmbedConfig(file=str(tmp_path / "net.pt"), **names | {"model": "torchvision:nothing"}), "x")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="does not say what network"):
        embed(EmbedConfig(file=str(tmp_path / "net.pt")), "x")


class Malicious:
    def __reduce__(self) -> object:
        return (print, ("code ran",))


def test_a_pickle_with_code_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": Malicious()}, tmp_path / "evil.pt")
    config = EmbedConfig(file=str(tmp_path / "evil.pt"), model="torchvision:resnet18", input="3x32x32")
    with pytest.raises(BadInputError, match="is not a state dict"):
        embed(config, str(tmp_path / "out"))
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": ("layer9",)}, "matches none of layer1"),
        ({"to": "conv"}, "to 'conv' is not one of"),
        ({"input": "3x32x32"}, "--input has no effect without --model"),
        ({"model": "torchvision:resnet18"}, "holds s-conv, not torchvision:resnet18"),
        ({"model": "s-conv", "input": "3x32x32"}, "--input has no effect on a file that says"),
        ({"model": "torchvision:vgg11", "input": "32x32"}, "is not of the form CxHxW"),
        ({"model": "resnet8", "input": "3x32x32"}, "model 'resnet8' is no network"),
        ({"model": "vanilla-cnn", "model_arg": ("alpha",)}, "not of the form NAME=VALUE"),
        ({"fold_bn": True, "norm": "channels"}, "contradict"),
        ({"tolerance": -1.0}, "tolerance must be"),
    ],
)
def test_usage_errors(changes: dict, said: str, tmp_path: Path) -> None:
    write_model(tmp_path / "cnn.safetensors")
    with pytest.raises(UsageError, match=said):
        embed(EmbedConfig(file=str(tmp_path / "cnn.safetensors"), **changes), str(tmp_path / "out"))


def test_a_network_without_convolutions_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "fc.safetensors", "3-fc")
    with pytest.raises(BadInputError, match="nothing in it convolves"):
        embed(EmbedConfig(file=str(tmp_path / "fc.safetensors")), str(tmp_path / "out"))


@pytest.mark.parametrize("norm", ["units", "folded"])
def test_the_check_sees_a_lost_matrix_even_in_an_untrained_network(norm: str, tmp_path: Path) -> None:
    """At initialisation the last bias dwarfs what the layers do, so the check is relative to what images change."""
    write_model(tmp_path / "cnn.safetensors", "d-conv")
    config = EmbedConfig(file=str(tmp_path / "cnn.safetensors"), norm=norm)
    source = open_source(config)
    embedding = choose_layers(config, source)
    tensors = embedded_tensors(source.model, source.found, embedding)
    spec = dataclasses.replace(source.spec, embedding=embedding)
    verify_module.verify(config, source, spec, embedding, tensors)
    lost = tensors["layer8.weight"]
    assert isinstance(lost, StreamedTensor)
    tensors["layer8.weight"] = dataclasses.replace(
        lost, blocks=lambda: (0 * block for block in lost.blocks())
    )
    with pytest.raises(CheckFailedError, match="of their spread"):
        verify_module.verify(config, source, spec, embedding, tensors)
