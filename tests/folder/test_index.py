"""What is known of the disk: it is written down late, and nothing of it is lost by that."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from evstore.core.events import Author, Digest, EntryId
from evstore.store.store import Store
from evstore.worktree import index
from evstore.worktree.disk.file_stat import StatStamp
from evstore.worktree.index import Index, IndexEntry, SyncPoint

ENTRY, OTHER = EntryId(b"e" * 16), EntryId(b"o" * 16)
AUTHOR = Author.new("test")


def known(size: int, inode: int = 7) -> IndexEntry:
    return IndexEntry(StatStamp(size, 1, inode, 1), Digest(bytes([size]) * 32))


async def write_down(store: Store, known: Index, *, meanwhile: IndexEntry | None = None) -> None:
    """As `WorkingFolder.note` does; `meanwhile` becomes known of ENTRY while that is on its way."""
    changes = known.changes()
    await store.write(lambda work: index.put(work.tx, changes, SyncPoint("mark", 1)), AUTHOR)
    if meanwhile is not None:
        known.note(ENTRY, meanwhile)
    known.stored(changes)


async def test_what_was_noted_meanwhile_is_not_forgotten(tmp_path: Path) -> None:
    store, known_here = await Store.open(tmp_path / "log.db"), Index()
    known_here.note(ENTRY, known(1))
    known_here.note(OTHER, known(2, inode=8))
    await write_down(store, known_here, meanwhile=known(3))
    assert known_here.has_changes
    assert await store.read(lambda tx: known_here.known(tx, ENTRY)) == known(3)
    assert await store.read(lambda tx: list(known_here.by_inode(tx, 7))) == [(ENTRY, known(3))]
    await write_down(store, known_here)
    assert not known_here.has_changes
    assert await store.read(lambda tx: Index().known(tx, ENTRY)) == known(3)
    assert await store.read(lambda tx: list(known_here.by_inode(tx, 8))) == [(OTHER, known(2, inode=8))]
    known_here.note(ENTRY, None)
    assert await store.read(lambda tx: known_here.known(tx, ENTRY)) is None
    assert await store.read(lambda tx: list(known_here.by_inode(tx, 7))) == []
    await write_down(store, known_here)
    assert await store.read(lambda tx: Index().known(tx, ENTRY)) is None
    await store.close()


entries = st.sampled_from([EntryId(bytes([number]) * 16) for number in range(3)])
knowns = st.none() | st.builds(known, st.integers(1, 2), st.integers(7, 8))
A, B = EntryId(bytes(16)), EntryId(b"\1" * 16)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.none() | st.tuples(entries, knowns), max_size=12))
@example([(A, known(1, 7)), (B, known(1, 7))])  # two names of one file
@example([(A, known(1, 7)), (A, known(1, 8))])  # another file in its place
async def test_what_has_an_inode(steps: list[tuple[EntryId, IndexEntry | None] | None]) -> None:
    """Whatever is noted, and written down (None) in between, all that has an inode is told by it, and nothing else."""
    with TemporaryDirectory() as place:
        store, here, all_known = (
            await Store.open(Path(place) / "log.db"),
            Index(),
            dict[EntryId, IndexEntry](),
        )
        for step in steps:
            if step is None:
                await write_down(store, here)
                continue
            entry, what = step
            here.note(entry, what)
            all_known.pop(entry, None)
            if what is not None:
                all_known[entry] = what
        for inode in (7, 8):
            told = await store.read(lambda tx, inode=inode: list(here.by_inode(tx, inode)))
            same = {entry: one for entry, one in all_known.items() if one.stamp.inode == inode}
            assert len(told) == len(same) and dict(told) == same
        await store.close()
