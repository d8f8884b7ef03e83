"""What runs of the command are given: an environment that changes no output, and names for their files."""

import os
from pathlib import Path

from lcstool.stages.train.outputs import TrainOutputs


def environment(**extra: str) -> dict[str, str]:
    """The caller's environment without anything that changes output, with one thread."""
    kept = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    return kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": "1"} | extra


def outputs_of(out: Path) -> TrainOutputs:
    """The files beside `out`, named as the command names them."""
    stem = str(out).removesuffix(".safetensors")
    return TrainOutputs(
        out=str(out),
        partial=Path(f"{stem}.partial.safetensors"),
        metrics=Path(f"{stem}.metrics.jsonl"),
        snapshot=f"{stem}.epoch{{epoch}}.safetensors",
    )
