"""What does not fit into memory: nameless files, and how much they may hold all together."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from io import FileIO
from pathlib import Path


class DiskSpace:
    """What all files of a server may hold together, and do, in bytes. For the event loop's thread, but for `give`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._given = deque[int]()

    @property
    def used(self) -> int:
        while self._given:
            self._used -= self._given.popleft()
        return self._used

    def has_room(self, size: int) -> bool:
        return self.used + size <= self._limit

    def take(self, size: int) -> None:
        self._used += size

    def give(self, size: int) -> None:
        """Free again. In any thread, in the middle of anything: files are closed when nobody has them any more."""
        self._given.append(size)


class SpillFile:
    """A file that has no name: it is gone when it is closed, or nobody has it any more, even by a crash."""

    def __init__(self, space: DiskSpace) -> None:
        """Raises OSError."""
        self._space = space
        self._file = temporary_file()
        self.size = 0

    def append(self, data: bytes) -> int:
        """Where `data` begins. Raises OSError when the disk is full."""
        at = self.size
        if os.pwrite(self._file.fileno(), data, at) < len(data):
            raise OSError("the disk is full")
        self.size += len(data)
        self._space.take(len(data))
        return at

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, at)

    def close(self) -> None:
        self._file.close()
        self._space.give(self.size)
        self.size = 0

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()


def temporary_file() -> FileIO:
    """In /var/tmp rather than /tmp, which is often memory; TMPDIR has the last word."""
    var_tmp = Path("/var/tmp")
    on_disk = "TMPDIR" not in os.environ and os.access(var_tmp, os.W_OK)
    folder = var_tmp if on_disk else None
    return tempfile.TemporaryFile(buffering=0, prefix="evstore-", dir=folder)
