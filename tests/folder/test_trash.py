"""`.evstore/trash`: what was deleted and is in no version stays for a while, and comes back by an undelete; the rest goes at once."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from evstore.core.errors import EvstoreError
from evstore.core.events import Author, EntryDeleted, EntryId, Offset, Recorded
from evstore.core.paths import ContentPath
from evstore.log import log
from evstore.worktree.disk.disk import Disk
from evstore.worktree.disk.errors import FolderFull
from evstore.worktree.trash import cleanup
from evstore.worktree.trash.removal import deletion_of, is_put_by, trash_name
from tests.folder.both_sides import AUTHOR, BothSides
from tests.folder.mounts import mounted

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
    assert disk.trashed.held()[0] == 4  # links are no files
    disk.trashed.empty(now - 30 * DAY)
    assert sorted(name.partition("-")[2] for name in os.listdir(root / ".evstore" / "trash")) == [
        "00ff",
        "new",
    ]
    assert disk.trashed.held() == (2, 6)
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
    assert disk.trashed.held() == (1, 0)
    disk.trashed.empty(2)
    assert os.listdir(tmp_path / ".evstore" / "trash") == []


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the log has leaves the trash without a minute's grace."""
    monkeypatch.setattr(cleanup, "GRACE", 0.0)


@pytest.fixture
async def both(tmp_path: Path) -> AsyncGenerator[BothSides]:
    both = BothSides(tmp_path)
    await both.open()
    yield both
    await agree(both)
    assert await both.has_lost() == set()
    await both.close()


async def agree(both: BothSides) -> None:
    """Wait until both sides have what they should: what has no versions is on the disk alone."""
    await both.folder.settled()
    disk = {path: found for path, found in both.disk().items() if not UNVERSIONED.search(path)}
    assert await both.tree() == disk


UNVERSIONED = re.compile(r"\.tmp$|(^|/)(large|cache(/y)?)$")
LARGE = bytes(1_000_001)  # has no versions


def me() -> Author:
    return Author.new(AUTHOR)


async def make_tree(both: BothSides) -> EntryId:
    """A directory `d` of 9 files, 3 of them without versions, one of these in a directory without versions."""
    both.write(".evstoreignore", b"cache/\n*.tmp\n")
    for path in ("d", "d/sub", "d/sub/deep", "d/cache", "d/empty"):
        (both.root / path).mkdir()
    for path in ("d/a", "d/b.sh", "d/sub/c", "d/sub/deep/e", "d/sub/x.tmp", "d/cache/y", "d/sub/same"):
        both.write(path, b"same" if path.endswith("same") else path.encode())
    both.write("d/large", LARGE)
    both.write("d/empty/nothing", b"")
    (both.root / "d/b.sh").chmod(0o755)
    await both.folder.settled()
    return await entry_at(both, "d")


async def entry_at(both: BothSides, path: str) -> EntryId:
    entry = await both.contents.exists(ContentPath(path))
    assert entry is not None
    return entry.id


def trash(both: BothSides) -> Path:
    return both.root / ".evstore" / "trash"


def in_trash(both: BothSides) -> list[str]:
    """The files in the trash, without the names by which they were put there."""
    files = (file for file in trash(both).rglob("*") if file.is_file())
    return sorted("/".join(file.relative_to(trash(both)).parts[1:]) for file in files)


async def until_in_trash(both: BothSides, *files: str) -> None:
    async with asyncio.timeout(30):
        while in_trash(both) != sorted(files):
            await asyncio.sleep(0.02)


def everything(folder: Path) -> dict[str, bytes | None]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() if file.is_file() else None
        for file in folder.rglob("*")
    }


LEFT = ("cache/y", "large", "sub/x.tmp")


@pytest.mark.usefixtures("at_once")
async def test_what_the_log_has_is_removed_soon(both: BothSides) -> None:
    await make_tree(both)
    await both.contents.delete(ContentPath("d"), me())
    await until_in_trash(both, *LEFT)
    (top,) = trash(both).iterdir()
    async with asyncio.timeout(30):
        while (top / "sub/deep").exists() or (top / "empty").exists():
            await asyncio.sleep(0.02)
    await both.contents.create_directory(ContentPath("e"), me())
    await both.save("e/f", b"one")
    await both.contents.delete(ContentPath("e"), me())
    async with asyncio.timeout(30):
        while len(list(trash(both).iterdir())) != 1:
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("at_once")
async def test_more_than_can_be_removed_at_once(both: BothSides) -> None:
    (both.root / "d").mkdir()
    for number in range(1_007):
        both.write(f"d/{number}", str(number).encode())
    await agree(both)
    await both.contents.delete(ContentPath("d"), me())
    async with asyncio.timeout(30):
        while list(trash(both).iterdir()):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("grace", [0.0, 60.0])
