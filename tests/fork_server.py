"""Runs command lines one after another, each in a process of its own that need not import torch again.

Started by the `run_cli` fixture. A line of JSON in, a line of JSON out; the commands' own streams are files.
This process computes nothing, so that it has a single thread and may fork.
"""

import json
import os
import resource
import signal
import sys
import time
import traceback
from importlib import import_module
from typing import Any

WARM = ("torch", "torchvision.datasets", "yaml", "rich.table", "rich.progress", "lcstool.cli.main",
        "lcstool.models.build", "lcstool.stages.info.stage", "lcstool.stages.train.stage",
        "lcstool.stages.train.plan")  # fmt: skip


def become(request: dict[str, Any]) -> None:
    """In the child: take the request's folder, streams and arguments, and run the command."""
    code = 1
    try:
        os.chdir(request["cwd"])
        os.environ.update(request["env"])
        if request.get("file_bytes") is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(request[name], flags), number)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.argv = ["lcstool", *request["argv"]]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import_module("lcstool.cli.main").main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    for name in WARM:
        import_module(name)
    while line := sys.stdin.readline():
        child = os.fork()
        request = json.loads(line)
        if not child:
            become(request)
        print(json.dumps(wait(child, request.get("kill_after"))), flush=True)


def wait(child: int, kill_after: float | None) -> int:
    """The child's exit code, -9 if it had to be killed since it still ran after so many seconds."""
    if kill_after is not None:
        end = time.monotonic() + kill_after
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    serve()
