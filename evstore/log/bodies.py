"""Bodies: a file's bytes as an ordered list of chunks, each stored once, whatever file it is in.

Preparing (cutting, hashing, compressing) needs no database and happens on a worker thread;
storing happens in the command that appends the event. Reading is concatenation, so an old
version costs what the newest does. A manifest is the chunk ids as 64-bit little-endian
integers, zstd-compressed.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from evstore.core import chunking
from evstore.core.errors import DatabaseError
from evstore.core.events import Digest
from evstore.log.engine.base import Tx

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN, ZSTD = 0, 1
LEVEL = 3  # more gains 1 to 2 % and costs several times as long (storage.md 2.2)
KNOWN = 1_000_000  # digests of stored chunks that are remembered, so that they are not compressed again
READ_BATCH = 500  # chunks in one query


@dataclass(slots=True)
class Chunk:
    """A chunk on its way into the database; `data` is None when it is there already."""

    digest: bytes
    size: int
    codec: int = PLAIN
    data: bytes | None = None


@dataclass(slots=True)
class Body:
    """A body that is ready to be stored: its chunks, or the ids of chunks that were stored ahead of it."""

    digest: Digest
    size: int
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    ids: array[int] | None = None
    plain: bytes | None = None  # the whole, where it is in memory anyway

    @property
    def weight(self) -> int:
        """Bytes that it holds in memory."""
        return sum(len(chunk.data) for chunk in self.chunks if chunk.data is not None)


class KnownChunks:
    """Digests of chunks that are certainly in the database, with their ids. Bounded, thread-safe."""

    def __init__(self) -> None:
        self._ids: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: bytes) -> int | None:
        return self._ids.get(digest)

    def add(self, ids: dict[bytes, int]) -> None:
        """Remember chunks; call it only once their transaction is committed."""
        with self._lock:
            self._ids.update(ids)
            while len(self._ids) > KNOWN:
                self._ids.popitem(last=False)


class _Compressors(threading.local):
    """One compressor a thread: making one costs more than compressing a small chunk."""

    def __init__(self) -> None:
        self.compressor = zstd.ZstdCompressor(LEVEL)

    def compress(self, data: bytes | memoryview) -> bytes:
        return self.compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


_compressors = _Compressors()


def prepare(body: bytes, known: KnownChunks, *, notebook: bool) -> Body:
    """Cut, hash and compress `body`."""
    pieces = ((hashlib.sha256(piece).digest(), piece) for piece in chunking.cut(body, notebook=notebook))
    return prepare_pieces(body, pieces, known)


def prepare_pieces(
    body: bytes, pieces: Iterable[tuple[bytes, bytes | memoryview]], known: KnownChunks
) -> Body:
    """`body`, cut and hashed already into (digest, data) `pieces`; only new ones are compressed."""
    digest = Digest(hashlib.sha256(body).digest())
    chunks = [prepare_chunk(digest, piece, known) for digest, piece in pieces]
    return Body(digest, len(body), chunks, plain=body)


def prepare_chunk(digest: bytes, piece: bytes | memoryview, known: KnownChunks) -> Chunk:
    if known.get(digest) is not None:
        return Chunk(digest, len(piece))
    packed = _compressors.compress(piece)
    if len(packed) < len(piece):
        return Chunk(digest, len(piece), ZSTD, packed)
    return Chunk(digest, len(piece), PLAIN, bytes(piece))


def put_chunks(tx: Tx, chunks: Sequence[Chunk], known: KnownChunks) -> dict[bytes, int]:
    """Store what is new of `chunks`; return the id of each by its digest."""
    ids: dict[bytes, int] = {}
    for chunk in chunks:
        if chunk.digest in ids:
            continue
        number = known.get(chunk.digest)
        if number is None:
            row = tx.row("select id from chunks where digest = ?", (chunk.digest,))
            if row is None and chunk.data is not None:
                row = tx.row(
                    "insert into chunks (digest, size, codec, data) values (?,?,?,?) returning id",
                    (chunk.digest, chunk.size, chunk.codec, chunk.data),
                )
            if row is None:
                raise DatabaseError("A chunk that was in the database is gone.")
            number = int(row[0])
        ids[chunk.digest] = number
    return ids


def put(tx: Tx, body: Body, known: KnownChunks) -> dict[bytes, int]:
    """Store `body` unless it is there; return the ids of its new chunks, to be remembered after the commit."""
    if tx.row("select 1 from bodies where digest = ?", (body.digest,)):
        return {}
    ids = put_chunks(tx, body.chunks, known)
    manifest = array("Q", (ids[chunk.digest] for chunk in body.chunks)) if body.ids is None else body.ids
    if sys.byteorder == "big":
        manifest.byteswap()
    packed = _compressors.compress(manifest.tobytes())
    tx.execute("insert into bodies (digest, size, manifest) values (?,?,?)", (body.digest, body.size, packed))
    return {digest: number for digest, number in ids.items() if known.get(digest) is None}


def unpack(codec: int, data: bytes) -> bytes:
    """The plain bytes of what is stored. Raises DatabaseError when they can't be had any more."""
    if codec == PLAIN:
        return data
    try:
        return zstd.decompress(data)
    except zstd.ZstdError as error:
        raise DatabaseError(f"A part of a body is damaged ({error}): run `evstore verify`.") from None


