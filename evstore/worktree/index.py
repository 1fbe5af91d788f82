"""What lies on the disk, as evstore last wrote it there or read it: a stamp and a digest for each entry.

A file whose stamp is the known one has not been touched by anybody else, so its bytes need not be read. Kept in
the log's database, but written there late (a change waits in memory until the next `changes`): after a crash
the log is followed again from the last offset that was noted, and a stamp that is too old costs one reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from evstore.core.events import Digest, EntryId, Kind
from evstore.log.engine.base import Tx
from evstore.projections import tree
from evstore.worktree.disk.disk import StatStamp

_MEMBERS = """
select p.entry, p.name, e.kind, c.digest, c.size, c.modified, k.size, k.mtime, k.inode, k.ctime, k.digest,
       (select executable from executables where entry = p.entry order by since desc limit 1)
from places p
join entries e on e.entry = p.entry
left join contents c on c.entry = p.entry and c.since = (select max(since) from contents where entry = p.entry)
left join folder_known k on k.entry = p.entry
where p.parent = ? and p.until = ?
"""


KINDS = {kind.value: kind for kind in Kind}


class IndexEntry(NamedTuple):
    """What lies on the disk for an entry."""

    stamp: StatStamp
    digest: Digest | None  # None: a directory, or an empty file that never had contents


class Member(NamedTuple):
    """An entry in a directory of the tree, and what is known to lie on the disk for it."""

    entry: EntryId
    name: str
    kind: Kind
    digest: Digest | None  # of what the log says
    size: int | None  # and the size and date that the log has
    modified: int | None  # µs since 1970
    executable: bool  # and that it is a program
    known: IndexEntry | None  # None: it has never been written to the disk, or read there


class SyncPoint(NamedTuple):
    """Up to where the log has been written to which folder."""

    mark: str
    offset: int


class Index:
    """The table with what has changed since it was last written. For one thread."""

    def __init__(self) -> None:
        self._fresh: dict[EntryId, IndexEntry | None] = {}
        self._inodes: dict[int, dict[EntryId, IndexEntry]] = {}  # the same by inode, without what is nowhere

    def known(self, tx: Tx, entry: EntryId) -> IndexEntry | None:
        if entry in self._fresh:
            return self._fresh[entry]
        row = tx.row("select size, mtime, inode, ctime, digest from folder_known where entry = ?", (entry,))
        return IndexEntry(StatStamp(*row[:4]), row[4]) if row else None

    def by_inode(self, tx: Tx, inode: int) -> Iterator[tuple[EntryId, IndexEntry]]:
        """The entries, in the tree or deleted, for which this inode was seen on the disk."""
        yield from tuple(self._inodes.get(inode, {}).items())
        query = "select entry, size, mtime, inode, ctime, digest from folder_known where inode = ?"
        for entry, size, mtime, number, ctime, digest in tx.rows(query, (inode,)):
            if entry not in self._fresh:
                yield entry, IndexEntry(StatStamp(size, mtime, number, ctime), digest)

    def members(self, tx: Tx, directory: EntryId) -> Iterator[Member]:
        """What a directory of the tree holds now."""
        fresh = self._fresh
        for row in tx.rows(_MEMBERS, (directory, tree.FOREVER)):
            entry, name, kind, digest, bytes_, modified, size, mtime, inode, ctime, there, executable = row
            known = None if size is None else IndexEntry(StatStamp(size, mtime, inode, ctime), there)
            if entry in fresh:
                known = fresh[entry]
            yield Member(entry, name, KINDS[kind], digest, bytes_, modified, bool(executable), known)

    def note(self, entry: EntryId, known: IndexEntry | None) -> None:
        """Remember what lies on the disk for an entry; None: nothing."""
        self._drop(entry)
        self._fresh[entry] = known
        if known is not None:
            self._inodes.setdefault(known.stamp.inode, {})[entry] = known

    def _drop(self, entry: EntryId) -> None:
        known = self._fresh.pop(entry, None)
        if known is not None:
            same = self._inodes[known.stamp.inode]
            del same[entry]
            if not same:
                del self._inodes[known.stamp.inode]

    @property
    def has_changes(self) -> bool:
        """Whether something was noted that is not in the table yet. May be asked from any thread."""
        return bool(self._fresh)

    def changes(self) -> dict[EntryId, IndexEntry | None]:
        """What has been noted and is not in the table yet."""
        return dict(self._fresh)

    def stored(self, changes: dict[EntryId, IndexEntry | None]) -> None:
        """`changes` are in the table now."""
        for entry, known in changes.items():
            if self._fresh.get(entry, _OTHER) is known:
                self._drop(entry)

    def forget(self) -> None:
        """Nothing is known any more, as after `clear`."""
        self._fresh.clear()
        self._inodes.clear()


_OTHER = object()


def put(tx: Tx, changes: dict[EntryId, IndexEntry | None], noted: SyncPoint) -> None:
    """Write what has been noted into the table."""
    rows = [(entry, *known.stamp, known.digest) for entry, known in changes.items() if known is not None]
    tx.many("insert or replace into folder_known values (?,?,?,?,?,?)", sorted(rows))
    gone = [(entry,) for entry, known in changes.items() if known is None]
    tx.many("delete from folder_known where entry = ?", gone)
    tx.execute("insert or replace into folder values (1, ?, ?)", noted)


def noted(tx: Tx) -> SyncPoint | None:
    """Which folder this log was last written to, and how far; None when it never was."""
    row = tx.row('select mark, "offset" from folder')
    return SyncPoint(*row) if row else None


def clear(tx: Tx) -> None:
    """Nothing is known of the folder any more: it is another one."""
    tx.execute("delete from folder_known")
    tx.execute("delete from folder")
