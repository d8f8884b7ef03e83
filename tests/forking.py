"""Starts the process that forks for every command (`fork_server.py`)."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from amounts import is_long
from surroundings import environment


@contextmanager
def forking() -> Iterator[str]:
    """The address of a process that has imported torch once and forks for every command.

    It draws coarse figures, but for the long run.
    """
    with TemporaryDirectory() as folder:
        address = f"{folder}/server"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            number = listener.fileno()
            command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(number)]
            command += [] if is_long() else ["--coarse"]
            server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[number], env=environment())
        with server:  # at its end standard input is closed, which ends the server
            yield address