async def test_all_of_it_comes_back(both: BothSides, monkeypatch: pytest.MonkeyPatch, grace: float) -> None:
    monkeypatch.setattr(cleanup, "GRACE", grace)
    entry = await make_tree(both)
    before = everything(both.root / "d")
    await both.contents.delete(ContentPath("d"), me())
    assert not (both.root / "d").exists()
    await both.history.undelete(entry, None, me())
    assert everything(both.root / "d") == before
    then = both.store.offset
    await both.contents.delete(ContentPath("d"), me())
    if not grace:
        await until_in_trash(both, *LEFT)
    await both.history.undelete(entry, ContentPath("other"), me())
    assert everything(both.root / "other") == before
    assert (both.root / "other/b.sh").stat().st_mode & 0o111
    assert list(trash(both).iterdir()) == []
    await agree(both)
    await both.contents.delete(ContentPath("other"), me())
    if not grace:
        await until_in_trash(both, *LEFT)
    await both.history.restore(ContentPath(""), then, me())
    assert everything(both.root / "d") == before
    await agree(both)


async def test_for_a_minute_it_comes_back_as_it_was(both: BothSides) -> None:
    """By a rename: the same files, and so their dates and links."""
    entry = await make_tree(both)
    before = (both.root / "d/a").stat()
    await both.contents.delete(ContentPath("d"), me())
    await both.save("other", b"meanwhile")
    await both.folder.settled()
    await both.history.undelete(entry, None, me())
    assert (both.root / "d/a").stat() == before


@pytest.mark.usefixtures("at_once")
async def test_while_it_is_looked_through(both: BothSides) -> None:
    """In whatever moment it comes back, nothing is missing, and nothing of what is there is removed."""
    entry = await make_tree(both)
    for number in range(600):
        both.write(f"d/sub/{number}", str(number).encode())
    await both.folder.settled()
    before = everything(both.root / "d")
    for pause in (0, 0.002, 0.005, 0.01, 0.02, 0.04):
        await both.contents.delete(ContentPath("d"), me())
        await asyncio.sleep(pause)
        await both.history.undelete(entry, None, me())
        assert everything(both.root / "d") == before
    await asyncio.sleep(0.1)
    assert everything(both.root / "d") == before


@pytest.mark.usefixtures("at_once")
async def test_a_part_of_what_was_deleted_comes_back(both: BothSides) -> None:
    top = await make_tree(both)
    sub = await entry_at(both, "d/sub")
    before = everything(both.root / "d/sub")
    await both.contents.delete(ContentPath("d"), me())
    await until_in_trash(both, *LEFT)
    await both.history.undelete(sub, ContentPath("sub"), me())
    assert everything(both.root / "sub") == before
    await both.history.undelete(top, None, me())
    await agree(both)
    assert not (both.root / "d/sub").exists()
    assert (both.root / "d/cache/y").read_bytes() == b"d/cache/y"
    assert (both.root / "d/large").read_bytes() == LARGE
    assert list(trash(both).iterdir()) == []


async def test_what_came_back_before_is_not_there_twice(both: BothSides) -> None:
    top = await make_tree(both)
    file = await entry_at(both, "d/sub/c")
    await both.contents.delete(ContentPath("d"), me())
    await both.history.undelete(file, ContentPath("c"), me())
    await both.history.undelete(top, None, me())
    await agree(both)
    assert (both.root / "c").read_bytes() == b"d/sub/c"
    assert not (both.root / "d/sub/c").exists()
    assert (both.root / "d/a").read_bytes() == b"d/a"


async def test_its_place_is_taken(both: BothSides) -> None:
    entry = await make_tree(both)
    await both.contents.delete(ContentPath("d"), me())
    (both.root / "d").mkdir()
    both.folder._looks = False  # nobody has told of it yet
    await both.history.undelete(entry, None, me())
    both.folder._looks = True
    assert (both.root / "d/sub/c").read_bytes() == b"d/sub/c"
    await agree(both)
    assert set(LEFT) <= set(in_trash(both))


@pytest.mark.usefixtures("at_once")
async def test_a_change_that_nobody_has_seen_is_not_lost(both: BothSides) -> None:
    entry = await make_tree(both)
    both.folder._looks = False
    both.write("d/a", b"changed just before")
    await both.contents.delete(ContentPath("d"), me())
    both.folder._looks = True
    await until_in_trash(both, "a", *LEFT)
    await both.history.undelete(entry, None, me())
    await agree(both)
    assert await both.text("d/a") == b"changed just before"


@pytest.mark.usefixtures("at_once")
async def test_the_next_start_goes_on(both: BothSides) -> None:
    entry = await make_tree(both)
    await both.contents.delete(ContentPath("d"), me())
    await both.close()
    await both.open()
    await until_in_trash(both, *LEFT)
    await both.history.undelete(entry, None, me())
    assert (both.root / "d/cache/y").read_bytes() == b"d/cache/y"


