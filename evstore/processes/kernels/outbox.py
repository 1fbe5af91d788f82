"""Frames on their way to one client: first in, first out, bounded in memory, spilled to disk.

A kernel publishes whether anybody listens or not, and ZMQ drops what a subscriber does not
take in time. So the pump always takes everything at once, and what a slow or absent client
has not had yet waits here: `memory` bytes as they are, the rest in nameless files.
When `disk` bytes are used up (or what all have together, or the disk), output is dropped and
counted, so that the client can be told; what is not output (status, replies) is always kept, for a page that
misses an `idle` would wait for ever.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from evstore.core.units import MIB
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.spill_file import SpillFile

logger = logging.getLogger(__name__)

PAGE = MIB  # bytes that are written or read back at a time
LENGTH = 8  # bytes before each frame in a file
FILE = 16 * MIB  # bytes; a file that has been read is gone, so a slow client's do not grow for ever

GapNotice = Callable[[bytes, int], bytes]  # the last lost frame, how many were lost -> a frame that says so


class Outbox:
    """A queue of frames: `head`, then the files, then `tail`, from the oldest to the youngest."""

    def __init__(self, gap_notice: GapNotice, limits: Limits) -> None:
        self._gap_notice = gap_notice
        self._limits = limits
        self._head: deque[bytes] = deque()  # ready to be taken
        self._head_size = 0
        self._spilling = False  # from the first frame that did not fit until all are taken
        self._files = deque[SpillFile]()
        self._read_at = 0  # in the first file
        self._on_disk = 0
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
        """Bytes of frames that are held in files."""
        return self._on_disk

    def put(self, frame: bytes, *, is_output: bool = False) -> None:
        """Add a frame at the end. Only output is ever dropped."""
        size = len(frame)
        if not self._spilling and (self._head_size + size <= self._limits.memory or not self._head):
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
        size += self._tail_size
        cannot_write = self._tail_size >= 2 * PAGE
        limits = self._limits
        return self._on_disk + size > limits.disk or not limits.space.has_room(size) or cannot_write

    def _write_page(self) -> None:
        page = b"".join(piece for frame in self._tail for piece in (len(frame).to_bytes(LENGTH), frame))
        try:
            if not self._files or self._files[-1].size >= FILE:
                self._files.append(SpillFile(self._limits.space))
            self._files[-1].append(page)
        except OSError as error:
            logger.warning("A kernel's output can't be kept on disk: %s", error)
            return
        self._on_disk += len(page)
        self._tail.clear()
        self._tail_size = 0

    def _refill(self) -> None:
        """Move the next frames to the head: from the files, and when they are read to their end, the tail."""
        if self._on_disk:
            self._read_page(self._files[0])
        else:
            self._head, self._tail = self._tail, self._head
            self._head_size, self._tail_size = self._tail_size, 0
        if not self._on_disk and not self._tail:
            if self._lost_count:
                self._append_to_head(self._take_notice())
            self._stop_spilling()

    def _append_to_head(self, frame: bytes) -> None:
        self._head.append(frame)
        self._head_size += len(frame)

    def _read_page(self, file: SpillFile) -> None:
        page = file.read(self._read_at, PAGE)
        at = 0
        while at + LENGTH <= len(page):
            start = at + LENGTH
            end = start + int.from_bytes(page[at:start])
            if end > len(page):
                if at > 0:
                    break  # it is read whole with the next page
                page += file.read(self._read_at + len(page), end - len(page))
            self._append_to_head(page[start:end])
            at = end
        self._read_at += at
        self._on_disk -= at
        if self._read_at == file.size:
            self._files.popleft().close()
            self._read_at = 0

    def _stop_spilling(self) -> None:
        while self._files:
            self._files.popleft().close()
        self._spilling = False
        self._read_at = self._on_disk = 0

    def _take_notice(self) -> bytes:
        notice = self._gap_notice(self._lost, self._lost_count)
        self._lost, self._lost_count = b"", 0
        return notice
