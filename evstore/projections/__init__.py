"""Tables derived from the log: droppable at any time, and rebuilt by replay to the same rows.

Each module is one projection: NAME, CREATE and DROP (SQL), `apply`, and its own queries.
None imports another. All are applied in the transaction that appends the events, so a read
that follows a write sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from evstore.core.events import Recorded
from evstore.log import log
from evstore.log.engine.base import Tx
from evstore.projections import checkpoints, executables, history, tree, trust

REPLAY_PAGE = 20_000  # events applied at a time when catching up


class Projection(Protocol):
    """What a projection module offers."""

    @property
    def NAME(self) -> str: ...  # noqa: N802 - a module's constant
    @property
    def CREATE(self) -> str: ...  # noqa: N802
    @property
    def DROP(self) -> str: ...  # noqa: N802

    def apply(self, tx: Tx, batch: Sequence[Recorded]) -> None:
        """Bring the tables from just before `batch` to just after it."""
        ...


ALL: tuple[Projection, ...] = (tree, checkpoints, history, trust, executables)


def apply(tx: Tx, batch: Sequence[Recorded]) -> None:
    """Apply events that have just been appended, in their own transaction."""
    for projection in ALL:
        projection.apply(tx, batch)
    tx.execute('update watermarks set "offset" = ?', (batch[-1].offset,))


def catch_up(tx: Tx, progress: Callable[[int], None] = lambda _: None) -> None:
    """Create the projections that are missing and replay what any of them has not applied.

    `progress` gets the offset reached.
    """
    marks: dict[str, int] = {}
    for name, offset in tx.rows('select projection, "offset" from watermarks'):
        marks[name] = offset
    for projection in ALL:
        if projection.NAME not in marks:
            tx.script(projection.CREATE)
            tx.execute("insert into watermarks values (?, 0)", (projection.NAME,))
            marks[projection.NAME] = 0
    offset = min(marks.values())
    while batch := log.after(tx, offset, REPLAY_PAGE):
        for projection in ALL:
            if fresh := [recorded for recorded in batch if recorded.offset > marks[projection.NAME]]:
                projection.apply(tx, fresh)
        offset = batch[-1].offset
        progress(offset)
    tx.execute('update watermarks set "offset" = ?', (offset,))


def are_current(tx: Tx) -> bool:
    """Whether all projections exist and have applied the whole log."""
    offset = log.head(tx).offset
    marks = dict(tx.rows('select projection, "offset" from watermarks'))
    return all(marks.get(projection.NAME) == offset for projection in ALL)


def rebuild(tx: Tx, progress: Callable[[int], None] = lambda _: None) -> None:
    """Drop every projection and replay the whole log."""
    for projection in ALL:
        tx.script(projection.DROP)
    tx.execute("delete from watermarks")
    catch_up(tx, progress)
