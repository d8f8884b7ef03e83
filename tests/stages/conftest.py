"""What the tests of the energy stage share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcstool.stages.energy.config import EnergyConfig
from lcstool.stages.energy.result import EnergyResult
from lcstool.stages.energy.stage import energy


@pytest.fixture
def measured(tiny_npz: Path) -> Callable[..., EnergyResult]:
    """Measure files on the tiny data set."""

    def run(
        *files: Path, out: Path | None = None, basis_out: Path | None = None, **options: Any
    ) -> EnergyResult:
        fields = {"dataset": f"npz:{tiny_npz}", "draws": 50} | options
        config = EnergyConfig(files=tuple(map(str, files)), **fields)
        return energy(
            config, None if out is None else str(out), None if basis_out is None else str(basis_out)
        )

    return run


@pytest.fixture
def s_conv(run_train: Callable[..., Any], tiny_config: Callable[..., Any], tmp_path: Path) -> Path:
    run_train(tiny_config(arch="s-conv", alpha=4, optim="sgd"), "conv.safetensors")
    return tmp_path / "conv.safetensors"
