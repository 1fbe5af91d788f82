"""Time travel: an entry's versions, what was deleted, the log, and restoring any of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from evstore.core import codec, diffing, restore_plan, rules
from evstore.core.entry import Entry
from evstore.core.errors import Invalid, NotFound
from evstore.core.events import ROOT, Author, Digest, EntryId, Kind, Offset, Recorded, new_id
from evstore.core.paths import ContentPath
from evstore.core.restore_plan import Change
from evstore.log import bodies, log
from evstore.log.engine.base import Tx
from evstore.log.log import Moment
from evstore.projections import executables, history, tree
from evstore.services.checkpoints import as_it_was
from evstore.services.contents import create
from evstore.store.store import Depth, Store, UnitOfWork

T = TypeVar("T")
FAR = 1 << 62  # an offset after all offsets


class HistoryItem(NamedTuple):
    """An event with the path that its entry had just after it (just before it, for a deletion)."""

    recorded: Recorded
    path: ContentPath | None
    kind: Kind | None

    @property
    def hidden(self) -> bool:
        """Whether it is about a hidden path, of which clients are not told."""
        return self.path is not None and self.path.hidden


class Deleted(NamedTuple):
    """Something that is deleted now, and could come back."""

    entry: EntryId
    path: ContentPath
    kind: Kind
    at: int
    actor: str
    offset: Offset


class Compared(NamedTuple):
    """Two versions of a file, and what a diff calls them."""

    old: bytes
    new: bytes
    names: tuple[str, str]


class Restored(NamedTuple):
    """What a restore did, or would do, and where the log ends after it."""

    offset: Offset
    changes: list[Change]


_BELOW = """
with recursive below(entry, since, until) as (
    values (?1, 0, ?4)
    union
    select p.entry, max(p.since, b.since), min(p.until, b.until)
    from places p join below b on p.parent = b.entry and p.since < b.until and p.until > b.since
)
select distinct h."offset" from below b join history h on h.entry = b.entry
where h."offset" between b.since and b.until and h."offset" < ?2
order by h."offset" desc limit ?3
"""


class History:
    """The past of the tree over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._diffing = asyncio.Lock()  # one at a time: a diff can keep a processor busy for minutes

    async def versions(
        self, path: ContentPath, before: int = FAR, limit: int = 50
    ) -> tuple[list[HistoryItem], int | None]:
        """An entry's events, newest first, across renames; a directory's with those of all below it.

        Also returns what to give as `before` for the next ones, None when there are no more. A
        path that nothing has now means what stood there last. Raises NotFound.
        """

        await self._store.look(path)

        def query(tx: Tx) -> tuple[list[HistoryItem], int | None]:
            entry = last_at(tx, path)
            if tree.kind_of(tx, entry) is Kind.FILE:
                offsets = history.offsets(tx, entry, before, limit + 1)
            elif entry == ROOT:
                end = min(before, log.head(tx).offset + 1)
                offsets = [Offset(offset) for offset in range(end - 1, max(0, end - limit - 2), -1)]
            else:
                offsets = [row[0] for row in tx.rows(_BELOW, (entry, before, limit + 1, tree.FOREVER))]
            told = [_render(tx, log.require(tx, offset)) for offset in offsets[:limit]]
            return told, offsets[limit - 1] if len(offsets) > limit else None

        return await self._store.read(query)

    async def log(
        self,
        after: int = 0,
        limit: int = 100,
        *,
        path: ContentPath | None = None,
        actor: str | None = None,
        event: str | None = None,
    ) -> tuple[list[HistoryItem], Offset]:
        """Events past `after`, oldest first, of one author, one name, or one path and all below it; and the head.

        What happened to hidden paths is left out.
        """
        if event is not None and event not in codec.EVENT_TYPES:
            raise Invalid(f"There is no event called {event!r}; there are {', '.join(codec.EVENT_TYPES)}.")

        def query(tx: Tx) -> tuple[list[HistoryItem], Offset]:
            told: list[HistoryItem] = []
            position = after
            while len(told) < limit and (page := log.matching(tx, position, actor=actor, event=event)):
                position = page[-1].offset
                found = (_render(tx, recorded) for recorded in page)
                told += [one for one in found if _concerns(one, path) and not one.hidden]
            return told[:limit], log.head(tx).offset

        return await self._store.read(query)

    async def tell(self, page: list[Recorded]) -> list[HistoryItem]:
        """Events with the paths that they were about."""
        return await self._store.read(lambda tx: [_render(tx, recorded) for recorded in page])

    async def versions_between(self, path: ContentPath, start: Moment, end: Moment | None = None) -> Compared:
        """A file's bytes at two moments (`end`: now). Raises NotFound, and Invalid for a directory."""

        await self._store.look(path)

        def query(tx: Tx) -> Compared:
            entry = last_at(tx, path)
            if tree.kind_of(tx, entry) is not Kind.FILE:
                raise Invalid(f"{path or '/'} is a directory; only files can be compared.")
            first = log.resolve(tx, start)
            last = log.head(tx).offset if end is None else log.resolve(tx, end)
            names = (f"{path}@{first}", f"{path}@{last}")
            return Compared(_bytes_at(tx, entry, path, first), _bytes_at(tx, entry, path, last), names)

        return await self._store.read(query)

    async def diff(self, path: ContentPath, start: Moment, end: Moment | None = None) -> dict[str, Any]:
        """What changed in a file between two moments (`end`: now). See `diffing.diff`."""
        old, new, names = await self.versions_between(path, start, end)
        notebook = path.name.endswith(".ipynb")
        async with self._diffing:
            return await _run_in_daemon_thread(lambda: diffing.diff(old, new, notebook=notebook, names=names))

    async def deleted(self, path: ContentPath, before: int = FAR, limit: int = 1000) -> list[Deleted]:
        """What was deleted below `path` and has not come back, newest first."""

        def query(tx: Tx) -> list[Deleted]:
            found: list[Deleted] = []
            for deletion in history.deletions(tx, before, FAR):
                where = tree.path_of(tx, deletion.entry, deletion.offset - 1)
                kind = tree.kind_of(tx, deletion.entry)
                if where is not None and kind is not None and where.is_below(path):
                    found.append(
                        Deleted(deletion.entry, where, kind, deletion.at, deletion.actor, deletion.offset)
                    )
                if len(found) >= limit:
                    break
            return found

        return await self._store.read(query)

    async def undelete(self, entry: EntryId, path: ContentPath | None, author: Author) -> Entry:
        """Bring a deleted entry back, with its history, to where it was or to `path`.

        Raises NotFound when there never was such an entry or its directory is gone, Exists when
        it is not deleted or its place is taken.
        """

        def command(work: UnitOfWork) -> Entry:
            tx = work.tx
            last = _last_path(tx, entry)
            to = path if path is not None else last
            parent, occupant = tree.entry_at(tx, to.parent), tree.entry_at(tx, to)
            work.append(rules.undelete(entry, tree.path_of(tx, entry), to, parent, occupant))
            back = tree.entry_at(tx, to)
            assert back is not None
            return back

        return await self._store.write(command, author, about=() if path is None else (path,))

    async def restore(
        self, path: ContentPath, at: Moment, author: Author, *, dry_run: bool = False
    ) -> Restored:
        """Make the file, the directory or (empty path) the whole tree equal to what it was at `at`.

        One transaction of new events, so that it can be undone like any other. `dry_run` only
        tells what would happen. Raises NotFound when there was nothing then.
        """

        def command(work: UnitOfWork) -> Restored:
            source = log.resolve(work.tx, at)
            restored = Restored(log.head(work.tx).offset, _restore(work, path, source))
            if dry_run:
                raise _DryRun(restored)
            return restored._replace(offset=log.head(work.tx).offset)

        if dry_run and (foretold := await self._store.read(lambda tx: _preview(tx, path, at))):
            return foretold
        try:
            return await self._store.write(command, author, about=(path,), depth=Depth.ALL)
        except _DryRun as told:
            return told.restored


