"""How the benchmarks time: ways interleaved in one process, each with its least, median and greatest time."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of one way over the rounds. The least is what the work takes; the rest is what else the machine did."""

    min_s: float
    median_s: float
    max_s: float
    cpu_min_s: float
    cpu_median_s: float
    cpu_max_s: float

    @staticmethod
    def of(wall: list[float], cpu: list[float]) -> "Timing":
        return Timing(
            min(wall), statistics.median(wall), max(wall), min(cpu), statistics.median(cpu), max(cpu)
        )

    def cells(self) -> str:
        wall = f"{1e3 * self.min_s:.2f} / {1e3 * self.median_s:.2f} / {1e3 * self.max_s:.2f}"
        cpu = f"{1e3 * self.cpu_min_s:.2f} / {1e3 * self.cpu_median_s:.2f} / {1e3 * self.cpu_max_s:.2f}"
        return f"{wall} | {cpu}"


def interleave(
    ways: dict[str, Callable[[], Any]], rounds: int, device: torch.device | None = None
) -> dict[str, Timing]:
    """Time each way once a round; one round before the first is not counted."""
    wall: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}

    def synchronize() -> None:
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(rounds + 1):
        for way, run in ways.items():
            synchronize()
            begin, cpu_begin = time.perf_counter(), time.process_time()
            run()
            synchronize()
            wall[way].append(time.perf_counter() - begin)
            cpu[way].append(time.process_time() - cpu_begin)
    return {way: Timing.of(wall[way][1:], cpu[way][1:]) for way in ways}


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here too")


def write_json(path: Path | None, document: dict[str, Any]) -> None:
    """Write a document, in which a Timing is an object of its seconds."""
    if path is not None:
        path.write_text(json.dumps(document, indent=2, default=asdict) + "\n")
