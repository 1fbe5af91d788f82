"""Which notebooks a user has vouched for, by the digest of their bytes: their outputs may run scripts."""

from __future__ import annotations

from collections.abc import Sequence

from evstore.core.events import Digest, FileSaved, NotebookTrusted, Recorded
from evstore.log.engine.base import Tx

NAME = "trust"
CREATE = """
create table trusted (
    digest    blob primary key
) strict, without rowid;
"""
DROP = "drop table if exists trusted;"


def apply(tx: Tx, batch: Sequence[Recorded]) -> None:
    rows: list[tuple[Digest]] = []
    for recorded in batch:
        match recorded.event:
            case FileSaved(trusted=True, digest=digest) | NotebookTrusted(digest=digest):
                rows.append((digest,))
            case _:
                pass
    if rows:
        tx.many("insert into trusted values (?) on conflict do nothing", rows)


def is_trusted(tx: Tx, digest: Digest) -> bool:
    return tx.row("select 1 from trusted where digest = ?", (digest,)) is not None
