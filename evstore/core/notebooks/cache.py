"""What became of the cells that were written before, so that they need not be written again. Pure."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from evstore.core import chunking
from evstore.core.chunking import Bytes
from evstore.core.units import MIB

Chunk = tuple[bytes, Bytes]
"""A chunk's SHA-256 and its data."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a notebook's bytes, its chunks in order, and whether it can be trusted."""

    data: bytes
    chunks: tuple[Chunk, ...]
    trusted: bool

    @classmethod
    def of(cls, text: str, *, trusted: bool = True) -> Piece:
        # A lone surrogate has no UTF-8 form; its JSON escape is read back as what it was.
        data = text.encode(errors="backslashreplace")
        chunks = chunking.cut(data, notebook=True)
        return cls(data, tuple([(hashlib.sha256(chunk).digest(), chunk) for chunk in chunks]), trusted)

    @property
    def footprint(self) -> int:
        """About how many bytes of memory it takes."""
        return 500 + len(self.data) + 300 * len(self.chunks)


class CellCache:
    """The pieces of valid cells, by a key that tells all cells apart; the least recently used go first.

    Bounded in bytes. An equal cell is found whatever notebook it is in. Threads may share one.
    """

    def __init__(self, limit: int = 64 * MIB) -> None:
        self._limit = limit
        self._size = 0
        self._pieces: OrderedDict[bytes, Piece] = OrderedDict()
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<CellCache of {len(self._pieces)} cells, {self._size} of {self._limit} bytes>"

    def get(self, key: bytes) -> Piece | None:
        hash(key)  # which `key` then remembers: a long one is not hashed under the lock
        with self._lock:
            piece = self._pieces.get(key)
            if piece is not None:
                self._pieces.move_to_end(key)
            return piece

    def put(self, key: bytes, piece: Piece) -> None:
        with self._lock:
            if key not in self._pieces:
                self._pieces[key] = piece
                self._size += len(key) + piece.footprint
            while self._size > self._limit:
                old_key, old = self._pieces.popitem(last=False)
                self._size -= len(old_key) + old.footprint
