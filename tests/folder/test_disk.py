"""The served folder on the disk: what is read there, made, renamed and removed, and a folder that goes away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from evstore.core.errors import EvstoreError, Invalid, NotFound
from evstore.worktree.disk.disk import (
    Changed,
    Disk,
    FileStat,
    FileType,
    FolderFailed,
    FolderGone,
    Occupied,
    StatStamp,
)
from tests.folder.disks import ROOT, p, stamp_of, write

# reading


def test_what_is_found(disk: Disk, root: Path) -> None:
    (root / "a").mkdir()
    (root / "a/b.txt").write_bytes(b"12345")
    (root / "a/b.txt").chmod(0o640)
    os.utime(root / "a/b.txt", ns=(0, 1_234_567_890_123_456_789))
    found = disk.look(p("a/b.txt"))
    assert found is not None
    assert (found.path, found.what, found.mode) == ("a/b.txt", FileType.FILE, 0o640)
    there = (root / "a/b.txt").stat()
    assert found.stamp == StatStamp(5, 1_234_567_890_123_456_789, there.st_ino, there.st_ctime_ns)
    assert found.modified == 1_234_567_890_123_456
    assert (directory := disk.look(p("a"))) and directory.what is FileType.DIRECTORY
    assert (top := disk.look(ROOT)) and top.what is FileType.DIRECTORY


@pytest.mark.parametrize("path", ["none", "a/none", "none/b", "file/below", "x" * 300, "x" * 300 + "/a"])
def test_what_is_not_there(disk: Disk, root: Path, path: str) -> None:
    (root / "a").mkdir()
    (root / "file").touch()
    assert disk.look(p(path)) is None
    with pytest.raises(NotFound):
        disk.scan(p(path))
    with pytest.raises(NotFound):
        disk.open(p(path))


def test_dates_that_no_calendar_has(disk: Disk, root: Path) -> None:
    for name, seconds in (("early", -1_000_000), ("late", 2**33)):
        (root / name).touch()
        os.utime(root / name, (seconds, seconds))
    assert (early := disk.look(p("early"))) and early.modified == 0
    assert (late := disk.look(p("late"))) and late.modified == 2**33 * 1_000_000


def test_a_directory(disk: Disk, root: Path, outside: Path) -> None:
    for name in ("b.txt", "a.txt", ".hidden", "ä"):
        (root / name).touch()
    (root / "d").mkdir()
    (root / "link").symlink_to(outside)
    os.mkfifo(root / "pipe")
    write(disk, "through.txt")  # makes .evstore
    scan = disk.scan(ROOT)
    assert [(one.path, one.what.value) for one in scan.found] == [
        (".hidden", "file"),
        ("a.txt", "file"),
        ("b.txt", "file"),
        ("d", "directory"),
        ("link", "link"),
        ("pipe", "other"),
        ("through.txt", "file"),
        ("ä", "file"),
    ]
    assert scan.found == [disk.look(one.path) for one in scan.found]
    assert scan.skipped == []


def test_names_that_no_entry_can_have(disk: Disk, root: Path) -> None:
    for name in (b"latin-\xe9.txt", b"back\\slash", b"good.txt"):
        os.close(os.open(os.fsencode(root / "x")[:-1] + name, os.O_CREAT))
    scan = disk.scan(ROOT)
    assert [one.path for one in scan.found] == ["good.txt"]
    assert [one.path for one in scan.skipped] == ["back\\slash", "latin-\\udce9.txt"]
    assert all("no entry can have" in one.reason for one in scan.skipped)


def test_a_file_is_read(disk: Disk, root: Path) -> None:
    (root / "a.txt").write_bytes(b"12345")
    file, found = disk.open(p("a.txt"))
    with file:
        assert file.read() == b"12345"
    assert found == disk.look(p("a.txt"))


# directories, renames, removals


def test_a_directory_is_made(disk: Disk, root: Path) -> None:
    stamp = disk.make_directory(p("d"))
    assert (root / "d").is_dir() and stamp == disk.make_directory(p("d"))
    with pytest.raises(NotFound):
        disk.make_directory(p("none/d"))
    (root / "f").touch()
    with pytest.raises(Occupied):
        disk.make_directory(p("f"))


def test_a_rename(disk: Disk, root: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    (root / "d/e/f").write_text("f")
    before = disk.look(p("d/e/f"))
    disk.rename(p("d"), p("d2"))
    disk.rename(p("d2/e/f"), p("g"))
    after = disk.look(p("g"))
    assert before and after and after.stamp.is_moved(before.stamp)
    assert sorted(os.listdir(root)) == ["d2", "g"]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("f", "g", Occupied),
        ("f", "d", Occupied),
        ("d", "f", Occupied),
        ("d", "e", Occupied),
        ("f", "link", Occupied),
        ("none", "x", NotFound),
        ("f", "none/x", NotFound),
        ("d", "d/x", FolderFailed),
        ("", "x", Invalid),
        ("f", "", Occupied),
        ("f", "hard", Occupied),
        ("f", "back\\slash", Invalid),
    ],
)
def test_a_rename_that_can_not_be(
    disk: Disk, root: Path, old: str, new: str, error: type[EvstoreError]
) -> None:
    for name in "fg":
        (root / name).write_text(name)
    for name in "de":
        (root / name).mkdir()
    (root / "link").symlink_to("nowhere")
    os.link(root / "f", root / "hard")
    before = {file: file.lstat().st_ino for file in root.rglob("*")}
    with pytest.raises(error):
        disk.rename(p(old), p(new))
    assert {file: file.lstat().st_ino for file in root.rglob("*")} == before


def test_a_rename_to_itself_is_nothing(disk: Disk, root: Path) -> None:
    (root / "a").write_text("a")
    disk.rename(p("a"), p("a"))
    assert (root / "a").read_text() == "a"


def test_what_is_discarded_is_in_the_trash(disk: Disk, root: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    (root / "d/e/f").write_text("f")
    disk.discard(p("d"), "1")
    assert (root / ".evstore/trash/1/e/f").read_text() == "f" and disk.look(p("d")) is None
    (root / "g").touch()
    with pytest.raises(Occupied):
        disk.discard(p("g"), "1")
    disk.discard(p("g"), "2")
    assert sorted(os.listdir(root / ".evstore/trash")) == ["1", "2"]


def test_what_is_removed(disk: Disk, root: Path, outside: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    (root / "f").touch()
    (root / "link").symlink_to(outside)
    for path in (p("d"), p("f")):
        with pytest.raises((Occupied, NotFound)):
            disk.remove_directory(path)
    for path in (p("d"), p("link")):
        with pytest.raises(Occupied):
            disk.remove_file(path, stamp_of(disk, path))
    stamp = stamp_of(disk, "f")
    with pytest.raises(Changed):
        disk.remove_file(p("f"), stamp._replace(ctime_ns=0))
    disk.remove_file(p("f"), stamp)
    with pytest.raises(NotFound):
        disk.remove_file(p("f"), stamp)
    disk.remove_directory(p("d/e"))
    assert [one.path for one in disk.scan(ROOT).found] == ["d", "link"]
    assert (outside / "secret.txt").exists()


def test_the_folder_itself_stays(disk: Disk, root: Path) -> None:
    stamp = stamp_of(disk, "")
    for attempt in (
        disk.remove_directory,
        lambda path: disk.remove_file(path, stamp),
        lambda path: disk.discard(path, "1"),
    ):
        with pytest.raises(Invalid):
            attempt(ROOT)
    assert root.is_dir()


# a folder that goes away


def test_a_folder_that_is_gone_is_not_an_empty_one(disk: Disk, root: Path) -> None:
    write(disk, "a.txt")
    root.rename(root.with_name("away"))
    attempts: list[Callable[[], object]] = [
        lambda: disk.look(p("a.txt")),
        lambda: disk.scan(ROOT),
        lambda: disk.open(p("a.txt")),
        lambda: write(disk, "a.txt"),
    ]
    for fresh in (False, True):  # an empty directory in its place: what a disk had been mounted over
        if fresh:
            root.mkdir()
        for attempt in attempts:
            with pytest.raises(FolderGone):
                attempt()
        assert not disk.writable(p("a.txt"))
    root.rmdir()
    root.symlink_to(root.with_name("away"))
    with pytest.raises(FolderGone):
        disk.look(p("a.txt"))
    root.unlink()
    root.with_name("away").rename(root)
    assert isinstance(disk.look(p("a.txt")), FileStat)


def test_a_folder_that_comes_back_with_other_numbers(disk: Disk, root: Path) -> None:
    write(disk, "a.txt")
    root.rename(root.with_name("away"))
    (root / ".evstore").mkdir(parents=True)
    (root / "a.txt").write_text("copied")
    file, _ = disk.open(p("a.txt"))
    with file:
        assert file.read() == b"copied"


def test_a_folder_that_was_never_there(tmp_path: Path) -> None:
    with pytest.raises(FolderFailed) as failed:
        Disk(tmp_path / "none")
    assert str(tmp_path) not in failed.value.message


def test_ordinary_disks_tell_names_apart(disk: Disk, root: Path) -> None:
    (root / "probe").touch()
    if (root / "PROBE").exists():
        assert disk.is_case_insensitive
        return
    assert not disk.is_case_insensitive
    for name in ("Makefile", "makefile", "caf\u00e9", "cafe\u0301", "CAF\u00c9"):
        write(disk, name, name.encode())
    assert {one.path: disk.open(one.path)[0].read().decode() for one in disk.scan(ROOT).found} == {
        name: name if name != "probe" else ""
        for name in ("Makefile", "makefile", "caf\u00e9", "cafe\u0301", "CAF\u00c9", "probe")
    }
    disk.rename(p("Makefile"), p("MAKEFILE"))
    with pytest.raises(Occupied):
        disk.rename(p("makefile"), p("MAKEFILE"))
