"""The tree at any moment: which entry stood where, and what a file held, from offset to offset.

A *place* says that an entry had a parent and a name from `since` until just before `until`
(FOREVER when it still has). Moving a folder of 100,000 files closes one row and opens one. A
lookup now and a lookup then are the same query: now is just the moment NOW, after every
offset. The unique index is the guard against two entries in one place, as all open places
of one parent and name share `until` = FOREVER.

An entry is in the tree when every place up to the root is open: deleting a directory closes
its own place only, and undeleting it brings back what was below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from evstore.core.entry import Entry
from evstore.core.events import (
    ROOT,
    BodyErased,
    CheckpointCreated,
    CheckpointDeleted,
    CommitImported,
    Digest,
    EntryCreated,
    EntryDeleted,
    EntryId,
    EntryMoved,
    EntryUndeleted,
    ExecutableChanged,
    FileRestored,
    FileSaved,
    Kind,
    NotebookTrusted,
    Offset,
    Recorded,
    TagImported,
)
from evstore.core.paths import ContentPath
from evstore.log.engine.base import Row, Tx

FOREVER = (1 << 63) - 1
NOW = FOREVER - 1

NAME = "tree"
CREATE = """
create table entries (
    entry    blob    primary key,
    kind     text    not null,
    created  integer not null            -- µs since 1970
) strict, without rowid;

create table places (
    entry    blob    not null,
    since    integer not null,
    until    integer not null,
    parent   blob    not null,
    name     text    not null,
    primary key (entry, since)
) strict, without rowid;

create unique index places_by_name on places (parent, name, until);

create table contents (
    entry    blob    not null,
    since    integer not null,
    digest   blob    not null,
    size     integer not null,           -- bytes
    modified integer not null,           -- µs since 1970
    primary key (entry, since)
) strict, without rowid;

create table touches (                   -- when the list of a directory's members changed
    entry    blob    not null,
    since    integer not null,
    modified integer not null,
    primary key (entry, since)
) strict, without rowid;
"""
DROP = """
drop table if exists entries;
drop table if exists places;
drop table if exists contents;
drop table if exists touches;
"""


class Place(NamedTuple):
    """Where an entry stands."""

    parent: EntryId
    name: str


# -- applying ------------------------------------------------------------------------


@dataclass(slots=True)
class _Changes:
    """What a batch of events does to the tables, folded in memory and written at once."""

    tx: Tx
    entries: list[Row] = field(default_factory=list[Row])
    opened: dict[EntryId, tuple[int, Place]] = field(default_factory=dict[EntryId, tuple[int, Place]])
    passed: list[Row] = field(default_factory=list[Row])  # places opened and closed within the batch
    closed: list[Row] = field(default_factory=list[Row])  # places that stood open before the batch
    contents: list[Row] = field(default_factory=list[Row])
    touches: dict[tuple[EntryId, int], int] = field(default_factory=dict[tuple[EntryId, int], int])
    gone: set[EntryId] = field(default_factory=set[EntryId])  # entries whose stored place the batch closed

    def open(self, recorded: Recorded, parent: EntryId, name: str) -> None:
        self.opened[recorded.entry] = (recorded.offset, Place(parent, name))
        self.touches[(parent, recorded.offset)] = recorded.at

    def close(self, recorded: Recorded) -> None:
        entry, offset = recorded.entry, recorded.offset
        if found := self.opened.pop(entry, None):
            since, before = found
            self.passed.append((entry, since, offset, before.parent, before.name))
        elif entry not in self.gone and (stood := place(self.tx, entry, NOW)):
            before = stood
            self.closed.append((offset, entry, FOREVER))
            self.gone.add(entry)
        else:
            return
        self.touches[(before.parent, offset)] = recorded.at

    def write(self) -> None:
        # sorted by their keys: what goes into one page of the table goes there at a time
        tx = self.tx
        if self.entries:
            tx.many("insert into entries values (?,?,?)", sorted(self.entries))
        if self.closed:
            tx.many("update places set until = ? where entry = ? and until = ?", self.closed)
        if self.passed:
            tx.many("insert into places values (?,?,?,?,?)", sorted(self.passed))
        if self.opened:
            rows = [(entry, since, FOREVER, *where) for entry, (since, where) in self.opened.items()]
            tx.many("insert into places values (?,?,?,?,?)", sorted(rows))
        if self.contents:
            tx.many("insert into contents values (?,?,?,?,?)", sorted(self.contents))
        if self.touches:
            rows = [(entry, since, at) for (entry, since), at in self.touches.items()]
            tx.many("insert into touches values (?,?,?)", sorted(rows))


def apply(tx: Tx, batch: Sequence[Recorded]) -> None:
    changes = _Changes(tx)
    for recorded in batch:
        match recorded.event:
            case EntryCreated() as event:
                created = recorded.at if event.created is None else event.created
                changes.entries.append((recorded.entry, event.kind.value, created))
                changes.open(recorded, event.parent, event.name)
            case EntryMoved(parent=parent, name=name) | EntryUndeleted(parent=parent, name=name):
                changes.close(recorded)
                changes.open(recorded, parent, name)
            case EntryDeleted():
                changes.close(recorded)
            case FileSaved() as event:
                modified = recorded.at if event.modified is None else event.modified
                changes.contents.append((recorded.entry, recorded.offset, event.digest, event.size, modified))
            case FileRestored() as event:
                changes.contents.append(
                    (recorded.entry, recorded.offset, event.digest, event.size, recorded.at)
                )
            case CheckpointCreated() | CheckpointDeleted() | NotebookTrusted() | BodyErased():
                pass
            case ExecutableChanged() | CommitImported() | TagImported():
                pass
    changes.write()


# -- asking --------------------------------------------------------------------------

_SELECT = """
select p.entry, p.parent, p.name, e.kind, e.created, c.digest, c.size, c.since, c.modified,
       case e.kind when 'directory' then
           (select t.modified from touches t where t.entry = p.entry and t.since <= ?1 order by t.since desc limit 1)
       end
