"""A disk that can't give what it has: one file that can't be read keeps nothing else from being taken in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evstore.disk.disk import Disk, Unreadable
from evstore.paths import ContentPath
from tests.folder.both_sides import LONGEST, BothSides
from tests.folder.fuse import BAD_SECTOR, folding_disk

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
