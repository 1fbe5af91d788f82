"""Files that are programs: the x bits go from the disk to the log and back, and nothing else of a mode does."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path

import pytest

from evstore.core.errors import NotFound
from evstore.core.events import Author, EntryId
from evstore.core.paths import ContentPath
from evstore.worktree.disk import disk as disk_module
from evstore.worktree.disk.disk import Disk, FolderReadOnly, Occupied
from tests.folder.both_sides import AUTHOR, BothSides
from tests.folder.disks import p, write
from tests.folder.fuse import MODELESS, folding_disk
from tests.folder.mounts import mounted, remount


def me() -> Author:
    return Author.new(AUTHOR)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def new_mode(*, program: bool) -> int:
    """What a new file gets, by the umask of whoever runs the tests."""
    umask = os.umask(0)
    os.umask(umask)
    return (0o777 if program else 0o666) & ~umask


async def until(both: BothSides, **programs: bool) -> None:
    """Wait until the log says so of the files whose names these are with `.sh`."""
    async with asyncio.timeout(30):
        while (await both.programs()).keys() & {f"{name}.sh" for name in programs} != {
            f"{name}.sh" for name, is_program in programs.items() if is_program
        }:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("number", "meanwhile"), [(errno.ENOSPC, False), (errno.EROFS, True)])
def test_what_could_not_be_tried_is_tried_again(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, number: int, *, meanwhile: bool
) -> None:
    """Else the files of a disk without modes would all become programs, for good, if it was full at the start."""

    def fails(*_: object) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk_module, "tells_modes", fails)
    assert disk.keeps_modes is meanwhile
    monkeypatch.setattr(disk_module, "tells_modes", lambda *_: not meanwhile)
    assert disk.keeps_modes is not meanwhile
    monkeypatch.setattr(disk_module, "tells_modes", fails)
    assert disk.keeps_modes is not meanwhile


# -- the disk alone ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "with_x"), [(0o644, 0o755), (0o600, 0o700), (0o640, 0o750), (0o664, 0o775), (0o2644, 0o2755)]
)
def test_those_who_read_may_start_it(disk: Disk, root: Path, before: int, with_x: int) -> None:
    write(disk, "a")
    (root / "a").chmod(before)
    was, now = disk.set_executable(p("a"), True)
    assert mode(root / "a") == with_x
    assert now.is_moved(was) and (found := disk.look(p("a"))) is not None and found.stamp == now
    assert found.executable
    disk.set_executable(p("a"), False)
    assert mode(root / "a") == before


def test_only_files_are_programs(disk: Disk, root: Path, outside: Path) -> None:
    (root / "d").mkdir()
    (root / "link").symlink_to(outside / "secret.txt")
    os.mkfifo(root / "pipe")
    before = mode(outside / "secret.txt")
    for path in ("d", "link", "pipe"):
        with pytest.raises(Occupied):
            disk.set_executable(p(path), True)
    with pytest.raises(NotFound):
        disk.set_executable(p("nothing"), True)
    assert mode(outside / "secret.txt") == before


def test_a_new_file_is_what_it_shall_be_and_an_old_one_stays_it(disk: Disk, root: Path) -> None:
    umask = os.umask(0o027)
    try:
        disk.write(p("a"), [b"1"], modified=0, executable=True)
        assert mode(root / "a") == 0o750
        disk.write(p("b"), [b"1"], modified=0)
        assert mode(root / "b") == 0o640
        (root / "b").chmod(0o604)
        disk.write(p("b"), [b"2"], modified=0, executable=True)
        assert mode(root / "b") == 0o604
    finally:
        os.umask(umask)


def test_whether_a_disk_knows_modes_is_found_out(disk: Disk, root: Path) -> None:
    assert disk.keeps_modes
    assert os.listdir(root / ".evstore/tmp") == []


async def test_a_disk_without_modes(tmp_path: Path) -> None:
    """There all files are programs, which says nothing of any."""
    (tmp_path / "folder").mkdir()
    with folding_disk(tmp_path / "folder", MODELESS):
        both = BothSides(tmp_path)
        disk = Disk(both.root)
        assert not disk.keeps_modes
        disk.close()
        await both.open()
        both.write("a.sh", b"one")
        await both.save("b.sh", b"two")
        await both.agree()
        assert mode(both.root / "a.sh") == 0o777
        assert await both.events("a.sh") == ["EntryCreated", "FileSaved"]
        await both.set_executable("b.sh", True)
        await both.set_executable("b.sh", False)
        await both.agree()
        assert (await both.events("b.sh"))[2:] == ["ExecutableChanged", "ExecutableChanged"]
        await both.close()


# -- from the disk to the log ------------------------------------------------------------


async def test_a_chmod_is_seen_and_is_no_new_version(both: BothSides) -> None:
    await both.save("a.sh", b"one")
    (both.root / "a.sh").chmod(0o755)
    await until(both, a=True)
    (both.root / "a.sh").chmod(0o600)
    await until(both, a=False)
    (both.root / "a.sh").chmod(0o640)
    await both.agree()
    assert await both.events("a.sh") == [
        "EntryCreated",
        "FileSaved",
        "ExecutableChanged",
        "ExecutableChanged",
    ]


async def test_what_comes_as_a_program_is_one(both: BothSides) -> None:
    for name, body in (("a.sh", b"one"), ("empty.sh", b"")):
        aside = both.root / ".aside"
        aside.write_bytes(body)
        aside.chmod(0o755)
        aside.rename(both.root / name)
    await both.agree()
    assert await both.events("a.sh") == ["EntryCreated", "FileSaved", "ExecutableChanged"]
    assert await both.events("empty.sh") == ["EntryCreated", "ExecutableChanged"]
    assert (await both.programs()).keys() == {"a.sh", "empty.sh"}


async def test_bytes_and_mode_at_once_and_a_rename(both: BothSides) -> None:
    await both.save("a.sh", b"one")
    both.write("a.sh", b"two")
    (both.root / "a.sh").chmod(0o755)
    await both.agree()
    (both.root / "a.sh").rename(both.root / "b.sh")
    await both.agree()
    assert await both.events("b.sh") == [
        "EntryCreated",
        "FileSaved",
        "FileSaved",
        "ExecutableChanged",
        "EntryMoved",
    ]
    assert (await both.programs()).keys() == {"b.sh"}


async def test_what_was_changed_while_nobody_looked(both: BothSides) -> None:
    await both.save("a.sh", b"one")
    await both.save("b.sh", b"two")
    await both.agree()
    await both.close()
    (both.root / "a.sh").chmod(0o755)
    await both.open()
    await both.agree()
    assert (await both.programs()).keys() == {"a.sh"}
    assert await both.events("b.sh") == ["EntryCreated", "FileSaved"]


async def test_a_log_that_never_heard_of_modes_learns_them(both: BothSides) -> None:
    """Such as one that was written before they were looked at: the stamps are the known ones."""
    both.write("a.sh", b"one")
    (both.root / "a.sh").chmod(0o755)
    await both.agree()
    await both.folder.note()
    await both.folder.close()
    await both.store.write(lambda work: work.tx.execute("delete from executables"), me())
    assert (await both.programs()) == {}
    await both.open_folder()
    await both.agree()
    assert (await both.programs()).keys() == {"a.sh"}


# -- from the log to the disk ------------------------------------------------------------


async def test_a_restore_brings_the_mode_of_that_moment_back(both: BothSides) -> None:
    both.write("a.sh", b"one")
    (both.root / "a.sh").chmod(0o755)
    await both.agree()
    then = both.store.offset
    (both.root / "a.sh").chmod(0o600)
    await both.agree()
    restored = await both.history.restore(ContentPath("a.sh"), then, me())
    assert mode(both.root / "a.sh") == 0o700  # the other bits are the owner's
    assert [change.action for change in restored.changes] == ["restore"]
    await both.agree()
    assert (await both.events("a.sh"))[-1] == "ExecutableChanged"
    (both.root / "a.sh").chmod(0o600)
    await both.save("a.sh", b"two")
    await both.agree()
    restored = await both.history.restore(ContentPath(""), then, me())
    assert [(change.action, change.path) for change in restored.changes] == [("restore", "a.sh")]
    assert mode(both.root / "a.sh") == 0o700
    assert (both.root / "a.sh").read_bytes() == b"one"
    await both.agree()
    assert (await both.history.restore(ContentPath(""), then, me())).changes == []


async def test_a_checkpoint_brings_the_mode_back(both: BothSides) -> None:
    await both.save("a.sh", b"one")
    (both.root / "a.sh").chmod(0o755)
    await both.agree()
    checkpoint = await both.checkpoints.create(ContentPath("a.sh"), me())
    both.write("a.sh", b"two")
    (both.root / "a.sh").chmod(0o644)
    await both.agree()
    await both.checkpoints.restore(ContentPath("a.sh"), checkpoint.offset, me())
    assert (both.root / "a.sh").read_bytes() == b"one"
    assert mode(both.root / "a.sh") == 0o755
    await both.agree()


async def test_copies_undeletions_and_saves_keep_it(both: BothSides) -> None:
    await both.contents.create_directory(ContentPath("d"), me())
    await both.save("d/a.sh", b"one")
    await both.save("d/plain.sh", b"two")
    (both.root / "d/a.sh").chmod(0o755)
    await both.agree()
    await both.contents.copy(ContentPath("d"), ContentPath("e"), me(), exact=True)
    assert mode(both.root / "e/a.sh") == new_mode(program=True)
    assert mode(both.root / "e/plain.sh") == new_mode(program=False)
    await both.save("d/a.sh", b"three")
    assert mode(both.root / "d/a.sh") == 0o755
    entry = await both.contents.exists(ContentPath("d"))
    assert entry is not None
    await both.contents.delete(ContentPath("d"), me())
    await both.history.undelete(EntryId(entry.id), None, me())
    assert mode(both.root / "d/a.sh") == new_mode(program=True)
    await both.agree()
    assert (await both.programs()).keys() == {"d/a.sh", "e/a.sh"}
    assert await both.events("e/a.sh") == ["EntryCreated", "FileSaved", "ExecutableChanged"]


async def test_what_left_the_folder_is_restored_as_a_program(both: BothSides) -> None:
    await both.contents.create_directory(ContentPath("d"), me())
    await both.save("d/a.sh", b"one")
    (both.root / "d/a.sh").chmod(0o755)
    await both.agree()
    then = both.store.offset
    await both.contents.move(ContentPath("d/a.sh"), ContentPath("elsewhere.sh"), me())
    await both.history.restore(ContentPath("d"), then, me())
    assert mode(both.root / "d/a.sh") == new_mode(program=True)
    await both.agree()
    assert (await both.programs()).keys() == {"d/a.sh", "elsewhere.sh"}


async def test_a_new_folder_gets_programs(both: BothSides, tmp_path: Path) -> None:
    """The log beside an empty folder: all of it is written out."""
    await both.save("a.sh", b"one")
    (both.root / "a.sh").chmod(0o755)
    await both.agree()
    await both.close()
    both.root = tmp_path / "another"
    both.root.mkdir()
    await both.open()
    await both.agree()
    assert mode(both.root / "a.sh") == new_mode(program=True)


async def test_a_crash_before_the_mode_is_on_the_disk(both: BothSides) -> None:
    await both.save("a.sh", b"one")
    await both.agree()
    await both.folder.note()
    both.store.mirror = None
    await both.set_executable("a.sh", True)
    await both.crash()
    assert mode(both.root / "a.sh") == new_mode(program=False)
    await both.open()
    assert mode(both.root / "a.sh") == new_mode(program=True)
    await both.agree()
    assert await both.events("a.sh") == ["EntryCreated", "FileSaved", "ExecutableChanged"]


async def test_what_the_disk_refuses_did_not_happen(tmp_path: Path) -> None:
    """A mode that can't be set is undone in the log, as a rename would be."""
    (tmp_path / "folder").mkdir()
    with mounted(tmp_path / "folder", "-t", "tmpfs", "tmpfs"):
        both = BothSides(tmp_path)
        await both.open()
        await both.save("a.sh", b"one")
        await both.agree()
        remount(both.root, "ro")
        with pytest.raises(FolderReadOnly):
            await both.set_executable("a.sh", True)
        remount(both.root, "rw")
        await both.agree()
        assert await both.programs() == {}
        await both.close()
