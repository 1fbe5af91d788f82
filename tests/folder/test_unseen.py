"""What comes to the disk after it was looked at, and before the log is carried out there: it is in the log in the end (invariant 18)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.worktree.watching import polling
from tests.folder.both_sides import AUTHOR, BothSides, digest


@pytest.fixture
async def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BothSides]:
    """They hear of nothing by themselves."""
    monkeypatch.setattr(polling, "INTERVAL", 3600.0)
    both = BothSides(tmp_path)
    await both.open(poll=True)
    yield both
    await both.agree()
    assert await both.has_lost() == set()
    await both.close()


@contextmanager
def too_late(both: BothSides) -> Generator[None]:
    """What comes to the disk meanwhile comes after the look that precedes each change."""
    both.folder._looks = False
    yield
    both.folder._looks = True


def write_unseen(both: BothSides, path: str, data: bytes) -> None:
    both.write(path, data)
    both.must_have.add(digest(data))


async def test_bytes_where_something_is_saved(both: BothSides) -> None:
    await both.save("a.txt", b"one")
    with too_late(both):
        write_unseen(both, "a.txt", b"unseen")
        await both.save("a.txt", b"two")
    await both.agree()
    assert await both.events("a.txt") == ["EntryCreated", *["FileSaved"] * 3]


async def test_a_file_where_a_new_one_is_saved(both: BothSides) -> None:
    with too_late(both):
        write_unseen(both, "a.txt", b"unseen")
        await both.save("a.txt", b"one")
    await both.agree()


async def test_a_file_where_something_is_moved_to(both: BothSides) -> None:
    await both.save("a.txt", b"one")
    with too_late(both):
        write_unseen(both, "b.txt", b"unseen")
        await both.contents.move(ContentPath("a.txt"), ContentPath("b.txt"), Author.new(AUTHOR))
    await both.agree()
    assert await both.events("b.txt") == ["EntryCreated", "FileSaved", "EntryMoved"]
    assert await both.text("b-disk1.txt") == b"unseen"


async def test_bytes_that_are_moved_or_deleted(both: BothSides) -> None:
    author = Author.new(AUTHOR)
    for name in ("moved", "deleted"):
        await both.save(name, name.encode())
    with too_late(both):
        write_unseen(both, "moved", b"unseen 1")
        (both.root / "deleted").write_bytes(b"unseen 2")
        await both.contents.move(ContentPath("moved"), ContentPath("b.txt"), author)
        await both.contents.delete(ContentPath("deleted"), author)
    assert await both.agree() == {"b.txt": digest(b"unseen 1")}
    (thrown,) = (both.root / ".evstore" / "trash").glob("*-deleted")
    assert thrown.read_bytes() == b"unseen 2"  # it was in no version
