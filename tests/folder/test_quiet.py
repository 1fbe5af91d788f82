"""A file is taken in when it is quiet: one that is being written is waited for, but not for ever, and not by those who read it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from evstore.core.paths import ContentPath
from evstore.store import body_upload
from evstore.worktree import body_reader, dirty_queue, scanner
from tests.folder.both_sides import BothSides, digest

ROOT = ContentPath("")
LONG_AGO = (1_000_000_000, 1_000_000_000)
WRITTEN = ["EntryCreated", "FileSaved"]


@pytest.fixture
async def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BothSides]:
    """To them everything is being written that was changed in the last hour."""
    monkeypatch.setattr(scanner, "QUIET", 3600.0)
    monkeypatch.setattr(dirty_queue, "AT_THE_LATEST", 3600.0)
    both = BothSides(tmp_path)
    await both.open()
    yield both
    await both.agree()
    await both.close()


async def look(both: BothSides) -> bool:
    """Compare the folder, as when something is heard of it; whether it is to be looked at again."""
    return bool(await both.folder._importer.take([ROOT]))


async def test_what_is_being_written_is_waited_for(both: BothSides) -> None:
    both.write("a.txt", b"half")
    assert await look(both)
    assert await both.tree() == {}
    os.utime(both.root / "a.txt", LONG_AGO)
    await look(both)
    assert await both.tree() == {"a.txt": digest(b"half")}
    both.write("a.txt", b"and the rest")
    assert await look(both)
    os.utime(both.root / "a.txt", LONG_AGO)  # as of an archive: it has just been written all the same
    assert await look(both)
    assert await both.tree() == {"a.txt": digest(b"half")}


async def test_others_need_not_wait_for_it(both: BothSides) -> None:
    (both.root / "d").mkdir()
    for name in ("a.txt", "d/b.txt", "c.txt"):
        both.write(name, name.encode())
    os.utime(both.root / "c.txt", LONG_AGO)
    assert await look(both)
    assert set(await both.tree()) == {"c.txt", "d"}


async def test_a_date_to_come_says_nothing(both: BothSides) -> None:
    both.write("a.txt", b"one")
    os.utime(both.root / "a.txt", (4_000_000_000, 4_000_000_000))
    await look(both)
    assert await both.tree() == {"a.txt": digest(b"one")}


async def test_who_reads_it_does_not_wait(both: BothSides) -> None:
    for text in (b"half", b"and the rest"):
        both.write("a.txt", text)
        assert await both.text("a.txt") == text
    assert await both.events("a.txt") == [*WRITTEN, "FileSaved"]


async def test_what_is_never_quiet_is_taken_in_the_end(
    both: BothSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.write("a.txt", b"half")
    assert await look(both)
    monkeypatch.setattr(dirty_queue, "AT_THE_LATEST", 0.3)
    await both.agree_by_themselves()
    assert await both.events("a.txt") == WRITTEN


async def test_a_file_that_changes_while_it_is_read_is_read_again(
    both: BothSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.write("a.txt", b"half")
    inode, fstat, looks = (both.root / "a.txt").stat().st_ino, os.fstat, 0

    def changing(descriptor: int) -> os.stat_result:
        nonlocal looks
        if fstat(descriptor).st_ino == inode:
            looks += 1
            if looks == 2:  # the first is before it is read, the second after
                both.write("a.txt", b"and the rest")
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", changing)
    await both.agree()
    assert looks > 2
    assert await both.events("a.txt") == WRITTEN
    assert await both.text("a.txt") == b"and the rest"


@pytest.fixture(params=["small", "large"])
def growing(
    both: BothSides, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A file to which something is written whenever it is looked at; the watcher waits for it no longer than others."""
    if request.param == "large":
        for module in (body_reader, body_upload):
            monkeypatch.setattr(module, "WHOLE", 0)
    file = both.root / "a.txt"
    file.write_bytes(b"0 ")
    inode, fstat, lines = file.stat().st_ino, os.fstat, count(1)

    def grow(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        if found.st_ino == inode:
            with file.open("ab") as there:
                there.write(b"%d " % next(lines))
        return found

    monkeypatch.setattr(os, "fstat", grow)
    yield file
    monkeypatch.undo()


def contents(file: Path) -> bytes:
    return file.read_bytes()


async def test_what_never_rests_is_read_as_it_was_when_it_was_opened(both: BothSides, growing: Path) -> None:
    """As the log of a program that prints all the time."""
    before = b""
    for _ in range(3):
        text = await both.text("a.txt")
        assert text is not None and len(text) > len(before)
        assert contents(growing).startswith(text)
        before = text
    assert set(await both.events("a.txt")) == set(WRITTEN)


async def test_what_never_rests_is_taken_in_now_and_then(
    both: BothSides, growing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dirty_queue, "AT_THE_LATEST", 0.3)
    async with asyncio.timeout(30):
        while len(await both.events("a.txt")) < 4:
            await asyncio.sleep(0.05)
    assert (await both.text("a.txt") or b"").startswith(b"0 1 2 3 ")
