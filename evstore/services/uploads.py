"""Uploads in pieces: JupyterLab sends a large file as numbered chunks, the last one numbered -1.

The pieces wait in a temporary file; the log gets one event at the end, or none.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO

from evstore.core.errors import Full, Invalid, TooLarge
from evstore.core.paths import ContentPath

PATIENCE = 3600.0  # seconds after which an upload that got no further piece is given up
LAST = -1


@dataclass(slots=True)
class Upload:
    """A file that is still arriving."""

    file: IO[bytes]
    received: int = 0  # number of the last piece
    size: int = 0
    touched: float = 0.0  # seconds, monotonic
    # pieces are written in the order of their numbers
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


def _temporary_file() -> IO[bytes]:
    try:
        # Buffered, although it is flushed with each piece: closing it waits for the thread that is writing.
        # Otherwise the next file could get its descriptor, and the rest of the piece.
        return tempfile.TemporaryFile(prefix="evstore-upload-")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _no_room() from None
        raise


def _no_room() -> Full:
    return Full(f"There is no room for the upload in {tempfile.gettempdir()}: nothing was saved.")


def _write(file: IO[bytes], data: bytes, *, last: bool) -> None:
    file.write(data)
    file.flush()
    if last:
        file.seek(0)


def _close(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # what found no room is tried again, in vain
        file.close()


class Uploads:
    """All uploads in progress, one per path and uploader."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._uploads: dict[tuple[str, ContentPath], Upload] = {}

    async def add(self, uploader: str, path: ContentPath, number: int, data: bytes) -> Upload:
        """Take in piece `number` (1, 2, ... or LAST). Piece 1 starts anew.

        Raises Invalid when a piece is missing, and forgets the upload then: half a file must
        never look like a whole one. Raises TooLarge past `max_size`, Full when the pieces find no room.
        """
        self._give_up_old_ones()
        key = (uploader, path)
        if number == 1:
            self._discard(key)
            self._uploads[key] = Upload(_temporary_file())
        upload = self._uploads.get(key)
        if upload is None:
            raise Invalid(f"chunk {number} of {path} came without chunk 1: start the upload again.")
        if number not in (upload.received + 1, LAST):
            self._discard(key)
            raise Invalid(
                f"chunk {number} of {path} came after chunk {upload.received}: start the upload again."
            )
        if upload.size + len(data) > self._max_size:
            self._discard(key)
            raise TooLarge(f"{path} is larger than {self._max_size} bytes.")
        upload.received += 1
        upload.size += len(data)
        upload.touched = time.monotonic()
        if number == LAST:
            del self._uploads[key]  # nothing can join it any more
        try:
            async with upload.turn:
                await asyncio.to_thread(_write, upload.file, data, last=number == LAST)
        except BaseException as error:
            _close(upload.file)
            if self._uploads.get(key) is upload:
                del self._uploads[key]
            if isinstance(error, ValueError):  # the file was closed meanwhile
                raise Invalid(f"The upload of {path} was broken off: start it again.") from None
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise _no_room() from None
            raise
        return upload

    def _discard(self, key: tuple[str, ContentPath]) -> None:
        if upload := self._uploads.pop(key, None):
            _close(upload.file)

    def _give_up_old_ones(self) -> None:
        limit = time.monotonic() - PATIENCE
        for key in [key for key, upload in self._uploads.items() if upload.touched < limit]:
            self._discard(key)

    def close(self) -> None:
        for key in list(self._uploads):
            self._discard(key)
