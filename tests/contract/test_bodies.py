"""Bodies in the log: each is its chunks in order, and no chunk is there twice."""

from __future__ import annotations

import hashlib
import random

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.log.engine.base import Tx
from evstore.services.contents import Contents, SaveRequest
from evstore.store.store import Store

AUTHOR = Author.new("tester")


async def save(store: Store, path: str, data: bytes) -> bytes:
    """Save, and return the digest."""
    body = bodies.prepare(data, store.known, notebook=False)
    await Contents(store).save(ContentPath(path), SaveRequest(body=body), AUTHOR)
    return body.digest


async def test_a_body_is_its_chunks_in_order_and_each_is_stored_once(store: Store) -> None:
    """Invariant 9, for versions that share most of what they are, and files that are the same."""
    dice = random.Random(1)
    text = dice.randbytes(300_000)
    versions = [b"", b"x", text, text[:150_000] + b"in between" + text[150_000:], text + text, text]
    saved = {await save(store, f"{number}.bin", data): data for number, data in enumerate(versions)}

    def look(tx: Tx) -> None:
        every: set[int] = set()
        for digest, data in saved.items():
            if data:
                ids = bodies.manifest(tx, digest)
                assert b"".join(bodies.chunks(tx, ids)) == bodies.read(tx, digest) == data
                assert hashlib.sha256(data).digest() == digest
                every |= set(ids)
        stored = tx.rows("select id, digest from chunks")
        assert {number for number, _ in stored} == every
        assert len({digest for _, digest in stored}) == len(stored)
        for number, digest in stored:
            assert hashlib.sha256(b"".join(bodies.chunks(tx, [number]))).digest() == digest
        held = sum(len(chunk) for (number, _) in stored for chunk in bodies.chunks(tx, [number]))
        assert held < 1.2 * len(text)  # of 4 times as many

    await store.read(look)
