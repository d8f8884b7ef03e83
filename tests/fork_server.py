"""Runs command lines one after another, each in a process of its own that need not import torch again.

Started by the `run_cli` fixture. A line of JSON in, a line of JSON out; the commands' own streams are files.
This process computes nothing, so that it has a single thread and may fork.
"""

import json
import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Any

WARM = ("torch", "torchvision.datasets", "yaml", "rich.table", "rich.progress", "lcstool.cli", "lcstool.models.build",
        "lcstool.stages.info", "lcstool.stages.train.stage", "lcstool.stages.train.plan")  # fmt: skip


def become(request: dict[str, Any]) -> None:
    """In the child: take the request's folder, streams and arguments, and run the command."""
    code = 1
    try:
        os.chdir(request["cwd"])
        os.environ.update(request["env"])
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(request[name], flags), number)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.argv = ["lcstool", *request["argv"]]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import_module("lcstool.cli").main()
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
        if not child:
            become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


if __name__ == "__main__":
    serve()
