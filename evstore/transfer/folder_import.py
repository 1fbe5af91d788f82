"""Taking in a folder: its files become entries, with their dates.

Files are read, cut and compressed in threads while the batches before them are being written; each
batch is one transaction. So a crash leaves whole files only, and the next run goes on from there:
what the log has already, with the same size and date, is not even read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evstore.core import rules
from evstore.core.batching import in_batches
from evstore.core.entry import Entry
from evstore.core.errors import Exists, Forbidden, Full, NotFound
from evstore.core.events import Author, EntryId, Kind, new_id
from evstore.core.paths import ContentPath
from evstore.core.rules import Decision
from evstore.core.units import MIB
from evstore.log import flags
from evstore.log.engine.base import Tx
from evstore.projections import executables, tree
from evstore.services.contents import make_directories
from evstore.store.store import Store, UnitOfWork
from evstore.worktree.body_reader import FileRead, ReadResult, read
from evstore.worktree.disk.disk import Disk, FileStat, FileType, Skipped, Unreadable
from evstore.worktree.ignoring import ignore as ignoring
from evstore.worktree.ignoring.ignore import Ignore
from evstore.worktree.ignoring.own import own_files
from evstore.worktree.space_reserve import SpaceReserve

ACTOR = "import"
BATCH_FILES, BATCH_BYTES = 400, 8 * MIB  # what is written in one transaction
MEGABYTE = 1_000_000
AHEAD = 3  # batches that are being prepared while one is written
TOP = ContentPath("")
CALLED = {FileType.LINK: "a symbolic link", FileType.OTHER: "a pipe, a socket or a device"}

Progress = Callable[[int, int], None]  # how many are done, and of how many


@dataclass(slots=True)
class Report:
    """What became of a folder's files."""

    files: int = 0  # taken in
    directories: int = 0
    bytes: int = 0
    unchanged: int = 0  # files and directories that were there already
    skipped: list[Skipped] = field(default_factory=list[Skipped])  # with their paths in the folder

    def add(self, more: Report) -> None:
        self.files += more.files
        self.directories += more.directories
        self.bytes += more.bytes
        self.unchanged += more.unchanged
        self.skipped += more.skipped


async def import_once(
    store: Store, folder: Path, db: Path, *, max_size: int, progress: Progress
) -> Report | None:
    """Take in the served folder, unless that has been done with this log. None when it has."""
    if await store.read(lambda tx: flags.is_set(tx, flags.IMPORTED)):
        return None
    with_modes = await asyncio.to_thread(lambda: Disk(folder).keeps_modes)
    report = await import_folder(
        store, folder, db, max_size=max_size, progress=progress, with_modes=with_modes
    )
    await store.write(lambda work: flags.put(work.tx, flags.IMPORTED), Author.new(ACTOR))
    return report


async def import_folder(
    store: Store,
    folder: Path,
    db: Path,
    *,
    max_size: int,
    progress: Progress,
    into: ContentPath = TOP,
    with_modes: bool = True,
    check_way: Callable[[ContentPath], None] = lambda path: None,
) -> Report:
    """Take in what is below `folder`, except the log's own files, as what is below the directory `into`, made if need be.

    Files above `max_size` bytes and everything that is no regular file are skipped. `with_modes`: which files
    are programs is taken in, too. `check_way` raises Forbidden for a place where nothing can go; on a thread. Raises what stops it as a whole: Full, ReadOnly, FolderGone, FolderFailed.
    """
    disk = await asyncio.to_thread(Disk, folder)
    is_new = store.offset == 0
    await store.write(lambda work: make_directories(work, into), Author.new(ACTOR))
    report = Report()
    sources, report.skipped = await asyncio.to_thread(find, disk, db, max_size)
    if is_new:  # later most of it may be there already
        await asyncio.to_thread(_check_room, sources, folder, db)
    sources, closed = await asyncio.to_thread(_part, sources, into, check_way)
    report.skipped += closed
    if not with_modes:
        sources = [one._replace(mode=0) for one in sources]
    batches = in_batches(sources, lambda one: one.stamp.size, total=BATCH_BYTES, count=BATCH_FILES)
    preparing: deque[tuple[int, asyncio.Task[_Batch]]] = deque()
    done = 0
    try:
        while True:
            while len(preparing) < AHEAD and (batch := next(batches, None)):
                preparing.append((len(batch), asyncio.create_task(_prepare(store, disk, into, batch))))
            if not preparing:
                return report
            size, task = preparing.popleft()
            report.add(await _write(store, into, await task))
            done += size
            progress(done, len(sources))
    finally:
        left = [task for _, task in preparing]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)  # one reason to end is enough


def find(disk: Disk, db: Path, max_size: int) -> tuple[list[FileStat], list[Skipped]]:
    """What can be taken in of a folder, each directory before what it holds; and what can't be.

    What has no versions because of its name is passed over in silence.
    """
    with disk.read_only_walk():
        return _find(disk, Ignore(disk, max_size=max_size, own=own_files(disk.root, db)), max_size)