from places p
join entries e on e.entry = p.entry
left join contents c on c.entry = p.entry
     and c.since = (select max(since) from contents where entry = p.entry and since <= ?1)
where p.since <= ?1 and p.until > ?1
"""
_BY_NAME = _SELECT + " and p.parent = ?2 and p.name = ?3"
_BY_ID = _SELECT + " and p.entry = ?2"
_MEMBERS = _SELECT + " and p.parent = ?2 order by p.name"


def _entry(row: Row, path: ContentPath) -> Entry:
    entry, parent, name, kind, created, digest, size, since, modified, touched = row
    return Entry(
        id=entry,
        parent=parent,
        name=name,
        path=path,
        kind=Kind(kind),
        created=created,
        modified=(touched if kind == "directory" else modified) or created,
        digest=digest,
        size=0 if size is None and kind == "file" else size,
        since=since or 0,
    )


def root(tx: Tx, at: int = NOW) -> Entry:
    """The served folder itself."""
    row = tx.row(
        "select modified from touches where entry = ? and since <= ? order by since desc limit 1", (ROOT, at)
    )
    first = tx.row("select modified from touches where entry = ? order by since limit 1", (ROOT,))
    return Entry(
        id=ROOT,
        parent=ROOT,
        name="",
        path=ContentPath(""),
        kind=Kind.DIRECTORY,
        created=first[0] if first else 0,
        modified=row[0] if row else 0,
    )


def entry_at(tx: Tx, path: ContentPath, at: int = NOW) -> Entry | None:
    """What stands at `path` as of `at`."""
    parent = ROOT
    names = path.names
    if not names:
        return root(tx, at)
    for name in names[:-1]:
        found = member(tx, parent, name, at)
        if found is None:
            return None
        parent = found
    row = tx.row(_BY_NAME, (at, parent, names[-1]))
    return _entry(row, path) if row else None


def member(tx: Tx, parent: EntryId, name: str, at: int = NOW) -> EntryId | None:
    """The id of what stands in `parent` under `name`."""
    row = tx.row(
        "select entry, since from places where parent = ? and name = ? and until > ? order by until limit 1",
        (parent, name, at),
    )
    return row[0] if row and row[1] <= at else None


def last_member(tx: Tx, parent: EntryId, name: str) -> EntryId | None:
    """The id of what stands in `parent` under `name`, or was the last to stand there."""
    row = tx.row(
        "select entry from places where parent = ? and name = ? order by until desc limit 1", (parent, name)
    )
    return row[0] if row else None


def members(tx: Tx, directory: Entry, at: int = NOW) -> Iterator[Entry]:
    """What a directory holds, by name."""
    for row in tx.rows(_MEMBERS, (at, directory.id)):
        yield _entry(row, directory.path.child(row[2]))


def names(tx: Tx, directory: EntryId, limit: int) -> list[str]:
    """The names of up to `limit` of a directory's members now, without looking at what they are."""
    rows = tx.rows(
        "select name from places where parent = ? and until = ? limit ?", (directory, FOREVER, limit)
    )
    return [row[0] for row in rows]


