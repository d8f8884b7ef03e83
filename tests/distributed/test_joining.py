"""An error of several ranks is told once."""

import threading

import pytest
from torch.distributed import HashStore

from lcstool.distributed import Group, ToldError, joining
from lcstool.errors import BadInputError


def errors_of(
    told_by: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> dict[int, BadInputError | ToldError]:
    """What leaves `join` on each of three ranks, when some have an error."""
    store, here = HashStore(), threading.local()
    found: dict[int, BadInputError | ToldError] = {}
    monkeypatch.setattr(joining, "rendezvous", lambda *_, **__: iter([(store, 0, 3)]))
    monkeypatch.setattr(joining.dist, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(joining.dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr(joining.Group, "of_environment", lambda: Group(here.rank, 3, here.rank))

    def run(rank: int) -> None:
        here.rank = rank
        try:
            with joining.join():
                if rank in told_by:
                    raise BadInputError(told_by[rank], hint="mend it")
        except (BadInputError, ToldError) as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (2, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_rank_0_tells_what_all_know(monkeypatch: pytest.MonkeyPatch) -> None:
    found = errors_of({0: "bad", 1: "bad", 2: "bad"}, monkeypatch)
    assert isinstance(found[0], BadInputError)
    assert found[0].message == "bad"
    assert isinstance(found[1], ToldError)
    assert isinstance(found[2], ToldError)
    assert {error.exit_code for error in found.values()} == {3}


def test_a_rank_tells_its_own_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = errors_of({2: "no such file"}, monkeypatch)
    assert found.keys() == {2}
    assert isinstance(found[2], BadInputError)
    assert (found[2].message, found[2].hint) == ("rank 2: no such file", "mend it")


def test_one_of_those_left_tells_of_a_lost_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    found = errors_of({1: "lost", 2: "lost"}, monkeypatch)
    assert sorted(type(error).__name__ for error in found.values()) == ["BadInputError", "ToldError"]
