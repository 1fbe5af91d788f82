"""Frames on their way to one client: first in, first out, bounded in memory, spilled to disk.

A kernel publishes whether anybody listens or not, and ZMQ drops what a subscriber does not
take in time. So the pump always takes everything at once, and what a slow or absent client
has not had yet waits here: `memory` bytes as they are, the rest in a nameless temporary file.
When `disk` bytes are used up (or the disk is), output is dropped and counted, so that the
client can be told; what is not output (status, replies) is always kept, for a page that
misses an `idle` would wait for ever.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections import deque
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from evstore.units import MIB

logger = logging.getLogger(__name__)

PAGE = MIB  # bytes that are written or read back at a time
LENGTH = 8  # bytes before each frame in the file

GapNotice = Callable[[bytes, int], bytes]  # the last lost frame, how many were lost -> a frame that says so


class Outbox:
    """A queue of frames: `head`, then the file, then `tail`, from the oldest to the youngest."""

    def __init__(self, gap_notice: GapNotice, *, memory: int, disk: int) -> None:
        """`memory` and `disk` are in bytes."""
        self._gap_notice = gap_notice
        self._memory = memory
        self._disk = disk
        self._head: deque[bytes] = deque()  # ready to be taken
        self._head_size = 0
        self._spilling = False  # from the first frame that did not fit until all are taken
        self._file: FileIO | None = None
        self._read_at = 0
        self._written = 0
        self._tail: deque[bytes] = deque()  # not written yet
        self._tail_size = 0
        self._lost = b""  # the last frame that was dropped
        self._lost_count = 0

    def __bool__(self) -> bool:
        return bool(self._head) or self._spilling

    @property
    def in_memory(self) -> int:
        """Bytes of frames that are held in memory."""
        return self._head_size + self._tail_size

    @property
    def on_disk(self) -> int:
        """Bytes of frames that are held in a file."""
        return self._written - self._read_at

    def put(self, frame: bytes, *, is_output: bool = False) -> None:
        """Add a frame at the end. Only output is ever dropped."""
        size = len(frame)
        if not self._spilling and (self._head_size + size <= self._memory or not self._head):
            self._append_to_head(frame)
            return
        self._spilling = True
        if is_output and self._is_full(size):
            self._lost = frame
            self._lost_count += 1
            return
        if is_output and self._lost_count:
            self._append(self._take_notice())
        self._append(frame)

    def take(self, size: int) -> list[bytes]:
        """Remove and return the oldest frames: about `size` bytes, at least one frame if there is any."""
        if not self._head and self._spilling:
            self._refill()
        taken: list[bytes] = []
        while self._head and size > 0:
            frame = self._head.popleft()
            self._head_size -= len(frame)
            size -= len(frame)
            taken.append(frame)
        return taken

    def put_back(self, frames: list[bytes]) -> None:
        """Return frames that were taken and not delivered, to the front and in order."""
        self._head.extendleft(reversed(frames))
        self._head_size += sum(map(len, frames))

    def close(self) -> None:
        """Forget everything."""
        self._head.clear()
        self._tail.clear()
        self._head_size = self._tail_size = self._lost_count = 0
        self._stop_spilling()

    def _append(self, frame: bytes) -> None:
        self._tail.append(frame)
        self._tail_size += len(frame)
        if self._tail_size >= PAGE:
            self._write_page()

    def _is_full(self, size: int) -> bool:
        waiting = self._written - self._read_at + self._tail_size
        cannot_write = self._tail_size >= 2 * PAGE
        return waiting + size > self._disk or cannot_write

    def _write_page(self) -> None:
        page = b"".join(piece for frame in self._tail for piece in (len(frame).to_bytes(LENGTH), frame))
        try:
            if self._file is None:
                self._file = temporary_file()
            self._file.seek(self._written)
            if self._file.write(page) < len(page):
                raise OSError("the disk is full")
        except OSError as error:
            logger.warning("A kernel's output can't be kept on disk: %s", error)
            return
        self._written += len(page)
        self._tail.clear()
        self._tail_size = 0

    def _refill(self) -> None:
        """Move the next frames to the head: from the file, and when that is read to its end, the tail."""
        if self._file is not None and self._read_at < self._written:
            self._read_page(self._file)
        else:
            self._head, self._tail = self._tail, self._head
            self._head_size, self._tail_size = self._tail_size, 0
        if self._read_at == self._written and not self._tail:
            if self._lost_count:
                self._append_to_head(self._take_notice())
            self._stop_spilling()

    def _append_to_head(self, frame: bytes) -> None:
        self._head.append(frame)
        self._head_size += len(frame)

    def _read_page(self, file: FileIO) -> None:
        file.seek(self._read_at)
        page = file.read(PAGE)
        at = 0
        while at + LENGTH <= len(page):
            start = at + LENGTH
            end = start + int.from_bytes(page[at:start])
            if end > len(page):
                if at > 0:
                    break  # it is read whole with the next page
                page += file.read(end - len(page))
            self._append_to_head(page[start:end])
            at = end
        self._read_at += at

    def _stop_spilling(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        self._spilling = False
        self._read_at = self._written = 0

    def _take_notice(self) -> bytes:
        notice = self._gap_notice(self._lost, self._lost_count)
        self._lost, self._lost_count = b"", 0
        return notice


def temporary_file() -> FileIO:
    """A file that has no name and is gone when it is closed, even by a crash.

    In /var/tmp rather than /tmp, which is often memory; TMPDIR has the last word.
    """
    var_tmp = Path("/var/tmp")
    on_disk = "TMPDIR" not in os.environ and os.access(var_tmp, os.W_OK)
    folder = var_tmp if on_disk else None
    return tempfile.TemporaryFile(buffering=0, prefix="evstore-", dir=folder)
