"""By its stamp a file is known without being read: every change shows in it, and what is no change costs a reading at most."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.worktree.disk import file_stat as found_module
from evstore.worktree.disk.file_stat import LARGEST, NO_DATE, NS, TICK, StatStamp
from tests.folder.both_sides import AUTHOR, BothSides, digest

OLD = 315_532_800  # seconds since 1970: the date of everything in an archive that is made the same way twice
QUIET = 0.3  # seconds after which the folder has looked at what was changed
WRITTEN = ["EntryCreated", "FileSaved"]
_opened: list[str] | None = None  # names that are opened relative to a directory, as the folder does


def _hear(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(args[0], str):
        _opened.append(args[0])


sys.addaudithook(_hear)


@contextmanager
def read_files() -> Generator[list[str]]:
    """The names of the files that the folder reads meanwhile, each as often as that happens."""
    global _opened
    opened: list[str] = []
    names: list[str] = []
    _opened = opened
    try:
        yield names
    finally:
        _opened = None
        names += [name for name in opened if name.endswith(".txt") and "/" not in name]


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[BothSides]:
    both = BothSides(tmp_path)
    await both.open()
    yield both
    await both.close()


async def reopen(both: BothSides) -> None:
    await both.close()
    await both.open()


async def crash(both: BothSides) -> None:
    await both.crash()
    await both.open()


async def wait(both: BothSides) -> None:
    await both.folder.look(ContentPath("f.txt"))


def in_place(file: Path, data: bytes) -> None:
    """As `rsync --inplace -t` and `exiftool -P` write."""
    was = file.stat()
    with file.open("r+b") as there:
        there.write(data)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


def replacing(file: Path, data: bytes) -> None:
    """As `tar x` and `unzip -o` write: a new file, perhaps with the old one's inode."""
    was = file.stat()
    file.unlink()
    file.write_bytes(data)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


# -- what is a change


@pytest.mark.parametrize("change", [in_place, replacing])
@pytest.mark.parametrize("between", [wait, reopen, crash])
async def test_other_bytes_of_the_same_size_and_date_are_seen(
    both: BothSides, change: Callable[[Path, bytes], None], between: Callable[[BothSides], Awaitable[None]]
) -> None:
    file = both.root / "f.txt"
    file.write_bytes(b"1.0.1")
    os.utime(file, (OLD, OLD))
    assert await both.text("f.txt") == b"1.0.1"
    await asyncio.sleep(QUIET)
    await both.agree()
    for text in (b"1.0.2", b"1.0.3"):
        change(file, text)
        await between(both)
        assert await both.text("f.txt") == text
        await asyncio.sleep(QUIET)
    await both.agree()
    assert await both.events("f.txt") == [*WRITTEN, "FileSaved", "FileSaved"]


