"""Runs a Python program in a process that the fork server makes, so that torch need not be imported once more.

    python -IS fork_client.py ADDRESS -m lcstool ARGUMENTS
    python -IS fork_client.py ADDRESS SCRIPT ARGUMENTS

stands in for `python -m lcstool ARGUMENTS` and `python SCRIPT ARGUMENTS`: the same folder, environment, streams and
exit code. SIGINT and SIGTERM are passed on; if this client is killed, so is the process.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress


class Forked:
    """A process of the fork server: `argv` is what follows `python`, `streams` are the three standard ones' numbers."""

    def __init__(
        self,
        address: str,
        argv: Iterable[str],
        streams: Iterable[int] = (0, 1, 2),
        *,
        cwd: str,
        env: Mapping[str, str],
        file_bytes: int | None = None,
    ) -> None:
        request = {"argv": [*argv], "cwd": cwd, "env": dict(env), "file_bytes": file_bytes}
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(address)
        socket.send_fds(self._connection, [b"\n"], [*streams])
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        self._answers = self._connection.makefile("r")
        self.pid = int(self._answers.readline())

    def wait(self, kill_after: float | None = None) -> int:
        """The exit code, -N if signal N ended the process; after so many seconds it is killed."""
        if not select.select([self._connection], [], [], kill_after)[0]:  # then hang up
            self._connection.shutdown(socket.SHUT_WR)
        code = int(self._answers.readline())
        self._answers.close()
        self._connection.close()
        return code


def main() -> None:
    process = Forked(sys.argv[1], sys.argv[2:], cwd=os.getcwd(), env=os.environ)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(process.pid, number))
    code = process.wait()
    if code < 0:
        with suppress(OSError):  # SIGKILL has no other handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
