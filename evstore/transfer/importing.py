"""Taking in a folder: its files become entries, with their dates.

Files are read, cut and compressed in threads while the batches before them are being written; each
batch is one transaction. So a crash leaves whole files only, and the next run goes on from there:
what the log has already, with the same size and date, is not even read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from evstore import rules
from evstore.disk.disk import Disk
from evstore.entry import Entry
from evstore.errors import Conflict, Exists, Invalid, NotFound
from evstore.events import Author, EntryId, Kind, new_id
from evstore.ignoring.ignore import Ignore
from evstore.ignoring.own import own_files
from evstore.ingest import WHOLE, ingest
from evstore.log import bodies, marks
from evstore.log.bodies import Body, KnownChunks
from evstore.paths import ContentPath
from evstore.projections import tree
from evstore.rules import Decision
from evstore.store import Store, Work
from evstore.transfer.folder import Skipped, Source, Unreadable, modified_of, open_file, walk
from evstore.units import MIB

ACTOR = "import"
BATCH_FILES, BATCH_BYTES = 400, 8 * MIB  # what is written in one transaction
AHEAD = 3  # batches that are being prepared while one is written
REFUSALS = (Conflict, Exists, Invalid, NotFound)  # what a rule says against one file

Progress = Callable[[int, int], None]  # how many are done, and of how many


@dataclass(slots=True)
class Report:
    """What became of a folder's files."""

    files: int = 0  # taken in
    directories: int = 0
    bytes: int = 0
    unchanged: int = 0  # files and directories that were there already
    skipped: list[Skipped] = field(default_factory=list[Skipped])


@dataclass(frozen=True, slots=True)
class Ready:
    """A source that is ready to be written: a directory, or a file with its body."""

    source: Source
    body: Body | None
    modified: int  # µs since 1970, as it was when the file was read


async def import_once(
    store: Store, folder: Path, db: Path, *, max_size: int, progress: Progress
) -> Report | None:
    """Take in the served folder, unless that has been done with this log. None when it has."""
    if await store.read(lambda tx: marks.is_set(tx, marks.IMPORTED)):
        return None
    report = await import_folder(store, folder, db, max_size=max_size, progress=progress)
    await store.write(lambda work: marks.put(work.tx, marks.IMPORTED), Author.new(ACTOR))
    return report


async def import_folder(
    store: Store,
    folder: Path,
    db: Path,
    *,
    max_size: int,
    progress: Progress,
    into: ContentPath = ContentPath(""),  # noqa: B008 - a path never changes
) -> Report:
    """Take in what is below `folder`, except the log's own files, as what is below the directory `into`.

    Files above `max_size` bytes and everything that is no regular file are skipped. Raises what
    stops it as a whole: Full, ReadOnly.
    """
    report = Report()
    sources = await asyncio.to_thread(find, folder, into, db, max_size, report)
    waiting = batches(sources)
    preparing: deque[tuple[int, asyncio.Task[list[Ready]]]] = deque()
    done = 0
    try:
        while True:
            while len(preparing) < AHEAD and (batch := next(waiting, None)):
                preparing.append((len(batch), asyncio.create_task(_prepare(store, batch, report))))
            if not preparing:
                return report
            size, task = preparing.popleft()
            await _write(store, await task, report)
            done += size
            progress(done, len(sources))
    finally:
        for _, task in preparing:
            task.cancel()


def find(folder: Path, into: ContentPath, db: Path, max_size: int, report: Report) -> list[Source]:
    """What can be taken in of `folder`. What can't be is noted in `report`."""
    sources: list[Source] = []
    ignore = Ignore(Disk(folder), max_size=max_size, own=own_files(folder, db))
    top = f"{into}/" if into else ""

    def omit(path: ContentPath, is_directory: bool) -> bool:
        return ignore.why(ContentPath(path.removeprefix(top)), is_directory=is_directory) is not None

    for found in walk(folder, into, omit):
        if isinstance(found, Skipped):
            report.skipped.append(found)
        elif found.size > max_size:
            report.skipped.append(Skipped(found.path, f"larger than {max_size:,} bytes"))
        else:
            sources.append(found)
    return sources


