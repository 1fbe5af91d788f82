"""The store: the log, the bodies and the projections behind one door.

A *command* is a plain function of a `Work`: it loads what it must know, lets a rule decide,
and appends. It runs in one transaction with its projections, and is answered once it is on
stable storage. Everything above (contents, checkpoints, history, transfer) is made of commands
and of queries, which are plain functions of a read transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any, Protocol, TypeVar

from evstore import projections
from evstore.core.errors import DatabaseError
from evstore.core.events import Author, Digest, EntryId, Event, Offset, Recorded
from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.log import bodies, log, schema
from evstore.log.bodies import Body, Chunk, KnownChunks
from evstore.log.engine.base import Engine, Load, Tx
from evstore.log.engine.sqlite.engine import SqliteEngine
from evstore.log.engine.sqlite.reader import SqliteReader

logger = logging.getLogger(__name__)

T = TypeVar("T")
NOOP_SAVES = 10_000  # files of which it is remembered that they were saved as they were
STREAM_BATCH = 4 * MIB  # bytes of a large body that are in memory at a time


class UnitOfWork:
    """One command at work: its transaction, and what it has appended so far."""

    def __init__(self, tx: Tx, author: Author, known: KnownChunks) -> None:
        self.tx = tx
        self.recorded: list[Recorded] = []
        self.stored: dict[bytes, int] = {}
        self.plain: dict[Digest, bytes] = {}  # bodies that were put, if they are in memory as a whole
        self.unchanged: list[EntryId] = []  # files that somebody has saved as they were
        self._author = author
        self._known = known

    def append(self, events: Sequence[tuple[EntryId, Event]]) -> list[Recorded]:
        """Add to the log and bring the projections up to date, so that the next query sees it."""
        if not events:
            return []
        recorded = log.append(self.tx, events, self._author)
        projections.apply(self.tx, recorded)
        self.recorded += recorded
        return recorded

    def put(self, body: Body) -> None:
        """Store a body's bytes, in the same transaction as the event that names them."""
        self.stored |= bodies.put(self.tx, body, self._known)
        if body.plain is not None:
            self.plain[body.digest] = body.plain

    def put_chunks(self, chunks: Sequence[Chunk]) -> None:
        """Store chunks ahead of the body that they belong to."""
        self.stored |= bodies.put_chunks(self.tx, chunks, self._known)


class Depth(Enum):
    """How much of a directory must be known to whoever asks for its path; of a file it is always all."""

    ITSELF = auto()  # that it is there: what it holds goes with it, and may be much
    MEMBERS = auto()
    ALL = auto()  # everything below it


class Mirror(Protocol):
    """What follows the log at once: the working folder."""

    async def before(self, paths: Sequence[ContentPath], depth: Depth) -> None:
        """Called before a command that is about these paths. Raises what speaks against it."""
        ...

    async def look(self, path: ContentPath, depth: Depth) -> None:
        """Called before somebody reads what is at this path now."""
        ...

    def heard(self, recorded: Sequence[Recorded], plain: Mapping[Digest, bytes]) -> None:
        """Called in the order of the log with what has been committed, and with bodies that are in memory anyway."""
        ...

    async def reach(self, recorded: Sequence[Recorded]) -> None:
        """Wait until these events are carried out. Raises what went wrong with them."""
        ...


