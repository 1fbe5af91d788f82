"""What is a link at one moment and a directory at the next is taken for one of them, and not for something between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evstore.core.paths import ContentPath
from evstore.worktree.disk.disk import Disk, FileStat
from evstore.worktree.ignoring.ignore import Ignore
from evstore.worktree.unversioned.files import Unversioned

PLACE = ContentPath("place")


class Busy(Disk):
    """A disk on which somebody does something just after the first look."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.meanwhile: list[Callable[[], object]] = []

    def look(self, path: ContentPath) -> FileStat | None:
        found = super().look(path)
        if path == PLACE and self.meanwhile:
            self.meanwhile.pop(0)()
        return found


@pytest.fixture
def disk(root: Path) -> Busy:
    (root / "other").mkdir()
    return Busy(root)


@pytest.fixture
def files(disk: Busy) -> Unversioned:
    return Unversioned(disk, Ignore(disk, max_size=1000), lambda path: False)


def test_a_link_is_what_it_leads_to(files: Unversioned, root: Path) -> None:
    (root / "place").symlink_to("other")
    found = files.find(PLACE)
    assert found is not None
    assert (found.place, found.linked) == ("other", True)


def test_a_directory_that_takes_the_place_of_a_link_is_none(
    files: Unversioned, disk: Busy, root: Path
) -> None:
    """It will be in the log in a moment, so nothing is written there without versions."""
    (root / "place").symlink_to("other")
    disk.meanwhile = [lambda: ((root / "place").unlink(), (root / "place").mkdir())]
    assert files.find(PLACE) is None


def test_a_directory_that_comes_is_no_link(files: Unversioned, disk: Busy, root: Path) -> None:
    disk.meanwhile = [(root / "place").mkdir]
    assert files.find(PLACE) is None


def test_a_link_that_takes_the_place_of_a_directory_on_the_way_leads_nowhere(
    files: Unversioned, disk: Busy, root: Path
) -> None:
    def swap() -> None:
        (root / "place").rmdir()
        (root / "place").symlink_to("..")

    (root / "place").mkdir()
    (root / "link").symlink_to("place")
    disk.meanwhile = [swap]
    assert files.find(ContentPath("link")) is None