async def test_what_could_change_without_a_trace_is_looked_at_each_time(
    both: BothSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk with a slow clock: that a file looks as it did at the last look shows nothing."""
    monkeypatch.setattr(found_module, "TICK", 3600 * NS)
    both.write("f.txt", b"one")
    assert await both.text("f.txt") == b"one"
    assert "f.txt" not in both.folder._freshness._seen
    monkeypatch.undo()
    await asyncio.sleep(TICK / NS)
    assert await both.text("f.txt") == b"one"
    assert "f.txt" in both.folder._freshness._seen


async def test_they_are_seen_by_themselves(both: BothSides) -> None:
    file = both.root / "f.txt"
    file.write_bytes(b"1.0.1")
    os.utime(file, (OLD, OLD))
    await both.agree_by_themselves()
    in_place(file, b"1.0.2")
    await both.agree_by_themselves()


async def test_they_are_seen_in_what_was_saved_here(both: BothSides) -> None:
    for text in (b"new", b"old"):  # one is made, and then it is replaced
        await both.save("f.txt", text)
        await asyncio.sleep(TICK / NS)
        in_place(both.root / "f.txt", text.upper())
        assert await both.text("f.txt") == text.upper()


async def test_they_are_seen_in_what_was_renamed_here(both: BothSides) -> None:
    await both.save("f.txt", b"one")
    await both.contents.move(ContentPath("f.txt"), ContentPath("g.txt"), Author.new(AUTHOR))
    await asyncio.sleep(TICK / NS)
    in_place(both.root / "g.txt", b"two")
    assert await both.text("g.txt") == b"two"


@pytest.mark.parametrize("what", ["save", "delete", "move"])
async def test_they_are_in_the_log_whatever_is_done_here(both: BothSides, what: str) -> None:
    """Invariant 18."""
    await both.save("f.txt", b"one")
    await asyncio.sleep(QUIET)
    in_place(both.root / "f.txt", b"two")
    both.must_have.add(digest(b"two"))
    path, author = ContentPath("f.txt"), Author.new(AUTHOR)
    match what:
        case "save":
            await both.save("f.txt", b"three")
        case "delete":
            await both.contents.delete(path, author)
        case _:
            await both.contents.move(path, ContentPath("g.txt"), author)
    await both.agree()
    assert await both.has_lost() == set()


# -- what is none


async def test_other_rights_are_no_version_and_cost_one_reading(both: BothSides) -> None:
    await both.save("f.txt", b"one")
    await asyncio.sleep(QUIET)
    await both.agree()
    with read_files() as names:
        (both.root / "f.txt").chmod(0o600)
        await asyncio.sleep(QUIET)
        assert await both.text("f.txt") == b"one"
        await both.agree()
        await reopen(both)
        await both.agree()
    assert names == ["f.txt"]
    assert await both.events("f.txt") == WRITTEN


async def test_what_was_saved_here_is_never_read(both: BothSides) -> None:
    for text in (b"new", b"other"):
        await both.save("f.txt", text)
        with read_files() as names:
            assert await both.text("f.txt") == text
            await asyncio.sleep(QUIET)
            await both.agree()
            await reopen(both)
            await both.agree()
        assert names == []


async def test_what_was_renamed_here_is_not_read(both: BothSides) -> None:
    await both.contents.create_directory(ContentPath("d"), Author.new(AUTHOR))
    for path in ("f.txt", "d/x.txt"):
        await both.save(path, path.encode())
    with read_files() as names:
        for old, new in (("f.txt", "g.txt"), ("g.txt", "d/g.txt"), ("d", "e")):
            await both.contents.move(ContentPath(old), ContentPath(new), Author.new(AUTHOR))
            assert await both.text("e/g.txt" if new == "e" else new) == b"f.txt"
        await asyncio.sleep(QUIET)
        await both.agree()
        await reopen(both)
        await both.agree()
    assert names == []
    assert await both.events("e/g.txt") == [*WRITTEN, "EntryMoved", "EntryMoved"]


async def test_what_was_renamed_on_the_disk_is_one_move(both: BothSides) -> None:
    (both.root / "d").mkdir()
    for path in ("f.txt", "d/x.txt"):
        both.write(path, path.encode())
    await asyncio.sleep(QUIET)
    await both.agree()
    with read_files() as names:
        os.rename(both.root / "f.txt", both.root / "g.txt")
        os.rename(both.root / "d", both.root / "e")
        await asyncio.sleep(QUIET)
        await both.agree()
    assert "x.txt" not in names  # nor has it changed in any way that a stamp shows
    assert await both.events("g.txt") == [*WRITTEN, "EntryMoved"]
    assert await both.events("e/x.txt") == WRITTEN
    with read_files() as names:
        await reopen(both)
        await both.agree()
    assert names == []


async def test_a_hard_link_makes_no_version_of_the_first_name(both: BothSides) -> None:
    await both.save("f.txt", b"one")
    os.link(both.root / "f.txt", both.root / "g.txt")
    await asyncio.sleep(QUIET)
    await both.agree()
    assert await both.events("f.txt") == WRITTEN
    with read_files() as names:
        await both.agree()
    assert names == []


# -- dates and inodes that SQLite can't keep


@pytest.mark.parametrize("seconds", [13_569_465_600, 2**34, -(2**31), -(2**40), 2**50])
async def test_files_of_any_date_are_known_after_a_restart(both: BothSides, seconds: int) -> None:
    file = both.root / "f.txt"
    file.write_bytes(b"hi")
    try:
        os.utime(file, (seconds, seconds))
    except OSError as error:
        pytest.skip(f"This disk does not take that date: {error}")
    await asyncio.sleep(QUIET)
    await both.agree()
    with read_files() as names:
        await reopen(both)
        await both.agree()
    assert names == []
    assert await both.text("f.txt") == b"hi"
    entry = await both.contents.exists(ContentPath("f.txt"))
    assert entry is not None
    assert entry.modified == min(max(file.stat().st_mtime_ns // 1000, 0), 253_402_300_799_000_000)
    await both.save("f.txt", b"ours")
    await both.agree()


def stamp(mtime: int, inode: int, ctime: int) -> StatStamp:
    dates = {"st_mtime_ns": mtime, "st_ctime_ns": ctime}
    return StatStamp.of(os.stat_result((0o100644, inode, 1, 1, 0, 0, 5, 0, 0, 0), dates))


numbers = st.integers(-(2**65), 2**65) | st.sampled_from([LARGEST, LARGEST + 1, -LARGEST - 1, 2**64 - 1])


@given(numbers, st.integers(0, 2**64 - 1), numbers)
def test_sqlite_can_keep_every_number(mtime: int, inode: int, ctime: int) -> None:
    found = stamp(mtime, inode, ctime)
    assert all(-(2**63) <= number < 2**63 for number in found)
    assert stamp(mtime, inode ^ 1, ctime) != found
    assert stamp(mtime + 1, inode, ctime) != found
    assert stamp(mtime, inode, ctime + 1) != found
    if max(abs(mtime), inode, abs(ctime)) <= LARGEST:
        assert found == (5, mtime, inode, ctime)


@pytest.mark.parametrize(
    ("mtime", "ctime", "is_certain"),
    [
        (0, 0, True),
        (1_000_000_001, 1_000_000_001, True),
        (10 * NS - 1, 1_000_000_001, False),  # just written
        (1_000_000_001, 10 * NS - 1, False),  # just written, and dated back
        (1_000_000_001, 10 * NS - TICK - 1, True),
        (1_000_000_001, 9 * NS, False),  # on a disk that knows whole seconds only
        (1_000_000_001, 10 * NS + 1, False),  # its server's clock is a bit ahead
        (100 * NS, 1_000_000_001, True),  # a date to come, which says nothing
    ],
)
def test_a_file_that_may_change_without_a_trace_is_not_known(
    mtime: int, ctime: int, is_certain: bool
) -> None:
    found = stamp(mtime, 7, ctime)
    known = found.as_read(10 * NS)
    assert (known == found) is is_certain
    assert found.is_moved(known)
    assert is_certain or known.ctime_ns == NO_DATE


def test_what_tells_a_move_from_a_change() -> None:
    assert stamp(1, 2, 3).is_moved(stamp(1, 2, 4))
    assert not stamp(1, 2, 3).is_moved(stamp(1, 3, 3))
    assert not stamp(1, 2, 3).is_moved(stamp(2, 2, 3))