def batches(sources: Iterable[Source]) -> Iterator[list[Source]]:
    """`sources` in lots that are each written in one transaction, large files by themselves."""
    batch: list[Source] = []
    held = 0
    for source in sources:
        if batch and (len(batch) >= BATCH_FILES or held + source.size > BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(source)
        held += source.size
    if batch:
        yield batch


# -- preparing -------------------------------------------------------------------------


async def _prepare(store: Store, batch: list[Source], report: Report) -> list[Ready]:
    """Read, cut and compress what has changed."""
    changed = batch
    if store.offset > 0:
        changed = await store.read(
            lambda tx: [s for s in batch if not _is_same(tree.entry_at(tx, s.path), s)]
        )
        report.unchanged += len(batch) - len(changed)
    if len(changed) == 1 and changed[0].size > WHOLE:
        return await _prepare_large(store, changed[0], report)
    return await asyncio.to_thread(_prepare_small, changed, store.known, report)


def _is_same(entry: Entry | None, source: Source) -> bool:
    if entry is None or entry.is_directory or source.is_directory:
        return entry is not None and entry.is_directory and source.is_directory
    return (entry.size, entry.modified) == (source.size, source.modified)


def _prepare_small(batch: list[Source], known: KnownChunks, report: Report) -> list[Ready]:
    ready: list[Ready] = []
    for source in batch:
        if source.is_directory:
            ready.append(Ready(source, None, source.modified))
            continue
        try:
            file, found = open_file(source)
            with file:
                data = file.read()
        except (OSError, Unreadable) as error:
            report.skipped.append(Skipped(source.path, str(error)))
            continue
        body = bodies.prepare(data, known, notebook=source.path.endswith(".ipynb"))
        ready.append(Ready(source, body, modified_of(found)))
    return ready


async def _prepare_large(store: Store, source: Source, report: Report) -> list[Ready]:
    """Store the chunks of a large file ahead of its event."""
    try:
        file, found = await asyncio.to_thread(open_file, source)
    except Unreadable as error:
        report.skipped.append(Skipped(source.path, error.message))
        return []
    with file:
        notebook = source.path.endswith(".ipynb")
        body = await ingest(store, file, found.st_size, Author.new(ACTOR), notebook=notebook)
    return [Ready(source, body, modified_of(found))]


# -- writing ---------------------------------------------------------------------------


async def _write(store: Store, ready: list[Ready], report: Report) -> None:
    if not ready:
        return
    weight = sum(one.body.weight for one in ready if one.body is not None)
    refused = await store.write(lambda work: take_in(work, ready), Author.new(ACTOR), weight=weight)
    report.skipped += refused
    gone = {one.path for one in refused}
    for one in ready:
        if one.source.path in gone:
            continue
        if one.body is None:
            report.directories += 1
        else:
            report.files += 1
            report.bytes += one.body.size


def take_in(work: Work, ready: list[Ready]) -> list[Skipped]:
    """A command: make or save each of `ready`. Returns those that a rule speaks against."""
    made: dict[ContentPath, Entry] = {}  # in this command, so that the tables don't have them yet
    decision: Decision = []
    refused: list[Skipped] = []

    def at(path: ContentPath) -> Entry | None:
        return made.get(path) or tree.entry_at(work.tx, path)

    for one in ready:
        path = one.source.path
        try:
            entry, events = _decide(one, at(path), at(path.parent))
        except REFUSALS as error:
            refused.append(Skipped(path, error.message))
            continue
        made[path] = entry
        if one.body is not None and events:
            work.put(one.body)
        decision += events
    work.append(decision)
    return refused


def _decide(one: Ready, occupant: Entry | None, parent: Entry | None) -> tuple[Entry, Decision]:
    """What must happen for `one`, and the entry that it is about."""
    path, body = one.source.path, one.body
    kind = Kind.DIRECTORY if body is None else Kind.FILE
    decision: Decision = []
    if occupant is None:
        new = EntryId(new_id())
        decision = rules.create(path, parent, None, new, kind, created=one.modified)
        occupant = Entry(
            id=new,
            parent=parent.id if parent else new,
            name=path.name,
            path=path,
            kind=kind,
            created=one.modified,
            modified=one.modified,
        )
    elif body is None and not occupant.is_directory:
        raise Exists(f"{path} is a file in the log and a folder on the disk")
    if body is not None:
        decision += rules.save(occupant, body.digest, body.size, modified=one.modified)
    return occupant, decision
