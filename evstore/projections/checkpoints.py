"""Jupyter's checkpoints: saved states that a user marked. A checkpoint's id is its event's offset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evstore.core.events import CheckpointCreated, CheckpointDeleted, EntryId, Offset, Recorded
from evstore.log.engine.base import Row, Tx

LISTED = 20  # newest ones without a label that are listed; all stay in the history

NAME = "checkpoints"
CREATE = """
create table checkpoints (
    "offset"  integer primary key,
    entry     blob    not null,
    at        integer not null,          -- µs since 1970
    label     text
) strict;

create index checkpoints_by_entry on checkpoints (entry, "offset");
"""
DROP = "drop table if exists checkpoints;"


class Checkpoint(NamedTuple):
    offset: Offset
    at: int
    label: str | None


def apply(tx: Tx, batch: Sequence[Recorded]) -> None:
    # only these two concern it, whatever else will happen one day
    rows: list[Row] = []
    for recorded in batch:
        match recorded.event:
            case CheckpointCreated(label=label):
                rows.append((recorded.offset, recorded.entry, recorded.at, label))
            case CheckpointDeleted(checkpoint=offset):
                rows = [row for row in rows if row[0] != offset]
                tx.execute('delete from checkpoints where "offset" = ?', (offset,))
            case _:
                pass
    if rows:
        tx.many("insert into checkpoints values (?,?,?,?)", rows)


def listed(tx: Tx, entry: EntryId) -> list[Checkpoint]:
    """The checkpoints that a client is shown, oldest first: the labelled ones and the last LISTED others."""
    rows = tx.rows(
        'select "offset", at, label from checkpoints where entry = ?1 and label is not null union '
        'select * from (select "offset", at, label from checkpoints where entry = ?1 and label is null '
        'order by "offset" desc limit ?2) order by 1',
        (entry, LISTED),
    )
    return [Checkpoint(*row) for row in rows]


def one(tx: Tx, entry: EntryId, offset: int) -> Checkpoint | None:
    row = tx.row(
        'select "offset", at, label from checkpoints where "offset" = ? and entry = ?', (offset, entry)
    )
    return Checkpoint(*row) if row else None
