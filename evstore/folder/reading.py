"""Files that are read for the log: cut, hashed and compressed, a few MB in memory at a time."""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence

from evstore.errors import EvstoreError
from evstore.events import Author
from evstore.folder.disk import Disk, Found, Stamp
from evstore.folder.to_log import Read
from evstore.ingest import WHOLE, ingest
from evstore.log import bodies
from evstore.log.bodies import Body, KnownChunks
from evstore.paths import ContentPath
from evstore.store import Store

LOT = 8 * 1024 * 1024  # bytes that are read before they are stored


async def read(
    store: Store, disk: Disk, files: Sequence[Found], author: Author
) -> tuple[dict[ContentPath, Read], set[ContentPath]]:
    """The files' bodies; and those that can't be read now, or are being written.

    Where there is more than a few MB, their chunks are stored ahead of the command that names them.
    """
    done: dict[ContentPath, Read] = {}
    failed: set[ContentPath] = set()
    lots = list(_lots(files))
    for lot in lots:
        if lot[0].stamp.size > WHOLE:
            found = [await _large(store, disk, lot[0], author)]
        else:
            found = await asyncio.to_thread(_small, disk, lot, store.known)
            if len(lots) > 1:
                found = await _store_ahead(store, found, author)
        done.update((one.found.path, one) for one in found if one is not None)
        failed.update(one.path for one in lot if one.path not in done)
    return done, failed


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


def _small(disk: Disk, lot: Iterable[Found], known: KnownChunks) -> list[Read | None]:
    return [_one(disk, found, known) for found in lot]


def _one(disk: Disk, wanted: Found, known: KnownChunks) -> Read | None:
    began = time.time_ns()
    try:
        file, found = disk.open(wanted.path)
        with file:
            data = file.read()
            is_whole = len(data) == found.stamp.size and Stamp.of(os.fstat(file.fileno())) == found.stamp
    except EvstoreError:
        return None
    if not is_whole:
        return None
    body = bodies.prepare(data, known, notebook=wanted.path.endswith(".ipynb"))
    return Read(body, found, began)


async def _large(store: Store, disk: Disk, wanted: Found, author: Author) -> Read | None:
    began = time.time_ns()
    try:
        file, found = await asyncio.to_thread(disk.open, wanted.path)
    except EvstoreError:
        return None
    with file:
        notebook = wanted.path.endswith(".ipynb")
        body = await ingest(store, file, found.stamp.size, author, notebook=notebook)
        return Read(body, found, began) if Stamp.of(os.fstat(file.fileno())) == found.stamp else None


async def _store_ahead(store: Store, found: Sequence[Read | None], author: Author) -> list[Read | None]:
    chunks = {chunk.digest: chunk for one in found if one for chunk in one.body.chunks}
    stored = await store.put_chunks(list(chunks.values()), author)
    return [one and one._replace(body=_named(one.body, stored)) for one in found]


def _named(body: Body, stored: dict[bytes, int]) -> Body:
    return Body(body.digest, body.size, ids=array("Q", (stored[chunk.digest] for chunk in body.chunks)))
