"""What can go wrong between log and folder, case by case. Random histories are in test_model.py."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from evstore.core.errors import EvstoreError, Full
from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.worktree.disk.errors import FolderGone
from evstore.worktree.working_folder import WorkingFolder
from tests.folder.both_sides import AUTHOR, EMPTY, MAX_SIZE, BothSides, digest
from tests.folder.mounts import mounted, remount


@pytest.fixture
async def small(tmp_path: Path) -> AsyncGenerator[BothSides]:
    """Its folder is a disk of 1 MB."""
    (tmp_path / "folder").mkdir()
    with mounted(tmp_path / "folder", "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        both = BothSides(tmp_path)
        await both.open()
        yield both
        await both.close()


async def test_what_a_full_disk_does_not_take_is_written_later(small: BothSides) -> None:
    """Invariant 17."""
    filler = small.root / ".evstore" / "filler"  # of which nobody hears when it goes
    filler.write_bytes(bytes(900_000))
    with pytest.raises(Full):
        await small.save("new.txt", b"x" * 200_000)
    assert (await small.tree())["new.txt"] == digest(b"x" * 200_000)
    assert "new.txt" not in small.disk()
    filler.unlink()
    await small.folder._try_again()
    assert small.disk()["new.txt"] == (await small.agree())["new.txt"] == digest(b"x" * 200_000)
    assert small.folder._checkout_queue.unwritten == set()


async def test_what_a_read_only_disk_refuses_did_not_happen(small: BothSides) -> None:
    await small.save("a.txt", b"one")
    await small.contents.create_directory(ContentPath("d"), Author.new(AUTHOR))
    await small.save("d/b.txt", b"two")
    before = await small.agree()
    author = Author.new(AUTHOR)
    for wish in (
        lambda: small.contents.move(ContentPath("d"), ContentPath("e"), author),
        lambda: small.contents.delete(ContentPath("d"), author),
        lambda: small.contents.delete(ContentPath("a.txt"), author),
        lambda: small.contents.create_directory(ContentPath("new"), author),
        lambda: small.contents.copy(ContentPath("d"), ContentPath("copy"), author, exact=True),
    ):
        small.folder._freshness._may_write = lambda path: (
            True
        )  # rights are taken away just after they were asked for
        remount(small.root, "ro")
        with pytest.raises(EvstoreError):
            await wish()
        remount(small.root, "rw")
        assert await small.agree_by_themselves() == before


async def test_a_folder_that_vanishes_is_no_deletion(tmp_path: Path) -> None:
    both = BothSides(tmp_path)
    both.root.mkdir(exist_ok=True)
    both.write("a.txt", b"one")
    await both.open()
    before = await both.agree()
    aside = tmp_path / "aside"
    both.root.rename(aside)
    for other in (None, "empty", "another"):
        if other is not None:
            both.root.mkdir(exist_ok=True)
        if other == "another":
            (both.root / ".evstore").mkdir()
            (both.root / ".evstore" / "folder").write_text("another mark")
        with pytest.raises(FolderGone):
            await both.folder.settled()
        with pytest.raises(FolderGone):
            await both.save("new.txt", b"two")
        assert await both.text("a.txt") == b"one"
        assert await both.tree() == before
    shutil.rmtree(both.root)
    (aside / "b.txt").write_bytes(b"meanwhile")
    aside.rename(both.root)
    assert await both.agree() == before | {"b.txt": digest(b"meanwhile")}
    await both.save("new.txt", b"two")
    await both.agree()
    await both.close()


async def test_directories_within_directories(both: BothSides) -> None:
    """They may be deeper than functions can call themselves, which is allowed less here to be done sooner."""
    deep = "/".join(["d"] * 400)
    descriptor = os.open(both.root, os.O_RDONLY)
    for name in deep.split("/"):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(350)
    try:
        await both.folder.settled()
    finally:
        sys.setrecursionlimit(limit)
    assert deep in await both.tree()
    await both.contents.delete(ContentPath("d"), Author.new(AUTHOR))
    assert await both.agree() == {}


async def test_the_next_change_in_the_same_tick_of_the_clock(both: BothSides) -> None:
    path = both.root / "a.txt"
    for number in range(30):
        path.write_bytes(b"%05d" % number)
        assert await both.text("a.txt") == b"%05d" % number


async def test_a_client_who_leaves_while_a_file_is_taken_in(both: BothSides) -> None:
    for number in range(40):
        both.write(f"{number}.txt", b"%d" % number)
        task = asyncio.create_task(both.folder.look(ContentPath(f"{number}.txt")))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        both.remove(f"{number}.txt")
    assert await both.agree() == {}


async def test_a_new_file_with_the_inode_of_one_that_went_is_no_rename(both: BothSides) -> None:
    both.write("a.txt", b"one")
    await both.agree()
    both.remove("a.txt")
    both.write("b.txt", b"two")
    await both.agree()
    assert await both.events("b.txt") == ["EntryCreated", "FileSaved"]


async def test_a_new_directory_with_the_inode_of_one_that_went_is_no_rename(both: BothSides) -> None:
    for number in range(20):
        old, new = both.root / f"old{number}", both.root / f"new{number}"
        old.mkdir()
        for name in ("a.txt", "b.txt"):
            (old / name).write_bytes(b"%d" % number)
        await both.agree()
        inode = old.stat().st_ino
        shutil.rmtree(old)
        new.mkdir()
        (new / "c.txt").write_bytes(b"another %d" % number)
        await both.agree()
        if new.stat().st_ino == inode:
            assert "EntryMoved" not in await both.events(new.name)
            return
    pytest.skip("this disk does not give the same inode again so soon")


async def test_both_sides_rename_the_same(both: BothSides) -> None:
    await both.save("a.txt", b"one")
    await asyncio.gather(
        both.try_to(both.contents.move(ContentPath("a.txt"), ContentPath("b.txt"), Author.new(AUTHOR))),
        asyncio.to_thread(os.rename, both.root / "a.txt", both.root / "c.txt"),
        return_exceptions=True,
    )
    (name,) = await both.agree()
    assert (await both.events(name))[:2] == ["EntryCreated", "FileSaved"]


async def test_a_directory_is_renamed_while_its_file_is_saved(both: BothSides) -> None:
    await both.contents.create_directory(ContentPath("d"), Author.new(AUTHOR))
    for number in range(20):
        await both.save("d/a.txt", b"0")
        await both.agree()
        await asyncio.gather(
            both.try_to(both.save("d/a.txt", b"%d" % number)),
            asyncio.to_thread(os.rename, both.root / "d", both.root / f"e{number}"),
        )
        await both.agree()
        await both.try_to(both.contents.create_directory(ContentPath("d"), Author.new(AUTHOR)))


async def test_dates_of_long_ago_and_to_come(both: BothSides) -> None:
    for number, date in enumerate((0, 1, 4_102_444_800)):
        both.write(f"{number}", b"%d" % number)
        os.utime(both.root / f"{number}", (date, date))
    await both.agree_by_themselves()
    both.write("0", b"x")
    os.utime(both.root / "0", (5, 5))
    await both.agree_by_themselves()


async def test_what_is_ignored_from_now_on_stays_on_the_disk(both: BothSides) -> None:
    both.write("a.csv", b"one")
    both.write("b.txt", b"two")
    await both.agree()
    both.write(".evstoreignore", b"*.csv\n")
    async with asyncio.timeout(20):
        while "a.csv" in await both.tree():
            await asyncio.sleep(0.05)
    assert (both.root / "a.csv").read_bytes() == b"one"
    both.remove(".evstoreignore")
    await both.agree_by_themselves()
    assert (await both.events("a.csv"))[-1] == "EntryUndeleted"


@pytest.mark.parametrize("was_noted", [False, True])
@pytest.mark.parametrize("before", ["nothing", "a command", "a start that was ended"])
async def test_what_the_machine_lost_when_it_went_down_is_written_again(
    tmp_path: Path, before: str, *, was_noted: bool
) -> None:
    both = BothSides(tmp_path)
    await both.open()
    for name in ("empty", "zeros"):
        await both.save(name, b"some bytes")
    await both.agree()
    if was_noted:
        await both.folder.note()
    await both.crash()
    for name, content in (("empty", b""), ("zeros", bytes(10))):
        was = (both.root / name).stat()
        both.write(name, content)
        os.utime(both.root / name, ns=(was.st_atime_ns, was.st_mtime_ns))
    (both.root / ".evstore" / "boot").write_text("an earlier start of the machine")
    if before != "nothing":
        await both.open_store()
        both.folder = WorkingFolder(both.store, both.root, both.db, max_size=MAX_SIZE)
        if before == "a command":
            await both.folder.open_to_write()
        else:
            await both.folder._prepare()
            await both.folder._folder_thread.whole(both.folder._catch_up())
        await both.close()
    await both.open()
    same = digest(b"some bytes")
    assert await both.agree() == {"empty": same, "zeros": same}
    await both.close()


async def test_what_somebody_has_emptied_was_not_lost_by_the_machine(tmp_path: Path) -> None:
    both = BothSides(tmp_path)
    await both.open()
    for name in ("emptied", "edited"):
        await both.save(name, b"some bytes")
    await both.agree()
    await both.folder.note()
    await both.crash()
    both.write("emptied", b"")  # which shows in its date
    both.write("edited", b"edited")
    (both.root / ".evstore" / "boot").write_text("an earlier start of the machine")
    await both.open()
    assert await both.agree() == {"emptied": EMPTY, "edited": digest(b"edited")}
    await both.close()


async def test_it_can_be_stopped_while_it_opens(tmp_path: Path) -> None:
    both = BothSides(tmp_path)
    for number in range(300):
        both.write(f"{number}", b"%d" % number)
    for pause in (0, 0.001, 0.01, 0.03, 0.1, 0.2):
        await both.open_store()
        opening = asyncio.create_task(both.open_folder())
        await asyncio.sleep(pause)
        opening.cancel()
        await asyncio.wait([opening])
        await both.close()
    await both.open()
    assert len(await both.agree()) == 300
    await both.close()


async def test_it_is_closed_while_files_are_taken_in(tmp_path: Path) -> None:
    both = BothSides(tmp_path)
    for turn in range(5):
        await both.open()
        for number in range(50):
            both.write(f"{turn} {number}", b"%d" % number)
        looking = asyncio.create_task(both.folder.settled())
        await asyncio.sleep(turn * 0.01)
        await both.close()
        await asyncio.wait([looking])
        looking.exception()
    await both.open()
    assert len(await both.agree()) == 250
    await both.close()


async def test_what_was_not_deleted_before_a_crash_can_be_so_twice(tmp_path: Path) -> None:
    both, author = BothSides(tmp_path), Author.new(AUTHOR)
    await both.open()
    await both.contents.create_directory(ContentPath("d"), author)
    await both.save("d/a.txt", b"one")
    await both.agree()
    for _ in range(2):
        await both.folder.note()
        both.store.mirror = None  # so it is in the log, and is not carried out
        await both.contents.delete(ContentPath("d"), author)
        await both.crash()
        await both.open()
        assert await both.agree() == {}
        (deleted,) = [one for one in await both.history.deleted(ContentPath("")) if one.path == "d"]
        await both.history.undelete(deleted.entry, None, author)
        assert set(await both.agree()) == {"d", "d/a.txt"}
    await both.close()
