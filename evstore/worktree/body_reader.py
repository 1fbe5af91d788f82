"""Files of a folder, read for the log: cut, hashed and compressed, a few MB in memory at a time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from typing import NamedTuple

from evstore.core.batching import in_batches
from evstore.core.errors import NotFound
from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.log import bodies
from evstore.log.bodies import Body, KnownChunks
from evstore.store.body_upload import WHOLE, ingest, store_ahead
from evstore.store.store import Store
from evstore.worktree.disk.disk import Disk, Found, Stamp, Unreadable

LOT = 8 * MIB  # bytes that are read before they are stored
TRIES = 3  # to read a file while it does not change


class Read(NamedTuple):
    """A file's bytes, ready to be stored, and what it was when it was opened."""

    body: Body
    found: Found
    stamp: Stamp  # by which it is known from now on


@dataclass(slots=True)
class Reading:
    """What has come of reading files, by their paths."""

    done: dict[ContentPath, Read] = field(default_factory=dict[ContentPath, Read])
    busy: set[ContentPath] = field(default_factory=set[ContentPath])  # they are being written
    failed: dict[str, str] = field(default_factory=dict[str, str])  # with the reason

    def add(self, path: ContentPath, outcome: Read | str | None) -> None:
        match outcome:
            case None:
                self.busy.add(path)
            case str():
                self.failed[path] = outcome
            case Read():
                self.done[path] = outcome


async def read(
    store: Store, disk: Disk, files: Iterable[Found], author: Author, *, hurry: bool = False
) -> Reading:
    """The files' bodies. Where there is more than a few MB, their chunks are stored ahead of the command that names them.

    With `hurry`, a file that changes whenever it is read is taken all the same: as much as it was when it was opened,
    which for one that only grows is what it was then.
    """
    reading = Reading()
    lots = list(in_batches(files, lambda file: file.stamp.size, total=LOT))
    for lot in lots:
        if lot[0].stamp.size > WHOLE:
            reading.add(lot[0].path, await _large(store, disk, lot[0], author, hurry=hurry))
            continue
        outcomes = await asyncio.to_thread(_small, disk, lot, store.known, hurry=hurry)
        if len(lots) > 1:
            await store_ahead(store, [one.body for one in outcomes if isinstance(one, Read)], author)
        for found, outcome in zip(lot, outcomes, strict=True):
            reading.add(found.path, outcome)
    return reading


def _small(disk: Disk, lot: Sequence[Found], known: KnownChunks, *, hurry: bool) -> list[Read | str | None]:
    with disk.remembering():
        return [_one(disk, found.path, known, hurry=hurry) for found in lot]


def _one(disk: Disk, path: ContentPath, known: KnownChunks, *, hurry: bool) -> Read | str | None:
    for left in reversed(range(TRIES if hurry else 1)):
        began = time.time_ns()
        try:
            file, found = disk.open(path)
            with file:
                data = file.read(found.stamp.size + 1)
                stamp = _known_by(file, found, began)
        except (NotFound, Unreadable) as error:
            return _reason(error)
        if stamp is not None and len(data) != found.stamp.size:
            return None  # a file system that does not know its files' sizes
        if stamp is not None or (hurry and not left):
            body = bodies.prepare(data[: found.stamp.size], known, notebook=_is_notebook(path))
            return Read(body, found, stamp or found.stamp.undated())
    return None


async def _large(
    store: Store, disk: Disk, wanted: Found, author: Author, *, hurry: bool
) -> Read | str | None:
    began = time.time_ns()
    try:
        file, found = await asyncio.to_thread(disk.open, wanted.path)
        with file:
            size, notebook = found.stamp.size, _is_notebook(wanted.path)
            body = await ingest(store, _Beginning(file, size), size, author, notebook=notebook)
            stamp = _known_by(file, found, began)
    except (NotFound, Unreadable) as error:
        return _reason(error)
    return Read(body, found, stamp or found.stamp.undated()) if stamp or hurry else None


class _Beginning:
    """The first bytes of a file, however much is written to it meanwhile."""

    def __init__(self, file: BufferedReader, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


def _known_by(file: BufferedReader, found: Found, began: int) -> Stamp | None:
    """By which a file is known that has been read from `began` (ns since 1970) on; None if it has changed meanwhile."""
    return found.stamp.as_read(began) if Stamp.of(os.fstat(file.fileno())) == found.stamp else None


def _is_notebook(path: ContentPath) -> bool:
    return path.endswith(".ipynb")


def _reason(error: NotFound | Unreadable) -> str:
    return error.why if isinstance(error, Unreadable) else "gone meanwhile"