def manifest(tx: Tx, digest: Digest) -> list[int]:
    """The ids of a body's chunks, in order. Raises DatabaseError when there is no such body."""
    row = tx.row("select manifest from bodies where digest = ?", (digest,))
    if row is None:
        raise DatabaseError(f"The log names a body that is not stored: {digest.hex()}.")
    ids = array("Q", unpack(ZSTD, row[0]))
    if sys.byteorder == "big":
        ids.byteswap()
    return ids.tolist()


def chunks(tx: Tx, ids: Sequence[int]) -> Iterator[bytes]:
    """The plain bytes of chunks, in the order of `ids`."""
    for start in range(0, len(ids), READ_BATCH):
        part = ids[start : start + READ_BATCH]
        marks = ",".join("?" * len(part))
        rows = tx.rows(f"select id, codec, data from chunks where id in ({marks})", part)
        plain = {number: unpack(codec, data) for number, codec, data in rows}
        for number in part:
            if number not in plain:
                raise DatabaseError(f"The chunk {number} of a body is missing.")
            yield plain[number]


def read(tx: Tx, digest: Digest) -> bytes:
    """A whole body."""
    return b"".join(chunks(tx, manifest(tx, digest)))


def layout(tx: Tx, digest: Digest) -> list[tuple[int, int]]:
    """A body's chunks as (id, size in bytes), in order."""
    ids = manifest(tx, digest)
    sizes: dict[int, int] = {}
    for start in range(0, len(ids), READ_BATCH):
        part = ids[start : start + READ_BATCH]
        marks = ",".join("?" * len(part))
        sizes.update(
            (number, size)
            for number, size in tx.rows(f"select id, size from chunks where id in ({marks})", part)
        )
    return [(number, sizes[number]) for number in ids]


def batches(
    parts: Sequence[tuple[int, int]], start: int, stop: int | None, limit: int
) -> Iterator[tuple[list[int], int, int]]:
    """Cut the reading of bytes `start` to `stop` into batches of about `limit` bytes.

    Each batch is the ids of chunks to read, how many bytes of them to skip, and how many to take.
    """
    end = sum(size for _, size in parts) if stop is None else stop
    position = 0
    ids: list[int] = []
    skip = held = 0
    for number, size in parts:
        first, last = max(start, position), min(end, position + size)
        if first < last:
            if not ids:
                skip = first - position
            ids.append(number)
            held += last - first
        position += size
        if held >= limit or position >= end:
            if ids:
                yield ids, skip, held
            ids, skip, held = [], 0, 0
            if position >= end:
                return
