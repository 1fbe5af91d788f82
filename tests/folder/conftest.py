"""The servers of tests/http, for tests of a folder that is served; a store with its folder, and a folder on the disk alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from evstore.worktree.disk.disk import Disk
from tests.folder.both_sides import BothSides
from tests.http.conftest import server, start_server

__all__ = ["disk", "outside", "root", "server", "start_server"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def disk(root: Path) -> Iterator[Disk]:
    disk = Disk(root)
    yield disk
    disk.close()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the folder, with a secret in it."""
    directory = tmp_path / "folder-outside"
    (directory / "below").mkdir(parents=True)
    (directory / "secret.txt").write_text("secret")
    return directory


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[BothSides]:
    """At the end both sides agree, and nothing is lost."""
    both = BothSides(tmp_path)
    await both.open()
    yield both
    await both.agree()
    assert await both.has_lost() == set()
    await both.close()
