"""Marks: what has been done with this log and is no event, such as that the folder's files were taken in.

Unlike a projection a mark can't be derived from the log, so a rebuild leaves it alone; and as it
stands in the database, a copy of the log carries it along.
"""

from __future__ import annotations

from evstore.log.engine.base import Tx

IMPORTED = "imported"  # the folder's files have been taken in, all of them


def is_set(tx: Tx, name: str) -> bool:
    return tx.row("select 1 from marks where name = ?", (name,)) is not None


def is_only_imported(tx: Tx) -> bool:
    """Whether the folder's files were taken in, and nothing has happened since."""
    return is_set(tx, IMPORTED) and tx.row("select 1 from events where actor != 'import' limit 1") is None


def put(tx: Tx, name: str) -> None:
    tx.execute("insert into marks values (?) on conflict do nothing", (name,))
