"""Bodies that are stored before the command that names them: those of any size, and many at once."""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections.abc import Iterable, Iterator
from typing import Protocol

from evstore.core import chunking
from evstore.core.events import Author, Digest
from evstore.core.units import MIB
from evstore.log import bodies
from evstore.log.bodies import Body, Chunk
from evstore.store.store import Store

BLOCK = MIB  # bytes read at a time
BATCH = 4 * MIB  # bytes stored at a time
WHOLE = 32 * MIB  # up to this a body is handled in one piece, and a notebook is cut at its cells


class Readable(Protocol):
    """A file that is open for reading, or something like it."""

    def read(self, size: int = -1, /) -> bytes: ...


class Hasher(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None: ...


async def upload_body(store: Store, file: Readable, size: int, author: Author, *, notebook: bool) -> Body:
    """Store the bytes of `file` (about `size` of them) and return the body that a save can name."""
    if size <= WHOLE:
        data = await asyncio.to_thread(file.read)
        return await asyncio.to_thread(bodies.prepare, data, store.known, notebook=notebook)
    hasher = hashlib.sha256()
    pieces = chunking.cut_stream(_hashed(blocks(file), hasher))
    ids = array("Q")
    total = 0
    while batch := await asyncio.to_thread(_prepare_batch, store, pieces):
        stored = await store.put_chunks(batch, author)
        ids.extend(stored[chunk.digest] for chunk in batch)
        total += sum(chunk.size for chunk in batch)
    return Body(Digest(hasher.digest()), total, ids=ids)


async def store_ahead(store: Store, prepared: Iterable[Body], author: Author) -> None:
    """Store the chunks of these bodies, so that no more of them than their chunks' ids stays in memory."""
    prepared = list(prepared)
    stored = await store.put_chunks([chunk for body in prepared for chunk in body.chunks], author)
    for body in prepared:
        body.ids, body.chunks = array("Q", (stored[chunk.digest] for chunk in body.chunks)), []
        body.plain = None


def blocks(file: Readable) -> Iterator[bytes]:
    """The bytes of a file, a few at a time."""
    while block := file.read(BLOCK):
        yield block


def _hashed(blocks: Iterator[bytes], hasher: Hasher) -> Iterator[bytes]:
    for block in blocks:
        hasher.update(block)
        yield block


def _prepare_batch(store: Store, pieces: Iterator[bytes]) -> list[Chunk]:
    batch: list[Chunk] = []
    held = 0
    for piece in pieces:
        batch.append(bodies.prepare_chunk(hashlib.sha256(piece).digest(), piece, store.known))
        held += len(piece)
        if held >= BATCH:
            break
    return batch
