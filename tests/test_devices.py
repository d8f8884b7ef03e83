"""Devices by name, and what does not fit in their memory."""

from pathlib import Path

import pytest
import torch

from lcstool.devices import memory_errors, require_memory, resolve_device
from lcstool.errors import DeviceError, UsageError


@pytest.mark.parametrize("name", ["tpu", "", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CPU"])
def test_a_device_that_is_none(name: str) -> None:
    with pytest.raises(UsageError, match="is not one of auto, cpu, cuda, cuda:i"):
        resolve_device(name)


def test_devices_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(DeviceError, match="sees no GPU here") as caught:
            resolve_device(name)
        assert caught.value.hint == "use --device cpu"


def test_devices_with_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda:0").index == 0
    with pytest.raises(DeviceError, match="the GPUs seen end at cuda:0"):
        resolve_device("cuda:1")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory.\nmore"), MemoryError(),
              RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried")],
)  # fmt: skip
def test_out_of_memory_is_a_device_error(error: Exception) -> None:
    with pytest.raises(DeviceError, match="out of memory") as caught, memory_errors():
        raise error
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 5


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_errors():
        raise RuntimeError("shape")


def test_what_cannot_fit_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcstool.devices.host_memory_bytes", lambda: 2_000_000_000)
    require_memory(2_000_000_000, torch.device("cpu"), "a net")
    with pytest.raises(DeviceError, match=r"a net takes about 2\.5 GB, and cpu has 2\.0 GB"):
        require_memory(2_500_000_000, torch.device("cpu"), "a net")


@pytest.mark.parametrize("stage", ["embed", "interpolate", "sharpness"])
def test_stages_ask_before_they_allocate(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine of a few bytes each ends with exit code 5 and writes nothing."""
    from lcstool.checkpoint import Header, write_checkpoint
    from lcstool.models import ModelSpec, build_model
    from lcstool.stages.embed.config import EmbedConfig
    from lcstool.stages.embed.stage import embed
    from lcstool.stages.interpolate.config import InterpolateConfig
    from lcstool.stages.interpolate.stage import interpolate
    from lcstool.stages.sharpness.config import SharpnessConfig
    from lcstool.stages.sharpness.stage import sharpness

    spec = ModelSpec(arch="vanilla-cnn", image=(16, 16), channels=3, classes=10, alpha=1)
    constants = {"mean": [0.5] * 3, "std": [0.2] * 3}
    file, out = str(tmp_path / "net.safetensors"), str(tmp_path / "out.safetensors")
    write_checkpoint(
        file,
        Header(kind="model", model=spec.to_json(), input=constants),
        dict(build_model(spec).state_dict()),
    )
    monkeypatch.setattr("lcstool.devices.host_memory_bytes", lambda: 1000)
    run = {
        "embed": lambda: embed(EmbedConfig(file=file), out),
        "interpolate": lambda: interpolate(
            InterpolateConfig(
                files=(file, file), method="string", dataset="leaves", train_size=20, device="cpu"
            ),
            out,
        ),
        "sharpness": lambda: sharpness(
            SharpnessConfig(file=file, dataset="leaves", train_size=20, device="cpu")
        ),
    }[stage]
    with pytest.raises(DeviceError, match="takes about"):
        run()
    assert not Path(out).exists()
