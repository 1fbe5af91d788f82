"""Blobs that wait in memory, or beyond a limit on disk. What is dropped gives its room back.

A blob is never changed, and can be read in any thread, also after it was dropped: whoever still has
it keeps the file that it lies in.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from evstore.core.units import MIB
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.spill_file import SpillFile

logger = logging.getLogger(__name__)

WASTE = 16 * MIB  # bytes of dropped blobs in a file, from which on it may be written anew


class Room:
    """How much all spools of one kernel may hold, and do, in bytes."""

    def __init__(self, limits: Limits) -> None:
        self.memory = limits.memory
        self.disk = limits.disk
        self.space = limits.space
        self.in_memory = 0
        self.on_disk = 0


@dataclass(frozen=True, slots=True)
class Blob:
    """Some bytes, in memory or in a file."""

    size: int
    data: bytes | None
    file: SpillFile | None = None
    at: int = 0

    def read(self) -> bytes:
        if self.data is not None:
            return self.data
        assert self.file is not None
        return self.file.read(self.at, self.size)


class Spool:
    """The blobs of one owner, in a room that it shares."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._file: SpillFile | None = None
        self._live = 0  # bytes of the file that are in use

    def put(self, data: bytes, *, always: bool = False) -> Blob | None:
        """Keep `data`; None when there is no room for it, unless it must `always` be kept."""
        size, room = len(data), self._room
        if always or room.in_memory + size <= room.memory:
            room.in_memory += size
            return Blob(size, data)
        if room.on_disk + size > room.disk or not room.space.has_room(size):
            return None
        try:
            if self._file is None:
                self._file = SpillFile(room.space)
            at = self._file.append(data)
        except OSError as error:
            logger.warning("A kernel's output can't be kept on disk: %s", error)
            return None
        room.on_disk += size
        self._live += size
        return Blob(size, None, self._file, at)

    def drop(self, blob: Blob) -> None:
        """Give its room back."""
        if blob.file is None:
            self._room.in_memory -= blob.size
            return
        self._live -= blob.size
        if self._live == 0:
            self._forget_file()

    @property
    def is_wasteful(self) -> bool:
        """Whether most of the file is what was dropped: then its owner puts the rest anew, and drops the old."""
        waste = self._file.size - self._live if self._file is not None else 0
        return waste > max(WASTE, self._live)

    def begin_anew(self) -> None:
        """What is put from now on goes into another file; the blobs so far may no longer be dropped."""
        self._live = 0
        self._forget_file()

    def _forget_file(self) -> None:
        if self._file is not None:
            self._room.on_disk -= self._file.size
        self._file = None