class Store:
    """An open log. `Store.open` creates it when it is new and brings the projections up to date."""

    def __init__(self, engine: Engine, offset: Offset) -> None:
        self._engine = engine
        self.known = KnownChunks()
        self.mirror: Mirror | None = None
        self.offset = offset  # of the last event that has been announced
        self._noop_saves = OrderedDict[EntryId, float]()
        self._listeners: list[Callable[[Sequence[Recorded]], None]] = []
        self._announced = asyncio.Event()
        self._closed = False

    @classmethod
    async def open(
        cls, path: Path, progress: Callable[[int], None] = lambda _: None, *, rebuild: bool = False
    ) -> Store:
        """Open the log at `path`, or begin one. `progress` gets offsets while projections catch up.

        `rebuild` makes all projections anew first, whatever state they are in.

        Raises Locked when another process has it open for writing, DatabaseError when the file is
        not an evstore log or is from a newer evstore.
        """
        await asyncio.to_thread(_check_file, path)
        engine = await asyncio.to_thread(SqliteEngine.open, path)
        try:

            def prepare(tx: Tx) -> Offset:
                schema.migrate(tx)
                log.check_tail(tx)
                bring_up_to_date = projections.rebuild if rebuild else projections.catch_up
                bring_up_to_date(tx, progress)
                return log.head(tx).offset

            return cls(engine, await engine.write(prepare))
        except BaseException:
            await engine.close()
            raise

    @classmethod
    async def open_for_reading(cls, path: Path) -> Store:
        """Open the log at `path` beside whoever writes it: takes no lock, changes nothing, refuses writes.

        Raises DatabaseError as `open` does, and when the log must be brought up to date first.
        """
        engine = await asyncio.to_thread(SqliteReader, path)
        try:
            return cls(engine, await engine.read(_offset_if_current))
        except BaseException:
            await engine.close()
            raise

    async def close(self) -> None:
        """Finish what was accepted, end the feeds, give the lock back."""
        self._closed = True
        self._announced.set()
        await self._engine.close()

    async def write(
        self,
        command: Callable[[UnitOfWork], T],
        author: Author,
        *,
        weight: int = 0,
        about: Sequence[ContentPath] = (),
        depth: Depth = Depth.MEMBERS,
    ) -> T:
        """Run `command`; when this returns, what it appended is durable, announced, and in the working folder.

        `about`: paths of which the command must know what is in the folder, to that `depth`. Raises what the command
        raises (then nothing of it happened), Busy, Full or ReadOnly, and what kept an event from being carried out in the folder.
        """
        if self.mirror is not None and about:
            await self.mirror.before(about, depth)
        return (await self.write_together([(command, author)], weight=weight))[0]

    async def write_together(
        self, commands: Sequence[tuple[Callable[[UnitOfWork], T], Author]], *, weight: int = 0
    ) -> list[T]:
        """Run commands, each on its author's behalf and after the one before it: all of them or, if one raises, none."""

        def run(tx: Tx) -> tuple[list[T], list[UnitOfWork]]:
            works: list[UnitOfWork] = []
            results: list[T] = []
            for command, author in commands:
                works.append(UnitOfWork(tx, author, self.known))
                results.append(command(works[-1]))
            return results, works

        results, works = await self._engine.write(run, weight=weight, committed=self._committed)
        for work in works:
            if self.mirror is not None and work.recorded:
                await self.mirror.reach(work.recorded)
        return results

    def _committed(self, done: tuple[Any, list[UnitOfWork]]) -> None:
        for work in done[1]:
            self._after_commit(work)

    def _after_commit(self, work: UnitOfWork) -> None:
        """A command is on stable storage: remember what it stored, and tell what it did."""
        self.known.add(work.stored)
        for entry in work.unchanged:
            self._noop_saves[entry] = asyncio.get_running_loop().time()
            self._noop_saves.move_to_end(entry)
        while len(self._noop_saves) > NOOP_SAVES:
            self._noop_saves.popitem(last=False)
        if work.recorded:
            self._announce(work.recorded)
            if self.mirror is not None:
                self.mirror.heard(work.recorded, work.plain)

    def last_noop_save(self, entry: EntryId) -> float:
        """When somebody last saved a file just as it was, which is no event, in the loop's time; long ago if not lately."""
        return self._noop_saves.get(entry, float("-inf"))

    async def look(self, path: ContentPath, depth: Depth = Depth.MEMBERS) -> None:
        """Take in what has happened at `path` in the folder, for somebody reads it now."""
        if self.mirror is not None:
            await self.mirror.look(path, depth)

    async def read(self, query: Callable[[Tx], T]) -> T:
        """Run `query` on a snapshot."""
        return await self._engine.read(query)

    def load(self) -> Load:
        """How busy the database is."""
        return self._engine.load()

    async def rebuild(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Drop every projection and replay the log. Writers wait meanwhile."""
        await self._engine.write(lambda tx: projections.rebuild(tx, progress))

    # -- bodies ----------------------------------------------------------------------

    async def put_chunks(self, chunks: Sequence[Chunk], author: Author) -> dict[bytes, int]:
        """Store a part of a large body before its event, and return the ids of its chunks.

        Until an event names the body, no file has it.
        """

        def command(work: UnitOfWork) -> dict[bytes, int]:
            work.put_chunks(chunks)
            return work.stored

        weight = sum(len(chunk.data) for chunk in chunks if chunk.data is not None)
        return await self.write(command, author, weight=weight)

    async def body(self, digest: Digest | None) -> bytes:
        """A whole body; None is the empty one."""
        return await self.read(lambda tx: bodies.read(tx, digest)) if digest is not None else b""

    async def stream(
        self, digest: Digest | None, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        """A body, or its bytes from `start` to just before `stop`, a few MB at a time."""
        if digest is None:
            return
        parts = await self.read(lambda tx: bodies.layout(tx, digest))
        for ids, skip, take in bodies.batches(parts, start, stop, STREAM_BATCH):
            data = await self.read(lambda tx, ids=ids: b"".join(bodies.chunks(tx, ids)))
            yield data[skip : skip + take]

    # -- the feed --------------------------------------------------------------------

    def subscribe(self, listener: Callable[[Sequence[Recorded]], None]) -> None:
        """Have `listener` called on the event loop with what was committed, before the writer is answered."""
        self._listeners.append(listener)

    def _announce(self, recorded: Sequence[Recorded]) -> None:
        self.offset = max(self.offset, recorded[-1].offset)
        for listener in self._listeners:
            listener(recorded)
        self._announced.set()
        self._announced = asyncio.Event()

    async def feed(self, after: int) -> AsyncIterator[list[Recorded]]:
        """The events past `after`, a page at a time, then new ones as they come; ends when the store closes.

        The wake-up carries no data: what is sent is read from the log, so a lost wake-up could
        delay an event, but never lose one.
        """
        while not self._closed:
            announced = self._announced
            if after >= self.offset:
                await announced.wait()
            elif page := await self.read(lambda tx, after=after: log.after(tx, after)):
                after = page[-1].offset
                yield page


def _check_file(path: Path) -> None:
    """Raise DatabaseError for a file that is something else, before opening it for writing changes it."""
    if path.exists():
        reader = SqliteReader(path)
        try:
            reader.query(schema.check)
        finally:
            reader.shut()


def _offset_if_current(tx: Tx) -> Offset:
    """The log's last offset. Raises DatabaseError when tables are missing, or not up to date."""
    version = schema.check(tx)
    if version == 0:
        raise DatabaseError("The file is empty: it is not an evstore log.")
    if version < len(schema.migrations()) or not projections.are_current(tx):
        raise DatabaseError(
            "The log was last used by an older evstore: `evstore rebuild` brings it up to date."
        )
    return log.head(tx).offset
