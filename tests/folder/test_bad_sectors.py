"""A disk that can't give what it has: one file that can't be read keeps nothing else from being taken in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evstore.core.paths import ContentPath
from evstore.worktree.disk.disk import Disk, Unreadable
from tests.folder.both_sides import LONGEST, BothSides, digest
from tests.folder.fuse import BAD_SECTOR, UNCLEAR, folding_disk

FAR = 300_000  # bytes that can be read before


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[BothSides]:
    (tmp_path / "folder").mkdir()
    with folding_disk(tmp_path / "folder"):
        both = BothSides(tmp_path)
        (both.root / "bad").write_bytes(bytes(FAR) + BAD_SECTOR)
        (both.root / "good").write_bytes(b"good")
        yield both


@pytest.mark.parametrize("size", [-1, 1000])
def test_reads_raise_what_is_told(both: BothSides, size: int) -> None:
    disk = Disk(both.root)
    file, _ = disk.open(ContentPath("bad"))
    with file, pytest.raises(Unreadable) as raised:
        list(iter(lambda: file.read(size), b""))
    disk.close()
    assert raised.value.message == "bad can't be read (Input/output error)"
    assert raised.value.why == "can't be read (Input/output error)"


async def test_the_rest_is_taken_in(both: BothSides) -> None:
    await both.open()
    for name in ("new", "newer"):
        (both.root / "worse").write_bytes(BAD_SECTOR)
        (both.root / ".evstoreignore").write_bytes(BAD_SECTOR + name.encode())
        both.write(name, b"new")
        async with asyncio.timeout(LONGEST):
            while name not in await both.tree():
                await asyncio.sleep(0.02)
    assert sorted(await both.tree()) == ["good", "new", "newer"]
    await both.close()


async def test_what_is_listed_and_nothing_more_can_be_known_of_is_not_gone(both: BothSides) -> None:
    (both.root / "bad").unlink()
    await both.open()
    (both.root / "d").mkdir()
    for path in ("file", "d/below", "d/seen"):
        both.write(path, path.encode())
    before = await both.agree()
    both.write(UNCLEAR, b"file\nbelow")
    both.write("new", b"new")
    both.remove("d/seen")
    with pytest.raises(OSError, match="Input/output"):
        (both.root / "file").stat()
    await both.folder.settled()
    after = {path: found for path, found in before.items() if path != "d/seen"} | {"new": digest(b"new")}
    assert await both.tree() == after
    await both.close()
    await both.open()
    await both.folder.settled()
    assert await both.tree() == after
    both.write(UNCLEAR, b"d")
    await both.folder.settled()
    assert await both.tree() == after
    both.write("newer", b"newer")
    after["newer"] = digest(b"newer")
    both.folder._dirty_queue.add([ContentPath("d")])  # something has happened in it
    await both.folder.settled()
    assert await both.tree() == after
    both.remove(UNCLEAR)
    assert await both.agree() == after
    assert await both.events("file") == ["EntryCreated", "FileSaved"]
    await both.close()
