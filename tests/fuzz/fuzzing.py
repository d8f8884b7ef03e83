"""A small fuzzer: mutations of valid files, one target called per case, with limits on time and memory.

A case passes if the target returns or raises an LcsError; whatever else it does is a finding.
"""

import random
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lcstool.errors import LcsError

SECONDS = 20
MEMORY_BYTES = 1 << 30  # more address space than at the start, whatever a file declares
INTERESTING = (
    b"\x00" * 8, b"\xff" * 8, (1 << 63).to_bytes(8, "little"), (1 << 31).to_bytes(4, "little"), b"\x7f\xff\xff\xff",
    b"-1", b"1e999", b"NaN", b"null", b"{}", b"[]", b'""', b"9" * 30, b"\\u0000", b"\xed\xa0\x80", b"\x80\x04\x95",
)  # fmt: skip


class TooSlow(Exception):
    """A case ran over its time."""


def mutated(seeds: list[bytes], draw: random.Random) -> bytes:
    """One of the seeds after one to eight changes: bits, bytes, cuts, copies, numbers, pieces of other seeds."""
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        # Structure stands at the beginning of most files: half of the changes go there.
        end = min(len(data), 400) if draw.random() < 0.5 else len(data)
        place = draw.randrange(end + 1)
        kind = draw.randrange(8)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << draw.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = draw.randrange(256)
        elif kind == 2:
            del data[place : place + draw.choice((1, 2, 8, 100))]
        elif kind == 3:
            data[place:place] = draw.randbytes(draw.choice((1, 2, 8, 100)))
        elif kind == 4:
            data[place : place + draw.choice((0, 1, 8))] = draw.choice(INTERESTING)
        elif kind == 5:
            del data[place:]
        elif kind == 6:
            start = draw.randrange(len(data) + 1)
            data[place:place] = data[start : start + draw.choice((1, 10, 200))]
        else:
            other = draw.choice(seeds)
            start = draw.randrange(len(other) + 1)
            data[place : place + 50] = other[start : start + 50]
    return bytes(data)


def replaced_values(document: Any, draw: random.Random) -> Any:
    """A JSON or YAML document with one value somewhere in it replaced by an odd one."""
    odd: list[Any] = [
        None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**30, -(2**70), 0.5, 1e308, "", "x", "\x00", "..", "F32", "F64",
        "BOOL", [], [[]], [0], [-1], [2**62, 4], {}, {"a": 1}, [1] * 100,
    ]  # fmt: skip
    if isinstance(document, dict) and document and draw.random() < 0.9:
        key = draw.choice(list(document))
        kind = draw.random()
        if kind < 0.1:
            return {name: value for name, value in document.items() if name != key}
        if kind < 0.2:
            return {(f"{name}x" if name == key else name): value for name, value in document.items()}
        return document | {key: replaced_values(document[key], draw)}
    if isinstance(document, list) and document and draw.random() < 0.8:
        index = draw.randrange(len(document))
        return [*document[:index], replaced_values(document[index], draw), *document[index + 1 :]]
    return draw.choice(odd)


@contextmanager
def limits() -> Iterator[None]:
    """No case may run long or take much memory; both would end as an exception that is no LcsError."""

    def too_slow(*_: object) -> None:
        raise TooSlow(f"more than {SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, too_slow)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, old[1]))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, old)


def fuzz(
    make: Callable[[random.Random], bytes],
    target: Callable[[Path], object],
    path: Path,
    num_cases: int,
    seed: int,
) -> Counter[str]:
    """Call a target on many made files; AssertionError with the case's number and bytes for the first finding.

    Returns:
        How often it returned (`accepted`), and how often it raised each kind of LcsError.
    """
    outcomes: Counter[str] = Counter()
    with limits():
        for case in range(num_cases):
            data = make(random.Random(f"{seed} {case}"))
            path.write_bytes(data)
            signal.alarm(SECONDS)
            refused: LcsError | None = None
            try:
                target(path)
                outcomes["accepted"] += 1
            except LcsError as error:
                refused = error
                outcomes[type(error).__name__] += 1
            except Exception as error:
                raise AssertionError(
                    f"case {case}: {type(error).__name__}: {error}; file {data[:2000]!r}"
                ) from error
            finally:
                signal.alarm(0)
            if refused is not None and ("\n" in refused.message or len(refused.message) > 2000):
                raise AssertionError(f"case {case}: not one line: {refused.message[:4000]!r}")
    return outcomes


def report(target: str, outcomes: Counter[str]) -> None:
    """What the long run prints."""
    print(f"{target}: {sum(outcomes.values())} cases, {dict(outcomes)}")
