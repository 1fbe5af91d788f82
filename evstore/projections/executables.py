"""Which files are programs that can be started by their names, at any moment: the x bits of their modes."""

from __future__ import annotations

from collections.abc import Sequence

from evstore.core.events import EntryId, ExecutableChanged, Recorded
from evstore.log.engine.base import Row, Tx

NOW = 1 << 62  # a moment after all offsets

NAME = "modes"
CREATE = """
create table executables (
    entry       blob    not null,
    since       integer not null,
    executable  integer not null,
    primary key (entry, since)
) strict, without rowid;
"""
DROP = "drop table if exists executables;"


def apply(tx: Tx, batch: Sequence[Recorded]) -> None:
    rows: list[Row] = []
    for recorded in batch:
        match recorded.event:
            case ExecutableChanged(executable=executable):
                rows.append((recorded.entry, recorded.offset, int(executable)))
            case _:
                pass
    if rows:
        tx.many("insert into executables values (?,?,?)", sorted(rows))


def executables(tx: Tx, at: int = NOW) -> set[EntryId]:
    """All files, in the tree or not, that could be started by their names as of `at`."""
    rows = tx.rows(
        """select entry from executables x where executable = 1
           and since = (select max(since) from executables where entry = x.entry and since <= ?)""",
        (at,),
    )
    return {row[0] for row in rows}


def is_executable(tx: Tx, entry: EntryId, at: int = NOW) -> bool:
    """Whether a file could be started by its name as of `at`; none can until something says so."""
    row = tx.row(
        "select executable from executables where entry = ? and since <= ? order by since desc limit 1",
        (entry, at),
    )
    return row is not None and bool(row[0])
