"""Files of a folder, read for the log: cut, hashed and compressed, a few MB in memory at a time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from evstore.batching import in_batches
from evstore.disk.disk import Disk, Found, Stamp, Unreadable
from evstore.errors import NotFound
from evstore.events import Author
from evstore.ingest import WHOLE, ingest, store_ahead
from evstore.log import bodies
from evstore.log.bodies import Body, KnownChunks
from evstore.paths import ContentPath
from evstore.store import Store
from evstore.units import MIB

LOT = 8 * MIB  # bytes that are read before they are stored


class Read(NamedTuple):
    """A file's bytes, ready to be stored, and what it was when they were read."""

    body: Body
    found: Found
    began: int  # when, ns since 1970


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


async def read(store: Store, disk: Disk, files: Iterable[Found], author: Author) -> Reading:
    """The files' bodies. Where there is more than a few MB, their chunks are stored ahead of the command that names them."""
    reading = Reading()
    lots = list(in_batches(files, lambda file: file.stamp.size, total=LOT))
    for lot in lots:
        if lot[0].stamp.size > WHOLE:
            reading.add(lot[0].path, await _large(store, disk, lot[0], author))
            continue
        outcomes = await asyncio.to_thread(_small, disk, lot, store.known)
        if len(lots) > 1:
            await store_ahead(store, [one.body for one in outcomes if isinstance(one, Read)], author)
        for found, outcome in zip(lot, outcomes, strict=True):
            reading.add(found.path, outcome)
    return reading


def _small(disk: Disk, lot: Sequence[Found], known: KnownChunks) -> list[Read | str | None]:
    with disk.remembering():
        return [_one(disk, found.path, known) for found in lot]


def _one(disk: Disk, path: ContentPath, known: KnownChunks) -> Read | str | None:
    began = time.time_ns()
    try:
        file, found = disk.open(path)
        with file:
            data = file.read()
            is_whole = len(data) == found.stamp.size and Stamp.of(os.fstat(file.fileno())) == found.stamp
    except (NotFound, Unreadable) as error:
        return _reason(error)
    if not is_whole:
        return None
    return Read(bodies.prepare(data, known, notebook=_is_notebook(path)), found, began)


async def _large(store: Store, disk: Disk, wanted: Found, author: Author) -> Read | str | None:
    began = time.time_ns()
    try:
        file, found = await asyncio.to_thread(disk.open, wanted.path)
        with file:
            size, notebook = found.stamp.size, _is_notebook(wanted.path)
            body = await ingest(store, file, size, author, notebook=notebook)
            is_whole = Stamp.of(os.fstat(file.fileno())) == found.stamp
    except (NotFound, Unreadable) as error:
        return _reason(error)
    return Read(body, found, began) if is_whole else None


def _is_notebook(path: ContentPath) -> bool:
    return path.endswith(".ipynb")


def _reason(error: NotFound | Unreadable) -> str:
    return error.why if isinstance(error, Unreadable) else "gone meanwhile"
