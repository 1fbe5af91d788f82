"""Files that are read for the log: cut, hashed and compressed, a few MB in memory at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence

from evstore.disk.disk import Disk, Found, Stamp
from evstore.errors import EvstoreError
from evstore.events import Author
from evstore.folder.to_log import Read
from evstore.ingest import WHOLE, ingest
from evstore.log import bodies
from evstore.log.bodies import Body, KnownChunks
from evstore.paths import ContentPath
from evstore.store import Store
from evstore.units import MIB

logger = logging.getLogger(__name__)

LOT = 8 * MIB  # bytes that are read before they are stored
Results = dict[ContentPath, Read | None]  # None: it is being written


async def read(
    store: Store, disk: Disk, files: Sequence[Found], author: Author
) -> tuple[dict[ContentPath, Read], set[ContentPath]]:
    """The files' bodies; and those that are being written. What can't be read at all is in neither.

    Where there is more than a few MB, their chunks are stored ahead of the command that names them.
    """
    done: dict[ContentPath, Read] = {}
    busy: set[ContentPath] = set()
    lots = list(_lots(files))
    for lot in lots:
        if lot[0].stamp.size > WHOLE:
            found = await _large(store, disk, lot[0], author)
        else:
            found = await asyncio.to_thread(_small, disk, lot, store.known)
            if len(lots) > 1:
                found = await _store_ahead(store, found, author)
        done.update((path, one) for path, one in found.items() if one is not None)
        busy.update(path for path, one in found.items() if one is None)
    return done, busy


def _lots(files: Sequence[Found]) -> Iterator[list[Found]]:
    lot: list[Found] = []
    held = 0
    for file in files:
        if lot and held + file.stamp.size > LOT:
            yield lot
            lot, held = [], 0
        lot.append(file)
        held += file.stamp.size
    if lot:
        yield lot


def _small(disk: Disk, lot: Iterable[Found], known: KnownChunks) -> Results:
    results: Results = {}
    for found in lot:
        try:
            results[found.path] = _one(disk, found, known)
        except EvstoreError as error:
            _tell(found, error)
    return results


def _one(disk: Disk, wanted: Found, known: KnownChunks) -> Read | None:
    began = time.time_ns()
    file, found = disk.open(wanted.path)
    with file:
        data = file.read()
        is_whole = len(data) == found.stamp.size and Stamp.of(os.fstat(file.fileno())) == found.stamp
    if not is_whole:
        return None
    body = bodies.prepare(data, known, notebook=wanted.path.endswith(".ipynb"))
    return Read(body, found, began)


async def _large(store: Store, disk: Disk, wanted: Found, author: Author) -> Results:
    began = time.time_ns()
    try:
        file, found = await asyncio.to_thread(disk.open, wanted.path)
    except EvstoreError as error:
        _tell(wanted, error)
        return {}
    with file:
        notebook = wanted.path.endswith(".ipynb")
        body = await ingest(store, file, found.stamp.size, author, notebook=notebook)
        is_whole = Stamp.of(os.fstat(file.fileno())) == found.stamp
        return {wanted.path: Read(body, found, began) if is_whole else None}


def _tell(found: Found, error: EvstoreError) -> None:
    """It is no reason to look again: whoever makes it readable is heard by the watcher."""
    logger.info("%s is not taken in: %s", found.path, error.message)


async def _store_ahead(store: Store, found: Results, author: Author) -> Results:
    chunks = {chunk.digest: chunk for one in found.values() if one for chunk in one.body.chunks}
    stored = await store.put_chunks(list(chunks.values()), author)
    return {path: one and one._replace(body=_named(one.body, stored)) for path, one in found.items()}


def _named(body: Body, stored: dict[bytes, int]) -> Body:
    return Body(body.digest, body.size, ids=array("Q", (stored[chunk.digest] for chunk in body.chunks)))