def _find(disk: Disk, ignore: Ignore, max_size: int) -> tuple[list[FileStat], list[Skipped]]:
    sources: list[FileStat] = []
    skipped: list[Skipped] = []
    waiting = [TOP]
    while waiting:
        path = waiting.pop()
        try:
            scan = disk.scan(path)
        except NotFound:  # gone meanwhile
            continue
        except Unreadable as error:
            skipped.append(Skipped(path or "/", error.why))
            continue
        skipped += scan.skipped
        for found in scan.found:
            is_directory = found.what is FileType.DIRECTORY
            why = ignore.why(found.path, is_directory=is_directory, size=found.stamp.size)
            if why is not None and why.kind is not ignoring.Kind.TOO_LARGE:
                continue
            if (called := CALLED.get(found.what)) is not None:
                skipped.append(Skipped(found.path, called))
            elif why is not None:
                skipped.append(Skipped(found.path, f"larger than {max_size:,} bytes"))
            else:
                sources.append(found)
                if is_directory:
                    waiting.append(found.path)
    return sources, skipped


def _check_room(sources: Iterable[FileStat], folder: Path, db: Path) -> None:
    """Raise Full when the log's disk would have no room left if the files could not be compressed."""
    needed = sum(one.stamp.size for one in sources if one.what is FileType.FILE)
    room = SpaceReserve(db).bytes()
    if needed > room:
        raise Full(
            f"The files in {folder} have {needed / MEGABYTE:,.0f} MB, and there is room for {room / MEGABYTE:,.0f} MB "
            f"on the disk where their versions would be kept, in {db}. Nothing was taken in. Name a place on another "
            f"disk with --db, or leave out large files with --max-versioned-size, or what needs no versions with an "
            f".evstoreignore file."
        )


def _part(
    sources: list[FileStat], into: ContentPath, check_way: Callable[[ContentPath], None]
) -> tuple[list[FileStat], list[Skipped]]:
    """What can go where it is to go, and what can't."""
    free: list[FileStat] = []
    closed: list[Skipped] = []
    for one in sources:
        try:
            check_way(into.child(one.path))
        except Forbidden as error:
            closed.append(Skipped(one.path, error.message))
        else:
            free.append(one)
    return free, closed


# -- preparing -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is written in one transaction."""

    changed: list[FileStat]
    unchanged: int  # of them there is the same in the log already
    reading: ReadResult


async def _prepare(store: Store, disk: Disk, into: ContentPath, batch: list[FileStat]) -> _Batch:
    """Read, cut and compress what has changed."""
    changed = batch
    if store.offset > 0:
        changed = await store.read(
            lambda tx: [
                one for one in batch if not _is_same(tx, tree.entry_at(tx, into.child(one.path)), one)
            ]
        )
    files = [one for one in changed if one.what is FileType.FILE]
    reading = await read(store, disk, files, Author.new(ACTOR))
    return _Batch(changed, len(batch) - len(changed), reading)


def _is_same(tx: Tx, entry: Entry | None, found: FileStat) -> bool:
    is_directory = found.what is FileType.DIRECTORY
    if entry is None or entry.is_directory or is_directory:
        return entry is not None and entry.is_directory and is_directory
    there = (entry.size, entry.modified, executables.is_executable(tx, entry.id))
    return there == (found.stamp.size, found.modified, found.executable)


# -- writing ---------------------------------------------------------------------------


async def _write(store: Store, into: ContentPath, batch: _Batch) -> Report:
    reading = batch.reading
    report = Report(unchanged=batch.unchanged)
    report.skipped += [Skipped(path, reason) for path, reason in reading.failed.items()]
    report.skipped += [Skipped(path, "changed while it was read") for path in sorted(reading.busy)]
    ready = [one for one in batch.changed if one.what is FileType.DIRECTORY or one.path in reading.done]
    if ready:
        weight = sum(one.body.weight for one in reading.done.values())
        report.add(
            await store.write(
                lambda work: take_in(work, into, ready, reading.done), Author.new(ACTOR), weight=weight
            )
        )
    return report


def take_in(
    work: UnitOfWork, into: ContentPath, found: Iterable[FileStat], read: Mapping[ContentPath, FileRead]
) -> Report:
    """A command: make or save each of `found` below `into`, and tell what became of them."""
    made: dict[ContentPath, Entry] = {}  # in this command, so that the tables don't have them yet
    decision: Decision = []
    report = Report()

    def at(path: ContentPath) -> Entry | None:
        return made.get(path) or tree.entry_at(work.tx, path)

    for one in found:
        path, new = into.child(one.path), read.get(one.path)
        try:
            made[path], events = _decide(path, new, one, at(path), at(path.parent))
            if new is not None:
                known = executables.is_executable(work.tx, made[path].id)
                events += rules.set_executable(made[path], one.executable, known=known)
        except rules.REFUSALS as error:
            report.skipped.append(Skipped(one.path, error.message))
            continue
        if not events:
            report.unchanged += 1
        elif new is None:
            report.directories += 1
        else:
            work.put(new.body)
            report.files += 1
            report.bytes += new.body.size
        decision += events
    work.append(decision)
    return report


def _decide(
    path: ContentPath, read: FileRead | None, found: FileStat, occupant: Entry | None, parent: Entry | None
) -> tuple[Entry, Decision]:
    """What must happen for a directory, or a file that was read; and the entry that it is about."""
    kind = Kind.DIRECTORY if read is None else Kind.FILE
    modified = found.modified if read is None else read.found.modified
    decision: Decision = []
    if occupant is None:
        occupant, decision = rules.make(path, parent, EntryId(new_id()), kind, at=modified)
    elif read is None and not occupant.is_directory:
        raise Exists(f"{path} is a file in the log and a folder on the disk")
    if read is not None:
        decision += rules.save(occupant, read.body.digest, read.body.size, modified=modified)
    return occupant, decision
