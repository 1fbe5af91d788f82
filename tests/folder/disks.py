"""What the tests of the served folder on the disk have in common; the fixtures stand in conftest.py."""

from __future__ import annotations

from pathlib import Path

from evstore.core.paths import ContentPath
from evstore.worktree.disk.disk import Disk, StatStamp

NOW = 1_700_000_000_000_000  # µs since 1970
ROOT = ContentPath()


def p(path: str) -> ContentPath:
    return ContentPath(path)


def write(disk: Disk, path: str, body: bytes = b"new") -> StatStamp:
    return disk.write(p(path), [body], modified=NOW)


def stamp_of(disk: Disk, path: str) -> StatStamp:
    found = disk.look(p(path))
    assert found is not None
    return found.stamp


def leftovers(root: Path) -> list[str]:
    """What evstore has left of unfinished work."""
    return [str(file.relative_to(root)) for file in root.rglob("*evstore-*")]