def place(tx: Tx, entry: EntryId, at: int = NOW) -> Place | None:
    """Where an entry stands in its parent, whether or not that parent is in the tree itself."""
    row = tx.row(
        "select parent, name, until from places where entry = ? and since <= ? order by since desc limit 1",
        (entry, at),
    )
    return Place(row[0], row[1]) if row and row[2] > at else None


def path_of(tx: Tx, entry: EntryId, at: int = NOW) -> ContentPath | None:
    """An entry's path, None when it, or a folder above it, is not in the tree as of `at`."""
    names: list[str] = []
    while entry != ROOT:
        where = place(tx, entry, at)
        if where is None:
            return None
        names.append(where.name)
        entry = where.parent
    return ContentPath("/".join(reversed(names)))


def last_moment(tx: Tx, entry: EntryId) -> int | None:
    """The last moment at which an entry was in the tree: NOW, or just before it or a folder above it was deleted."""
    moment = NOW
    above = entry
    while above != ROOT:
        row = tx.row(
            "select parent, until from places where entry = ? and since <= ? order by since desc limit 1",
            (above, moment),
        )
        if row is None:
            return None
        if row[1] <= moment:  # it went before all that we have climbed through: begin again, then
            moment, above = row[1] - 1, entry
        else:
            above = row[0]
    return moment


class Deletion(NamedTuple):
    """How an entry was lost: by the deletion of it, or of a directory above it."""

    offset: Offset
    below: list[str]  # the names from what was deleted down to the entry


def deletion(tx: Tx, entry: EntryId, at: int = NOW) -> Deletion | None:
    """Why an entry is not in the tree as of `at`; None when it is, or never was there."""
    below: list[str] = []
    while entry != ROOT:
        row = tx.row(
            "select parent, name, until from places where entry = ? and since <= ? order by since desc limit 1",
            (entry, at),
        )
        if row is None:
            return None
        if row[2] <= at:
            return Deletion(row[2], below[::-1])
        below.append(row[1])
        entry = row[0]
    return None


def by_id(tx: Tx, entry: EntryId, at: int = NOW) -> Entry | None:
    """An entry by its id; None when it is not in the tree as of `at`."""
    if entry == ROOT:
        return root(tx, at)
    path = path_of(tx, entry, at)
    row = tx.row(_BY_ID, (at, entry)) if path is not None else None
    return _entry(row, path) if row and path is not None else None


def kind_of(tx: Tx, entry: EntryId) -> Kind | None:
    """What an entry is, in the tree or not; None when there never was one."""
    row = tx.row("select kind from entries where entry = ?", (entry,))
    return Kind(row[0]) if row else None


def contents_at(tx: Tx, entry: EntryId, at: int = NOW) -> tuple[Digest, int] | None:
    """A file's digest and size as of `at`, in the tree or not."""
    row = tx.row(
        "select digest, size from contents where entry = ? and since <= ? order by since desc limit 1",
        (entry, at),
    )
    return (row[0], row[1]) if row else None


def below(tx: Tx, entry: EntryId, at: int = NOW) -> Iterator[Entry]:
    """What has its place below a directory that need not be in the tree itself; paths begin with its members."""
    waiting = [(entry, ContentPath(""))]
    while waiting:
        directory, path = waiting.pop()
        for row in tx.rows(_MEMBERS, (at, directory)):
            found = _entry(row, path.child(row[2]))
            yield found
            if found.is_directory:
                waiting.append((found.id, found.path))


def subtree(tx: Tx, top: Entry, at: int = NOW) -> Iterator[Entry]:
    """`top` and all below it, each directory before what it holds."""
    yield top
    if not top.is_directory:
        return
    waiting = [top]
    while waiting:
        for found in members(tx, waiting.pop(), at):
            yield found
            if found.is_directory:
                waiting.append(found)


def count(tx: Tx) -> dict[str, Any]:
    """How many files and directories there are now, and the bytes of the files."""
    row = tx.row(
        """select sum(e.kind = 'file'), sum(e.kind = 'directory'), sum(c.size) from places p
           join entries e on e.entry = p.entry
           left join contents c on c.entry = p.entry
                and c.since = (select max(since) from contents where entry = p.entry)
           where p.until = ?""",
        (FOREVER,),
    )
    files, directories, size = row or (0, 0, 0)
    return {"files": files or 0, "directories": directories or 0, "bytes": size or 0}