async def _run_in_daemon_thread(work: Callable[[], T]) -> T:
    """Run `work` on a thread of its own, that neither saves wait for nor the end of the process."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, name="evstore-diff", daemon=True).start()
    return await asyncio.wrap_future(done)


class _DryRun(Exception):
    """Raised at the end of a command, so that nothing of it happens."""

    def __init__(self, restored: Restored) -> None:
        self.restored = restored


# -- within a transaction --------------------------------------------------------------


def last_at(tx: Tx, path: ContentPath) -> EntryId:
    """The id of what is at `path`, or of what stood there last. Raises NotFound."""
    entry = ROOT
    for name in path.names:
        last = tree.last_member(tx, entry, name)
        if last is None:
            raise NotFound(f"There never was a file or directory {path}.")
        entry = last
    return entry


def _last_path(tx: Tx, entry: EntryId) -> ContentPath:
    """Where a deleted entry was before it, or the directory around it, went."""
    moment = tree.last_moment(tx, entry)
    path = tree.path_of(tx, entry, moment) if moment is not None else None
    if path is None:
        raise NotFound("There is no entry with that id.")
    return path


def _render(tx: Tx, recorded: Recorded) -> HistoryItem:
    path = tree.path_of(tx, recorded.entry, recorded.offset)
    if path is None:
        path = tree.path_of(tx, recorded.entry, recorded.offset - 1)
    return HistoryItem(recorded, path, tree.kind_of(tx, recorded.entry))


def _concerns(one: HistoryItem, path: ContentPath | None) -> bool:
    return path is None or (one.path is not None and (one.path == path or one.path.is_below(path)))


def _bytes_at(tx: Tx, entry: EntryId, path: ContentPath, offset: Offset) -> bytes:
    found = tree.contents_at(tx, entry, offset)
    if found is None:
        raise NotFound(f"{path} did not exist yet at offset {offset}.")
    return bodies.read(tx, found[0])


def _preview(tx: Tx, path: ContentPath, at: Moment) -> Restored | None:
    """What a restore would do, told without being a command, for which all writers would wait.

    None when something must come back to `path` first: only a command can tell what follows.
    """
    source = log.resolve(tx, at)
    present, then = _targets(tx, path, source)
    if present is None:
        return None
    _, changes = _plan(tx, present, then, source)
    return Restored(log.head(tx).offset, changes)


def _restore(work: UnitOfWork, path: ContentPath, source: Offset) -> list[Change]:
    present, then = _targets(work.tx, path, source)
    back: list[Change] = []
    if present is None:
        back, present = _bring_back(work, then, path)
    decision, changes = _plan(work.tx, present, then, source)
    work.append(decision)
    return back + changes


def _targets(tx: Tx, path: ContentPath, source: Offset) -> tuple[Entry | None, Entry]:
    """What is at `path` now, and as it was then; or, if it did not exist then, what was at `path` then."""
    present = tree.entry_at(tx, path)
    then = tree.by_id(tx, present.id, source) if present is not None else None
    if then is None:
        then = tree.entry_at(tx, path, source)
    if then is None:
        raise NotFound(f"There was no {path} at offset {source}.")
    if present is not None and present.kind is not then.kind:
        raise Invalid(f"{path} is a {present.kind} now and was a {then.kind} then; move it away first.")
    return present, then


def _bring_back(work: UnitOfWork, then: Entry, path: ContentPath) -> tuple[list[Change], Entry]:
    """Nothing is at `path` now: undelete what was there, or copy it back if it lives elsewhere now."""
    tx = work.tx
    elsewhere = tree.by_id(tx, then.id)
    if elsewhere is None:
        work.append(rules.undelete(then.id, None, path, tree.entry_at(tx, path.parent), None))
    else:  # what it holds is copied as it was then, not as it is now
        create(work, path, then.kind, copied_from=then.id)
    back = tree.entry_at(tx, path)
    assert back is not None
    return [Change("create" if elsewhere else "undelete", path)], back


def _plan(tx: Tx, present: Entry, then: Entry, source: Offset) -> tuple[rules.Decision, list[Change]]:
    """What gives `present` the contents of `then`, or a directory its members."""
    if not present.is_directory:
        decision = as_it_was(tx, present, then.id, source)
        return decision, [Change("restore", present.path)] if decision else []

    def in_tree(entry: EntryId) -> bool:
        return tree.path_of(tx, entry) is not None

    def below(entry: EntryId) -> Iterator[Entry]:
        return tree.below(tx, entry)

    def last_digest(entry: EntryId) -> Digest | None:
        found = tree.contents_at(tx, entry)
        return found[0] if found else None

    programs = executables.executables(tx), executables.executables(tx, source)
    outside = restore_plan.Outside(in_tree, below, last_digest, *programs, lambda: EntryId(new_id()))
    now, past = list(tree.subtree(tx, present)), list(tree.subtree(tx, then, source))
    plan = restore_plan.plan(present, past, now, outside, source)
    return plan.events, plan.changes
