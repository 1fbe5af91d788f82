"""`.evstore/trash`: what was deleted and may be in no version stays for a while."""

from __future__ import annotations

import os
import time
from pathlib import Path

from evstore.disk.disk import Disk
from evstore.folder.removing import trash_name
from evstore.paths import ContentPath

DAY = 86_400_000_000_000  # ns


def test_what_is_old_goes_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "file").write_text("12345")
    (root / "d" / "link").symlink_to(tmp_path / "outside")
    for name in ("new", "moving", "old"):
        (root / name).write_text("123")
    disk, now = Disk(root), time.time_ns()
    disk.discard(ContentPath("d"), f"{now - 40 * DAY}-d")
    disk.discard(ContentPath("old"), f"{now - 31 * DAY}-old")
    disk.discard(ContentPath("new"), trash_name(ContentPath("new")))
    disk.discard(ContentPath("moving"), "moving-00ff")
    for name, target in (("to directory", tmp_path / "outside"), ("to nothing", "nowhere")):
        (root / name).symlink_to(target)
        disk.discard(ContentPath(name), f"{now - 31 * DAY}-{name}")
    assert disk.in_trash()[0] == 4  # links are no files
    disk.empty_trash(now - 30 * DAY)
    assert sorted(name.partition("-")[2] for name in os.listdir(root / ".evstore" / "trash")) == [
        "00ff",
        "new",
    ]
    assert disk.in_trash() == (2, 6)
    assert (tmp_path / "outside" / "kept").read_text() == "kept"


def test_what_is_nested_more_deeply_than_any_path_goes_too(tmp_path: Path) -> None:
    current = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=current)
        above, current = current, os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(above)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=current))
    os.close(current)
    disk = Disk(tmp_path)
    disk.discard(ContentPath("d"), "1-d")
    assert disk.in_trash() == (1, 0)
    disk.empty_trash(2)
    assert os.listdir(tmp_path / ".evstore" / "trash") == []
