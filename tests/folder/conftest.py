"""The servers of tests/http, for tests of a folder that is served; and a folder on the disk, for those without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evstore.disk.disk import Disk
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
