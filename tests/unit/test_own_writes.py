"""What evstore itself writes into a directory makes it no directory that has to be compared again; what others do, does."""

from __future__ import annotations

import pytest

from evstore.folder.disk import Stamp
from evstore.folder.to_disk import Outcome
from evstore.paths import ContentPath

FILE = ContentPath("a/file")
DIRECTORY = ContentPath("a")
WRITTEN = Stamp(5, 5, 5)
MOMENTS = [Stamp(0, at, 1) for at in range(5)]


@pytest.mark.parametrize(
    ("writes", "expected"),
    [
        ([(0, 1)], (0, 1)),
        ([(0, 1), (1, 2), (2, 3)], (0, 3)),
        ([(0, 0), (0, 0)], (0, 0)),  # within one tick of the disk's clock
        ([(0, 1), (2, 3)], (2, 3)),  # somebody else from 1 to 2: what was seen at 0 does not hold at 3
        ([(0, 1), (2, 3), (3, 4)], (2, 4)),
    ],
)
def test_only_what_no_one_else_changed_is_spanned(
    writes: list[tuple[int, int]], expected: tuple[int, int]
) -> None:
    outcome = Outcome()
    for before, after in writes:
        outcome.wrote(FILE, WRITTEN, MOMENTS[before], MOMENTS[after])
    assert outcome.glances == {DIRECTORY: (MOMENTS[expected[0]], MOMENTS[expected[1]])}
    assert outcome.files == {FILE: WRITTEN}


def test_a_directory_that_was_not_there_between_is_not_spanned() -> None:
    outcome = Outcome()
    outcome.wrote(FILE, WRITTEN, MOMENTS[0], MOMENTS[1])
    outcome.wrote(FILE, WRITTEN, None, MOMENTS[2])
    assert outcome.glances == {DIRECTORY: (None, MOMENTS[2])}