async def test_somebody_else_empties_it(both: BothSides) -> None:
    entry = await make_tree(both)
    await both.contents.delete(ContentPath("d"), me())
    shutil.rmtree(trash(both))
    await both.history.undelete(entry, None, me())
    assert everything(both.root / "d").keys() == {
        *("a", "b.sh", "empty", "empty/nothing", "sub", "sub/c", "sub/deep", "sub/deep/e", "sub/same")
    }


@pytest.mark.usefixtures("at_once")
async def test_the_trash_of_another_disk(tmp_path: Path) -> None:
    (tmp_path / "folder/m").mkdir(parents=True)
    with mounted(tmp_path / "folder/m", "-t", "tmpfs", "tmpfs"):
        both = BothSides(tmp_path)
        await both.open()
        both.write(".evstoreignore", b"*.tmp\n")
        (both.root / "m/d").mkdir()
        both.write("m/d/a", b"one")
        both.write("m/d/b.tmp", b"two")
        await both.folder.settled()
        entry = await entry_at(both, "m/d")
        await both.contents.delete(ContentPath("m/d"), me())
        there = both.root / "m/.evstore/trash"
        async with asyncio.timeout(30):
            while sorted(file.name for file in there.rglob("*") if file.is_file()) != ["b.tmp"]:
                await asyncio.sleep(0.02)
        await both.history.undelete(entry, None, me())
        assert everything(both.root / "m/d") == {"a": b"one", "b.tmp": b"two"}
        await agree(both)
        await both.close()


@pytest.mark.usefixtures("at_once")
async def test_what_has_no_versions_stays_also_where_nothing_is_in_it(both: BothSides) -> None:
    """git takes a directory for a repository only if it has `refs`, which may be empty."""
    (both.root / "p/.git/refs/heads").mkdir(parents=True)
    both.write("p/.git/HEAD", b"ref: refs/heads/main")
    both.write("p/a", b"one")
    await both.folder.settled()
    before = everything(both.root / "p")
    entry = await entry_at(both, "p")
    await both.contents.delete(ContentPath("p"), me())
    await until_in_trash(both, ".git/HEAD")
    await asyncio.sleep(0.1)  # the directories come last
    await both.history.undelete(entry, None, me())
    assert everything(both.root / "p") == before


@pytest.mark.usefixtures("at_once")
async def test_what_the_log_had_elsewhere_stays(both: BothSides) -> None:
    """A directory that was moved to where nothing has versions: its files have the stamps that they had before."""
    (both.root / "p/old").mkdir(parents=True)
    both.write("p/old/a", b"one")
    both.write("p/b", b"two")
    await both.folder.settled()
    (both.root / "p/old").rename(both.root / "p/.old")
    await both.folder.settled()
    before = everything(both.root / "p")
    entry = await entry_at(both, "p")
    await both.contents.delete(ContentPath("p"), me())
    await until_in_trash(both, ".old/a")
    await asyncio.sleep(0.1)
    await both.history.undelete(entry, None, me())
    assert everything(both.root / "p") == before


async def test_the_clock_is_set_back(both: BothSides, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log's times go on from the last one; those of the trash do not."""
    entry = await make_tree(both)
    before = everything(both.root / "d")
    with monkeypatch.context() as ahead:
        ahead.setattr(log, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + DAY))
        await both.save("tomorrow", b"one")
    await both.contents.delete(ContentPath("d"), me())
    await both.history.undelete(entry, None, me())
    assert everything(both.root / "d") == before


def forget(db: Path) -> None:
    for file in db.parent.glob(f"{db.name}*"):
        file.unlink()


async def test_the_trash_of_another_log(tmp_path: Path) -> None:
    """What it has deleted may have the same offset."""
    for name in ("old", "new"):
        both = BothSides(tmp_path)
        await both.open()
        (both.root / name).mkdir()
        both.write(f"{name}/a", name.encode())
        await both.folder.settled()
        entry = await entry_at(both, name)
        await both.contents.delete(ContentPath(name), me())
        if name == "new":
            assert len({deletion_of(one.name) for one in trash(both).iterdir()}) == 1
            await both.history.undelete(entry, None, me())
            assert everything(both.root / "new") == {"a": b"new"}
        await both.close()
        forget(both.db)


async def test_what_can_not_be_written_again_is_not_gone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with mounted(tmp_path / "folder", "-t", "tmpfs", "-o", "size=4m", "tmpfs"):
        both = BothSides(tmp_path)
        await both.open()
        (both.root / "d").mkdir()
        for number in range(4):
            both.write(f"d/{number}", bytes([number]) * 500_000)
        await both.folder.settled()
        entry, files = await entry_at(both, "d"), everything(both.root / "d")
        await both.contents.delete(ContentPath("d"), me())
        shutil.rmtree(trash(both))
        both.write("large", bytes(2_500_000))
        with pytest.raises(FolderFull):
            await both.history.undelete(entry, None, me())
        both.write("other", b"one")
        await both.folder.settled()
        assert {f"d/{name}" for name in files} <= (await both.tree()).keys()
        (both.root / "large").unlink()
        await both.folder.settled()
        assert everything(both.root / "d") == files
        await both.close()


