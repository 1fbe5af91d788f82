"""What the log says of places past an offset, for a folder that may have missed any part of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evstore.core.events import (
    ROOT,
    EntryCreated,
    EntryId,
    EntryMoved,
    EntryUndeleted,
    ExecutableChanged,
    Kind,
    Offset,
)
from evstore.core.paths import ContentPath
from evstore.log import log
from evstore.log.engine.base import Tx
from evstore.projections import tree


class ChangesSince(NamedTuple):
    """What has happened to places: the moments just after each change."""

    touched: dict[EntryId, list[Offset]]  # entries that anything has happened to; the moments of their own
    shared: list[Offset]  # the moments of directories, with which all goes that is below them
    undeleted: dict[EntryId, Offset]  # and the last moment of that
    modes: set[EntryId]  # files that became programs, or are none any more
    last: dict[EntryId, int]  # when anything has happened to an entry last, µs since 1970


def changes_since(tx: Tx, after: int) -> ChangesSince:
    """What has happened past the offset `after`."""
    since = ChangesSince({}, [Offset(after)], {}, set(), {})
    while page := log.after(tx, after):
        for one in page:
            own = since.touched.setdefault(one.entry, [])
            since.last[one.entry] = one.at
            if isinstance(one.event, EntryMoved | EntryUndeleted | EntryCreated):
                own.append(one.offset)
            if isinstance(one.event, EntryUndeleted):
                since.undeleted[one.entry] = one.offset
            if isinstance(one.event, ExecutableChanged):
                since.modes.add(one.entry)
            if (
                isinstance(one.event, EntryMoved | EntryUndeleted)
                and tree.kind_of(tx, one.entry) is Kind.DIRECTORY
            ):
                since.shared.append(one.offset)
        after = page[-1].offset
    since.touched.pop(ROOT, None)
    return since


def places(tx: Tx, entry: EntryId, moments: Sequence[Offset]) -> set[ContentPath]:
    """Where an entry has stood at these moments."""
    paths = (tree.path_of(tx, entry, moment) for moment in moments)
    return {path for path in paths if path is not None}
