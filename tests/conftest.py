"""Fixtures that several folders of tests share: tiny data, tiny runs, and the command as a real process."""

import os

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read when numpy and torch are imported; for each of the workers

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest
from fork_client import Forked
from forking import forking
from hypothesis import settings
from surroundings import environment, outputs_of

from lcstool.stages.train.config import TrainConfig
from lcstool.stages.train.result import TrainResult
from lcstool.stages.train.stage import train

HERE = Path(__file__).parent
CLASSES = 4


@dataclass(frozen=True)
class Finished:
    """What a process left: exit code, what it printed, and what it said."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stderr.splitlines()


def pytest_configure(config: pytest.Config) -> None:
    """Property tests try fewer examples in the default run than where long tests are asked for."""
    settings.register_profile("default run", max_examples=5, deadline=None)
    settings.register_profile("long run", max_examples=100, deadline=None)
    settings.load_profile("default run" if config.option.markexpr == "not long" else "long run")


@pytest.fixture(scope="session", autouse=True)
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Whatever makes or downloads data keeps it here, never in the user's own cache."""
    path = tmp_path_factory.mktemp("lcstool-data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LCSTOOL_DATA", str(path))
        yield path


SHARED = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give all workers of pytest-xdist one such process, which runs until the last of them has ended."""
    if SHARED not in node.config.stash:
        server = ExitStack()
        node.config.add_cleanup(server.close)
        node.config.stash[SHARED] = server.enter_context(forking())
    node.workerinput["fork_server"] = node.config.stash[SHARED]


@pytest.fixture(scope="session")
def fork_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The workers' forking process, or, where there are none, one of this process's own."""
    shared = getattr(request.config, "workerinput", {}).get("fork_server")
    with nullcontext(shared) if shared else forking() as address:
        yield address


@pytest.fixture(scope="session")
def forked_python(fork_server: str) -> tuple[str, ...]:
    """Words that stand in for `python` before `-m lcstool` or a script, and save the seconds of a start."""
    return (sys.executable, "-IS", str(HERE / "fork_client.py"), fork_server)


@pytest.fixture(scope="session")
def forked_programs(forked_python: tuple[str, ...]) -> tuple[str, str]:
    """Variables for the examples' Makefiles, whose programs are then forked."""
    python = shlex.join(forked_python)
    return (f"PYTHON={python}", f"LCSTOOL={python} -m lcstool")


@pytest.fixture
def run_cli(tmp_path: Path, fork_server: str) -> Callable[..., Finished]:
    """Run `lcstool ARGS` as a process in the test's own folder.

    It is forked from a process that knows torch already, since a start takes two seconds; `fresh=True` starts
    `python -m lcstool` from nothing. `kill_after` sends SIGKILL after so many seconds; `file_bytes` is a disk that is
    full when a file has grown to that size.
    """

    def run(
        *args: object,
        stdin: bytes = b"",
        fresh: bool = False,
        kill_after: float | None = None,
        file_bytes: int | None = None,
        **env: str,
    ) -> Finished:
        argv = ["-m", "lcstool", *map(str, args)]
        surroundings = {"cwd": str(tmp_path), "env": environment(**env)}
        with TemporaryFile() as given, TemporaryFile() as printed, TemporaryFile() as said:
            given.write(stdin)
            given.seek(0)
            if fresh:
                done = subprocess.run(
                    [sys.executable, *argv],
                    stdin=given,
                    stdout=printed,
                    stderr=said,
                    timeout=120,
                    **surroundings,
                )
                code = done.returncode
            else:
                streams = [stream.fileno() for stream in (given, printed, said)]
                process = Forked(fork_server, argv, streams, file_bytes=file_bytes, **surroundings)
                code = process.wait(kill_after)
            for stream in (printed, said):
                stream.seek(0)
            return Finished(code, printed.read(), said.read().decode())

    return run


@pytest.fixture
def started_cli(tmp_path: Path, forked_python: tuple[str, ...]) -> Callable[..., Any]:
    """Start `lcstool ARGS` without waiting for it; a context manager that leaves no process behind."""

    @contextmanager
    def start(*args: object, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
        command = [*forked_python, "-m", "lcstool", *map(str, args)]
        with subprocess.Popen(command, cwd=tmp_path, env=environment(), **options) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    return start


@pytest.fixture
def told() -> Callable[[str], tuple[list[str], list[str]]]:
    """The `error:` and `hint:` lines of what a command said; anything else, a traceback above all, fails."""

    def split(stderr: str) -> tuple[list[str], list[str]]:
        assert "Traceback" not in stderr, stderr.splitlines()[-1]
        lines = stderr.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        hints = [line for line in lines if line.startswith("hint: ")]
        assert len(errors) == 1, stderr
        assert len(hints) <= 1, stderr
        assert len(errors) + len(hints) == len(lines), stderr
        return errors, hints

    return split


def image_arrays(
    num_train: int = 64,
    num_test: int = 32,
    classes: int = CLASSES,
    side: int | tuple[int, int] = 16,
    channels: int = 3,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Noise with one bright row a class: a net learns it within an epoch or two."""
    rng = np.random.default_rng(seed)
    height, width = (side, side) if isinstance(side, int) else side
    arrays = {}
    for split, count in (("train", num_train), ("test", num_test)):
        labels = np.arange(count) % classes
        images = rng.integers(0, 160, (count, height, width, channels), dtype=np.uint8)
        images[np.arange(count), labels * height // classes] = 255
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images, labels
    return arrays


@pytest.fixture(scope="session")
def make_npz() -> Callable[..., Path]:
    """Write an .npz data set: `make_npz(path, side=8, ...)`, arrays replaced or (None) left out by `arrays`."""

    def make(path: Path, arrays: dict[str, Any] | None = None, **sizes: Any) -> Path:
        content = image_arrays(**sizes) | (arrays or {})
        np.savez(path, **{name: value for name, value in content.items() if value is not None})
        return path

    return make


@pytest.fixture(scope="session")
def tiny_npz(tmp_path_factory: pytest.TempPathFactory, make_npz: Callable[..., Path]) -> Path:
    """64 training and 32 test images of 16x16x3 in four classes."""
    return make_npz(tmp_path_factory.mktemp("data") / "tiny.npz")


@pytest.fixture
def tiny_config(tiny_npz: Path) -> Callable[..., TrainConfig]:
    """A configuration of two epochs of four steps of a small s-fc; fields may be changed."""

    def make(**changes: Any) -> TrainConfig:
        fields = {
            "dataset": f"npz:{tiny_npz}", "alpha": 1, "epochs": 2, "batch_size": 16, "augment": "none",
            "device": "cpu",
        }  # fmt: skip
        if changes.get("optim", "sgd" if "init" in changes else "beta-lasso") == "beta-lasso":
            fields |= {"lambda_conv": 1e-3, "lambda_fc": 1e-3}
        if "init" in changes:
            del fields["alpha"]
        return TrainConfig(**(fields | changes))

    return make


@pytest.fixture
def run_train(tmp_path: Path) -> Callable[..., TrainResult]:
    """Train in this process: `run_train(config, "a.safetensors")`, stopped after `stop_after` steps if given."""

    def run(
        config: TrainConfig,
        name: str = "net.safetensors",
        resume: bool = False,
        stop_after: int | None = None,
    ) -> TrainResult:
        steps = iter(range(1, 10**6))

        def stop() -> bool:
            return stop_after is not None and next(steps) >= stop_after

        return train(config, outputs_of(tmp_path / name), resume=resume, stop_requested=stop)

    return run