def in_directories(trash: Path) -> tuple[str, int] | None:
    """The name of the one directory there, and how many files are left in it."""
    try:
        (top,) = os.listdir(trash)
        return top, len(os.listdir(trash / top))
    except (ValueError, OSError):
        return None


def test_what_is_removed_for_good_can_not_come_back_meanwhile(disk: Disk, root: Path) -> None:
    (root / "d").mkdir()
    for number in range(3_000):
        (root / "d" / str(number)).touch()
    disk.discard(ContentPath("d"), "1@7-d")
    seen: set[int | None] = set()
    remover = Thread(target=disk.trashed.empty, args=(2,))
    remover.start()
    while remover.is_alive():
        if (found := in_directories(root / ".evstore/trash")) and 0 < found[1] < 3_000:
            seen.add(deletion_of(found[0]))
    assert seen <= {None}  # of those that were caught in the middle
    assert disk.trashed.names() == []


def test_names() -> None:
    path = ContentPath("1@2-" + "é" * 120)
    assert deletion_of(trash_name(path)) is None
    assert deletion_of(trash_name(path, 0)) == 0
    last = deletion_at(2**62)
    assert deletion_of(trash_name(path, last)) == 2**62
    assert len(trash_name(path, last).encode()) <= 255


def deletion_at(offset: int, at: int = 5) -> Recorded:
    by = Author.new("test")
    event = EntryDeleted()
    return Recorded(
        offset=Offset(offset),
        entry=EntryId(b"e" * 16),
        at=at,
        actor=by.actor,
        command=by.command,
        event=event,
    )


def test_whose_name_it_is() -> None:
    path, mine, other = ContentPath("d"), deletion_at(7), deletion_at(7)
    assert is_put_by(trash_name(path, mine), mine)
    assert not is_put_by(trash_name(path, other), mine)
    assert not is_put_by(trash_name(path, deletion_at(8)), mine)
    assert not is_put_by(trash_name(path, 0), mine)
    assert not is_put_by(trash_name(path), mine)
    assert is_put_by("5000@7-d", mine)  # as they were before
    assert not is_put_by("4999@7-d", mine)


def test_only_what_is_as_it_was_is_removed(disk: Disk, root: Path, outside: Path) -> None:
    (root / "d/below").mkdir(parents=True)
    for name in ("a", "b", "changed"):
        (root / "d" / name).write_text(name)
    (root / "d/link").symlink_to(outside / "secret.txt")
    disk.discard(ContentPath("d"), "1@1-d")
    (way, files), (below, nothing) = disk.trashed.walk("1@1-d")
    members = {one.name: one for one in files}
    assert (way, set(members), below, nothing) == (["1@1-d"], {"a", "b", "changed"}, ["1@1-d", "below"], [])
    (root / ".evstore/trash/1@1-d/changed").write_text("other")
    wanted = {one.name: one.stamp for one in members.values() if one.name != "b"}
    assert disk.trashed.remove(["1@1-d"], wanted | {"gone": wanted["a"]}) == ["a"]
    assert len(disk.trashed.remove_empty([tuple(below), tuple(way)])) == 1
    assert sorted(os.listdir(root / ".evstore/trash/1@1-d")) == ["b", "changed", "link"]
    assert (outside / "secret.txt").read_text() == "secret"
    for lost in (["nothing"], below, ["1@1-d", "link"]):
        with pytest.raises(EvstoreError):
            disk.trashed.remove(lost, {"secret.txt": members["a"].stamp})
    assert list(disk.trashed.walk("nothing")) == []


@pytest.mark.usefixtures("at_once")
async def test_what_has_left_the_trash_is_not_missed_there(
    both: BothSides, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory that was in another one, of which only what has no versions is in the trash still."""
    both.write(".evstoreignore", b"*.tmp\n")
    (both.root / "p/d").mkdir(parents=True)
    both.write("p/d/a", b"one")
    both.write("p/x.tmp", b"two")
    await both.folder.settled()
    entry = await entry_at(both, "p/d")
    await both.contents.delete(ContentPath("p"), me())
    await until_in_trash(both, "x.tmp")
    trash = both.root / ".evstore/trash"
    async with asyncio.timeout(30):
        while list(trash.glob("*/d")):
            await asyncio.sleep(0.02)
    await both.history.undelete(entry, ContentPath("e"), me())
    assert everything(both.root / "e") == {"a": b"one"}
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []
