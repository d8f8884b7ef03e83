"""What `lcstool train` says once of a run that is slower than it was meant to be."""

from typing import Any

import pytest

from lcstool.cli.train_report import TrainProgress

RECORD: dict[str, Any] = {
    "epoch": 1, "density": {"layer1": 0.5}, "train_accuracy_frac": 0.5, "test_accuracy_frac": 0.5, "images_per_s": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("quiet", [False, True])
def test_a_warning_is_told_once(quiet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    progress = TrainProgress(quiet)
    for warnings in ([], ["no graph"], ["no graph", "no pass"], ["no graph"]):
        progress.on_epoch(RECORD | ({"warnings": warnings} if warnings else {}))
    said = capfd.readouterr().err
    assert said.count("no graph") == said.count("no pass") == (0 if quiet else 1)
    assert said.count("epoch 1") == (0 if quiet else 4)
