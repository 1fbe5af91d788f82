"""Which events an entry has, and which entries are deleted now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evstore.core.events import EntryDeleted, EntryId, EntryUndeleted, Offset, Recorded
from evstore.log.engine.base import Row, Tx

NAME = "history"
CREATE = """
create table history (
    entry     blob    not null,
    "offset"  integer not null,
    primary key (entry, "offset")
) strict, without rowid;

create table deletions (
    "offset"  integer primary key,
    entry     blob    not null unique,
    at        integer not null,          -- µs since 1970
    actor     text    not null
) strict;
"""
DROP = """
drop table if exists history;
drop table if exists deletions;
"""


class Deletion(NamedTuple):
    offset: Offset
    entry: EntryId
    at: int
    actor: str


def apply(tx: Tx, batch: Sequence[Recorded]) -> None:
    deleted: dict[EntryId, Row] = {}
    for recorded in batch:
        match recorded.event:
            case EntryDeleted():
                deleted[recorded.entry] = (recorded.offset, recorded.entry, recorded.at, recorded.actor)
            case EntryUndeleted():
                deleted.pop(recorded.entry, None)
                tx.execute("delete from deletions where entry = ?", (recorded.entry,))
            case _:
                pass
    # sorted: what goes into one page of the table goes there at a time
    tx.many(
        "insert into history values (?,?)", sorted((recorded.entry, recorded.offset) for recorded in batch)
    )
    if deleted:
        tx.many("insert into deletions values (?,?,?,?)", deleted.values())


def offsets(tx: Tx, entry: EntryId, before: int, limit: int) -> list[Offset]:
    """The offsets of an entry's events below `before`, newest first."""
    sql = 'select "offset" from history where entry = ? and "offset" < ? order by "offset" desc limit ?'
    return [Offset(row[0]) for row in tx.rows(sql, (entry, before, limit))]


def deletion(tx: Tx, entry: EntryId) -> Deletion | None:
    """By whom and when an entry was deleted, None when it is not (a folder above it may be)."""
    row = tx.row('select "offset", entry, at, actor from deletions where entry = ?', (entry,))
    return Deletion(*row) if row else None


def deletions(tx: Tx, before: int, limit: int) -> list[Deletion]:
    """What is deleted now, newest first."""
    sql = 'select "offset", entry, at, actor from deletions where "offset" < ? order by "offset" desc limit ?'
    return [Deletion(*row) for row in tx.rows(sql, (before, limit))]
