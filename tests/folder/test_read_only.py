"""A folder in which nothing may be written, from the start: it is served, and its files are read."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from evstore.core.errors import Forbidden
from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.worktree.disk.disk import Disk, FolderReadOnly
from tests.folder.both_sides import AUTHOR, BothSides, digest
from tests.folder.mounts import bound_by_permissions, mounted, remount


async def test_a_disk_that_is_mounted_read_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "folder").mkdir()
    with mounted(tmp_path / "folder", "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        both = BothSides(tmp_path)
        both.write("a", b"one")
        remount(both.root, "ro")
        for _ in range(2):
            await both.open()
            assert await both.agree() == {"a": digest(b"one")}
            for wish in (
                both.save("a", b"two"),
                both.save("b", b"two"),
                both.contents.delete(ContentPath("a"), Author.new(AUTHOR)),
            ):
                with pytest.raises(Forbidden):
                    await wish
            await both.close()
        assert os.listdir(both.root) == ["a"]
        await both.open()
        remount(both.root, "rw")
        await both.save("a", b"three")
        both.write("b", b"four")
        await both.agree_by_themselves()
        await both.close()
        await both.open()
        assert await both.agree() == {"a": digest(b"three"), "b": digest(b"four")}
        await both.close()
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_what_may_not_be_removed_from_the_trash_keeps_nothing_else_there(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for name in ("a", "closed", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        disk.discard(ContentPath(name), f"1-{name}")
    closed = tmp_path / ".evstore/trash/1-closed"
    closed.chmod(0o555)
    with bound_by_permissions(), pytest.raises(FolderReadOnly):
        disk.trashed.empty(time.time_ns())
    assert disk.trashed.names() == ["1-closed"]
    closed.chmod(0o755)
    disk.trashed.empty(time.time_ns())
    assert disk.trashed.names() == []
    disk.close()
