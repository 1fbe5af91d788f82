"""A log of 1,000,000 events and 100,000 files, made quickly and always alike (but for its salts).

A year in the life of a team: files come into being during the first two thirds of it and are saved,
renamed, marked, deleted, brought back and restored all the while. The events go through the log
and the projections as a server's would, only more of them in a transaction.

    work/area-NN/topic-NN/file-NNNNNN.ipynb     90 in each of 1,000 directories
    work/big/file-NNNNNN.csv                    10,000
    note-NN.md                                  20

With fewer events it has fewer files in proportion.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from pathlib import Path

from evstore import projections
from evstore.core.events import (
    ROOT,
    Author,
    CheckpointCreated,
    Digest,
    EntryCreated,
    EntryDeleted,
    EntryId,
    EntryMoved,
    EntryUndeleted,
    Event,
    FileRestored,
    FileSaved,
    Kind,
    Offset,
)
from evstore.log import bodies, log, schema
from evstore.log.bodies import KnownChunks
from evstore.log.engine.base import Tx
from evstore.log.engine.sqlite.engine import SqliteEngine

PER_FILE = 10  # events
BIG = 10  # one file of so many is in one directory
TOPIC, AREA = 90, 40  # files in a directory; directories in a directory
NOTES = 20  # files at the top
BODIES = 2_000  # different ones; every save names one of them
BATCH = 20_000  # requests in one transaction
ACTORS = ("ada", "grace", "disk")
SIZE = 600  # bytes of a body
START = 1_735_689_600_000_000  # 2025-01-01, in µs
YEAR = 365 * 24 * 3600 * 1_000_000
VERSION = 2  # of this generator: a cached log of another one is made anew

Happening = list[tuple[EntryId, Event]]  # the events of one request
Spot = tuple[EntryId, str]  # a directory, and a name in it


class Team:
    """What happens, one request after the other, each allowed by the rules."""

    def __init__(self, digests: list[Digest], events: int) -> None:
        self._rng = random.Random(VERSION)
        self._digests = digests
        self._events = events
        self._count = 0  # of events so far
        self._ids = 0
        self._files: list[EntryId] = []
        self._places: dict[EntryId, tuple[EntryId, str]] = {}
        self._first: dict[EntryId, tuple[Offset, Digest]] = {}
        self._now: dict[EntryId, Digest] = {}

    def life(self) -> Iterator[Happening]:
        """`events` events of it, or one more."""
        for happening in self._happenings():
            yield happening
            self._count += len(happening)
            if self._count >= self._events:
                return

    def _happenings(self) -> Iterator[Happening]:
        spots = yield from self._make_directories(self._events // PER_FILE)
        self._rng.shuffle(spots)
        # so often that all are there after two thirds of the events
        every = self._events * 2 // 3 // len(spots)
        due = self._count
        while True:
            if spots and self._count >= due:
                due += every
                yield from self._make_file(*spots.pop())
            elif self._files:
                yield from self._change()

    def _make_directories(self, files: int) -> Generator[Happening, None, list[Spot]]:
        """All directories, and the places of the `files` that will be made in them."""
        work = yield from self._make_directory(ROOT, "work")
        big = yield from self._make_directory(work, "big")
        spots = [(big, f"file-{at:06}.csv") for at in range(files // BIG)]
        area = topic = work
        for at in range(files - len(spots)):
            if at % (TOPIC * AREA) == 0:
                area = yield from self._make_directory(work, f"area-{at // TOPIC // AREA:02}")
            if at % TOPIC == 0:
                topic = yield from self._make_directory(area, f"topic-{at // TOPIC % AREA:02}")
            spots.append((topic, f"file-{at:06}.ipynb"))
        return spots + [(ROOT, f"note-{at:02}.md") for at in range(NOTES)]

    def _make_directory(self, parent: EntryId, name: str) -> Generator[Happening, None, EntryId]:
        entry = self._new_id()
        yield [(entry, EntryCreated(parent=parent, name=name, kind=Kind.DIRECTORY))]
        return entry

    def _make_file(self, parent: EntryId, name: str) -> Iterator[Happening]:
        entry = self._new_id()
        self._places[entry] = (parent, name)
        self._files.append(entry)
        created = EntryCreated(parent=parent, name=name, kind=Kind.FILE)
        yield [(entry, created), (entry, self._save(entry, 1))]

    def _change(self) -> Iterator[Happening]:
        # few files are worked on often, most seldom
        entry = self._files[int(len(self._files) * self._rng.random() ** 3)]
        parent, name = self._places[entry]
        what = self._rng.random()
        if what < 0.90:
            yield [(entry, self._save(entry))]
        elif what < 0.95:
            yield [(entry, CheckpointCreated())]
        elif what < 0.97:
            self._places[entry] = (parent, f"{name.split('~')[0]}~{self._count}")
            yield [(entry, EntryMoved(parent=parent, name=self._places[entry][1]))]
        elif what < 0.98:
            yield [(entry, EntryDeleted())]
            yield [(entry, EntryUndeleted(parent=parent, name=name))]
        elif self._now[entry] != self._first[entry][1]:
            source, self._now[entry] = self._first[entry]
            yield [(entry, FileRestored(digest=self._now[entry], size=SIZE, source=source))]

    def _save(self, entry: EntryId, before: int = 0) -> FileSaved:
        """A save, with so many events `before` it in its request."""
        digest = next(one for one in self._rng.sample(self._digests, 2) if one != self._now.get(entry))
        self._now[entry] = digest
        self._first.setdefault(entry, (Offset(self._count + before + 1), digest))
        return FileSaved(digest=digest, size=SIZE)

    def _new_id(self) -> EntryId:
        self._ids += 1
        return EntryId(self._ids.to_bytes(8, "big") + b"evbench\0")


def make_bodies(tx: Tx) -> list[Digest]:
    known = KnownChunks()
    digests: list[Digest] = []
    for number in range(BODIES):
        text = (f"body {number} " * SIZE)[:SIZE].encode()
        body = bodies.prepare(text, known, notebook=False)
        bodies.put(tx, body, known)
        digests.append(body.digest)
    return digests


async def make(path: Path, events: int, progress: Callable[[int], None]) -> None:
    """Make the log at `path`. `progress` gets the number of events so far."""
    engine = SqliteEngine.open(path)
    try:

        def prepare(tx: Tx) -> list[Digest]:
            schema.migrate(tx)
            projections.catch_up(tx)
            return make_bodies(tx)

        life = Team(await engine.write(prepare), events).life()
        times = iter(range(START, START + 2 * YEAR, YEAR // events))

        def append(tx: Tx, batch: list[Happening]) -> int:
            recorded = [
                one
                for number, happening in enumerate(batch)
                for one in log.append(
                    tx, happening, Author.new(ACTORS[number % len(ACTORS)]), clock=lambda: next(times)
                )
            ]
            projections.apply(tx, recorded)
            return len(recorded)

        done = 0
        while batch := list(islice(life, BATCH)):
            done += await engine.write(lambda tx, batch=batch: append(tx, batch))
            progress(done)
    finally:
        await engine.close()


def cached(cache: Path, events: int, say: Callable[[str], None]) -> Path:
    """The large log, made now unless it was made before."""
    path = cache / f"log-{events}-{VERSION}.db"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        making = path.with_suffix(".part")
        for left in cache.glob(f"{making.name}*"):
            left.unlink()
        say(f"Making a log of {events:,} events in {path} ...")
        asyncio.run(
            make(making, events, lambda done: say(f"  {done:,}") if done // BATCH % 10 == 0 else None)
        )
        os.replace(making, path)
    return path
