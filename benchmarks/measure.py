"""How the benchmarks measure time: all ways take turns in one process, and each gets a least, median and greatest time.

Our way takes turns with a plain baseline and (by `Ceilings`) with a copy and a matrix product, which are the limits of
the machine. So every ratio comes from one run. A benchmark ends with an error if two ways disagree, prints a table, and
writes its numbers with `write_json`, among them its `Target`s: the ratios that it was meant to reach.
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
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
            min_s=min(wall),
            median_s=statistics.median(wall),
            max_s=max(wall),
            cpu_min_s=min(cpu),
            cpu_median_s=statistics.median(cpu),
            cpu_max_s=max(cpu),
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


@dataclass(frozen=True, kw_only=True)
class Target:
    """A ratio that was to be reached, and the one that was.

    Attributes:
        quantity: What is measured, with its size.
        against: The baseline or the limit.
        accept: The least ratio that is good enough, or the greatest where `at_most`.
        ratio: What was measured: of the least times.
        why: Of a miss: where the time goes, by a profile.
    """

    quantity: str
    against: str
    accept: float
    ratio: float
    at_most: bool = False
    why: str = ""

    @property
    def met(self) -> bool:
        return self.ratio <= self.accept if self.at_most else self.ratio >= self.accept


class Ceilings:
    """What the machine can do: bytes copied and multiply-adds of one matrix product, a second each.

    `ways` go into the same `interleave` as what is measured; `of` reads the limits out of what it found.
    """

    COPY_BYTES, SIDE = 1 << 26, 1536

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        source = torch.ones(self.COPY_BYTES // 4, device=device)
        goal = torch.empty_like(source)
        left = torch.randn(self.SIDE, self.SIDE, device=device).to(dtype)
        right, product = left.clone(), torch.empty_like(left)
        self.ways: dict[str, Callable[[], Any]] = {
            "copy of 64 MiB": lambda: goal.copy_(source),
            f"product of {self.SIDE}": lambda: torch.mm(left, right, out=product),
        }

    def of(self, found: dict[str, Timing]) -> dict[str, float]:
        """GB/s, read and written, and GFLOP/s."""
        copy, product = (found[way].min_s for way in self.ways)
        return {
            "copy_gb_per_s": 2e-9 * self.COPY_BYTES / copy,
            "gemm_gflop_per_s": 2e-9 * self.SIDE**3 / product,
        }

    def without(self, found: dict[str, Timing]) -> dict[str, Timing]:
        return {way: timing for way, timing in found.items() if way not in self.ways}


def shown_ceilings(limits: dict[str, float]) -> str:
    return f"copy {limits['copy_gb_per_s']:.1f} GB/s, product {limits['gemm_gflop_per_s']:.0f} GFLOP/s"


def machine(device: torch.device | None = None) -> dict[str, Any]:
    """What the numbers were measured on."""
    names = [
        line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")
    ]
    memory = [int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    cuda = device is not None and device.type == "cuda"
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory[0], 1) if memory else None,
        "gpu": torch.cuda.get_device_name(device) if cuda else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def must_agree(what: str, ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> float:
    """The greatest absolute difference; ends the benchmark where it is above the tolerance or not a number."""
    if ours.shape != theirs.shape:
        sys.exit(f"{what}: the two ways give shapes {tuple(ours.shape)} and {tuple(theirs.shape)}")
    difference = (ours.double().cpu() - theirs.double().cpu()).abs().max().item() if ours.numel() else 0.0
    if math.isnan(difference) or difference > tolerance:
        sys.exit(f"{what}: the two ways differ by {difference:g}, allowed {tolerance:g}")
    return difference


def peak_and_seconds(*arguments: str) -> tuple[int, float]:
    """Peak resident bytes of a process that runs one of our commands, and its wall time."""
    # Not getrusage: its maximum survives exec, so that a child would show its parent's.
    code = (
        "import sys\nfrom lcstool.cli.main import app\ntry:\n app(sys.argv[1:])\nexcept SystemExit as end:\n"
        " if end.code:\n  raise\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')), file=sys.stderr)"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"lcstool {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
    return int(done.stderr.split()[-2]) * 1024, time.perf_counter() - begin


def peer_module(checkout: Path, file: str) -> ModuleType:
    """A Python file of an outside checkout, which may import its neighbours; never part of the package."""
    path = checkout / file
    if not path.is_file():
        sys.exit(f"--peer-dir: {path} is not there; expected a checkout with {file}")
    spec = importlib.util.spec_from_file_location(f"peer_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here too")


def add_peer_option(parser: argparse.ArgumentParser, repository: str) -> None:
    parser.add_argument(
        "--peer-dir", type=Path, metavar="DIR", help=f"a checkout of {repository}, timed as well"
    )


def write_json(
    path: Path | None,
    document: dict[str, Any],
    targets: list[Target] | None = None,
    device: torch.device | None = None,
) -> None:
    """Write a document, in which a Timing is an object of its seconds, with the targets and the machine."""
    if path is not None:
        reached = [asdict(target) | {"met": target.met} for target in targets or []]
        document = {"machine": machine(device), "targets": reached} | document
        path.write_text(json.dumps(document, indent=2, default=asdict) + "\n")
