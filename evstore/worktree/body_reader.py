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
from evstore.store.body_upload import WHOLE, store_ahead, upload_body
from evstore.store.store import Store
from evstore.worktree.disk.disk import Disk, FileStat, StatStamp, Unreadable

LOT = 8 * MIB  # bytes that are read before they are stored
TRIES = 3  # to read a file while it does not change


class FileRead(NamedTuple):
    """A file's bytes, ready to be stored, and what it was when it was opened."""

    body: Body
    found: FileStat
    stamp: StatStamp  # by which it is known from now on


@dataclass(slots=True)
class ReadResult:
    """What has come of reading files, by their paths."""

    done: dict[ContentPath, FileRead] = field(default_factory=dict[ContentPath, FileRead])
    busy: set[ContentPath] = field(default_factory=set[ContentPath])  # they are being written
    failed: dict[str, str] = field(default_factory=dict[str, str])  # with the reason

    def add(self, path: ContentPath, outcome: FileRead | str | None) -> None:
        match outcome:
            case None:
                self.busy.add(path)
            case str():
                self.failed[path] = outcome
            case FileRead():
                self.done[path] = outcome


async def read(
    store: Store, disk: Disk, files: Iterable[FileStat], author: Author, *, accept_unstable: bool = False
) -> ReadResult:
    """The files' bodies. Where there is more than a few MB, their chunks are stored ahead of the command that names them.

    With `accept_unstable`, a file that changes whenever it is read is taken all the same: as much as it was when it was opened,
    which for one that only grows is what it was then.
    """
    reading = ReadResult()
    lots = list(in_batches(files, lambda file: file.stamp.size, total=LOT))
    for lot in lots:
        if lot[0].stamp.size > WHOLE:
            reading.add(
                lot[0].path, await _large(store, disk, lot[0], author, accept_unstable=accept_unstable)
            )
            continue
        outcomes = await asyncio.to_thread(_small, disk, lot, store.known, accept_unstable=accept_unstable)
        if len(lots) > 1:
            await store_ahead(store, [one.body for one in outcomes if isinstance(one, FileRead)], author)
        for found, outcome in zip(lot, outcomes, strict=True):
            reading.add(found.path, outcome)
    return reading


def _small(
    disk: Disk, lot: Sequence[FileStat], known: KnownChunks, *, accept_unstable: bool
) -> list[FileRead | str | None]:
    with disk.read_only_walk():
        return [_one(disk, found.path, known, accept_unstable=accept_unstable) for found in lot]


def _one(
    disk: Disk, path: ContentPath, known: KnownChunks, *, accept_unstable: bool
) -> FileRead | str | None:
    for left in reversed(range(TRIES if accept_unstable else 1)):
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
        if stamp is not None or (accept_unstable and not left):
            body = bodies.prepare(data[: found.stamp.size], known, notebook=_is_notebook(path))
            return FileRead(body, found, stamp or found.stamp.undated())
    return None


async def _large(
    store: Store, disk: Disk, wanted: FileStat, author: Author, *, accept_unstable: bool
) -> FileRead | str | None:
    began = time.time_ns()
    try:
        file, found = await asyncio.to_thread(disk.open, wanted.path)
        with file:
            size, notebook = found.stamp.size, _is_notebook(wanted.path)
            body = await upload_body(store, _Beginning(file, size), size, author, notebook=notebook)
            stamp = _known_by(file, found, began)
    except (NotFound, Unreadable) as error:
        return _reason(error)
    return FileRead(body, found, stamp or found.stamp.undated()) if stamp or accept_unstable else None


class _Beginning:
    """The first bytes of a file, however much is written to it meanwhile."""

    def __init__(self, file: BufferedReader, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


def _known_by(file: BufferedReader, found: FileStat, began: int) -> StatStamp | None:
    """By which a file is known that has been read from `began` (ns since 1970) on; None if it has changed meanwhile."""
    return found.stamp.as_read(began) if StatStamp.of(os.fstat(file.fileno())) == found.stamp else None


def _is_notebook(path: ContentPath) -> bool:
    return path.endswith(".ipynb")


def _reason(error: NotFound | Unreadable) -> str:
    return error.why if isinstance(error, Unreadable) else "gone meanwhile"
