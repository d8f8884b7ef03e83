"""Several runs on the ranks of one torchrun, told in JSON: what each rank had, and how each run ended.

    torchrun ... split_runs.py RUNS.json

RUNS.json holds a list of runs: `config`, `out`, and optionally `resume`, `stop_after` (steps, on the last rank) and
`memory` (bytes a rank is taken to have). Each rank writes RUNS.json.RANK.
"""

import json
import sys
from itertools import count
from pathlib import Path
from typing import Any

from surroundings import outputs_of

from lcstool.devices import local_part
from lcstool.distributed import Group, join, shards
from lcstool.errors import LcsError
from lcstool.stages.train import placement
from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.progress import Silent
from lcstool.stages.train.setup import Setup
from lcstool.stages.train.stage import train


class Watcher(Silent):
    """Keeps the setup, to be looked at when the run has ended."""

    setup: Setup | None = None

    def on_start(self, setup: Setup, num_steps: int, done_steps: int) -> None:
        self.setup = setup


def run(entry: dict[str, Any], group: Group) -> dict[str, Any]:
    steps, watcher = count(1), Watcher()
    if "memory" in entry:
        placement.available_memory = lambda _: entry["memory"]  # type: ignore[assignment]

    def stop() -> bool:
        return next(steps) == entry.get("stop_after") and group.rank == group.size - 1

    found: dict[str, Any] = {}
    try:
        config = TrainConfig(**entry["config"])
        result = train(
            config, outputs_of(Path(entry["out"])), entry.get("resume", False), watcher, stop, group
        )
        found |= {"epochs": result.epochs, "metrics": result.metrics}
    except LcsError as error:
        found["error"] = f"{type(error).__name__}: {error.message}"
    if watcher.setup is not None:
        parameters = dict(watcher.setup.model.named_parameters())
        memory = [state.get("momentum_buffer") for state in watcher.setup.optimizer.state.values()]
        found["split"] = watcher.setup.is_split
        found["here"] = {name: local_part(p).numel() for name, p in parameters.items()}
        found["in_all"] = {name: p.numel() for name, p in parameters.items()}
        found["memory"] = sum(local_part(buffer).numel() for buffer in memory if buffer is not None)
    return found


def main() -> None:
    path = Path(sys.argv[1])
    shards._BLOCK_BYTES = 500  # so that tensors of tiny networks are sent in several blocks
    with join() as group:
        found = [run(entry, group) for entry in json.loads(path.read_text())]
        path.with_name(f"{path.name}.{group.rank}").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
