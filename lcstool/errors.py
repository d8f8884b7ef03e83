"""What can go wrong for a user, each with its exit code and a hint.

Everything the library raises on purpose is an LcsError; anything else that escapes is a bug (exit code 1).
"""


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


class LcsError(Exception):
    """A mistake or a failure that a user can act on.

    Args:
        message: What was wrong and where (file, tensor), expected against found.
        hint: What to do about it.

    Attributes:
        message, hint: One line each: names from a stranger's file may hold line breaks, which become spaces.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = _one_line(message)
        self.hint = None if hint is None else _one_line(hint)


class UsageError(LcsError):
    """The command's words or the configuration do not make sense (exit code 2)."""

    exit_code = 2


class BadInputError(LcsError):
    """Input that cannot be used: unreadable, of the wrong kind or shape, non-finite (exit code 3)."""

    exit_code = 3


class UnreadTensorError(BadInputError):
    """A tensor of a kind whose values are not read: quantised, or without any (exit code 3)."""


class OutputError(BadInputError):
    """An output that cannot be written: read-only folder, full disk, name already taken (exit code 3)."""


class NonFiniteError(BadInputError):
    """A loss or weight became NaN or infinite (exit code 3)."""


class CheckFailedError(LcsError):
    """A check that was asked for, or that always runs, did not hold (exit code 4)."""

    exit_code = 4


class DeviceError(LcsError):
    """The asked-for device is missing or its memory does not suffice (exit code 5)."""

    exit_code = 5


class InterruptedRunError(LcsError):
    """The run was stopped by SIGINT or SIGTERM after saving what it had (exit code 130)."""

    exit_code = 130
