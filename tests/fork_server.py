"""Runs Python programs, each in a process of its own that need not import torch once more.

Started by `forking.py`, with a socket that listens; `fork_client.py` says what a client may ask. This process computes
nothing, so that it has a single thread and may fork. It ends when its standard input does.
"""

import io
import json
import os
import resource
import runpy
import select
import signal
import socket
import sys
import traceback
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

WARM = ("torch", "torchvision.datasets", "yaml", "rich.table", "rich.progress", "matplotlib.backends.backend_agg",
        "matplotlib.backends.backend_pdf", "scipy.special", "lcstool.models.build", "lcstool.stages.info.stage",
        "lcstool.stages.train.stage", "lcstool.stages.train.plan")  # fmt: skip
#: What is drawn more quickly than by the figures' own style: few pixels, and fonts as they are drawn.
COARSE = {"savefig.dpi": 40, "pdf.fonttype": 3}


def serve(listener: socket.socket) -> None:
    """Start a process for each client, kill those whose clients hang up, and tell the others the exit codes."""
    running: dict[int, socket.socket] = {}
    ended, wake = socket.socketpair()
    for end in (ended, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready, _, _ = select.select([sys.stdin, listener, ended, *running.values()], [], [])
        if sys.stdin in ready:
            return
        for pid, client in running.items():
            if client in ready:
                os.kill(pid, signal.SIGKILL)
        if ended in ready:
            ended.recv(1000)
            for pid, code in exits(running):
                with running.pop(pid) as client:
                    tell(client, code)
        if listener in ready:
            client, _ = listener.accept()
            pid = start(client)
            running[pid] = client
            tell(client, pid)


def exits(running: dict[int, socket.socket]) -> list[tuple[int, int]]:
    found = [os.waitpid(pid, os.WNOHANG) for pid in running]
    return [(pid, os.waitstatus_to_exitcode(status)) for pid, status in found if pid]


def tell(client: socket.socket, number: int) -> None:
    with suppress(OSError):  # it has hung up
        client.sendall(f"{number}\n".encode())


def start(client: socket.socket) -> int:
    """Fork the process that a client asks for, and return its number."""
    _, streams, _, _ = socket.recv_fds(client, 1, 3)
    with client.makefile("r") as lines:
        request = json.loads(lines.readline())
    pid = os.fork()
    if not pid:
        become(request, streams)
    for stream in streams:
        os.close(stream)
    return pid


def become(request: dict[str, Any], streams: list[int]) -> None:
    """In the new process: take the folder, streams and arguments asked for, and run the program."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        if request["file_bytes"] is not None:
            sys.dont_write_bytecode = True  # or a module's .pyc is cut short as well
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        run(request["argv"])
        sys.stdout.flush()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def run(argv: list[str]) -> None:
    """As `python ARGV` does, for `-m MODULE` and scripts."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [entry for entry in path if entry not in sys.path]
    if argv[0] == "-m":
        sys.path[0] = os.getcwd()
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(argv[0]).resolve().parent)
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    for name in WARM:
        import_module(name)
    with redirect_stdout(io.StringIO()):  # what a command line imports when it is read
        import_module("lcstool.cli.main").app(["train", "--print-config"], standalone_mode=False)
    if "--coarse" in sys.argv:
        import_module("lcstool.plots.style")._STYLE.update(COARSE)
    serve(socket.socket(fileno=int(sys.argv[1])))
