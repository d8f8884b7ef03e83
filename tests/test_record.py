"""History entries."""

from lcstool.record import versions


def test_versions_name_no_machine() -> None:
    assert set(versions()) == {"lcstool", "torch"}
