"""Uploads in pieces: JupyterLab sends a large file as numbered chunks, the last one numbered -1.

The pieces wait in a temporary file; the log gets one event at the end, or none.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from typing import IO

from evstore.errors import Invalid, TooLarge
from evstore.paths import ContentPath

PATIENCE = 3600.0  # seconds after which an upload that got no further piece is given up
LAST = -1


@dataclass(slots=True)
class Upload:
    """A file that is still arriving."""

    file: IO[bytes]
    received: int  # number of the last piece
    size: int
    touched: float  # seconds, monotonic


class Uploads:
    """All uploads in progress, one per path and uploader."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._uploads: dict[tuple[str, ContentPath], Upload] = {}

    async def add(self, uploader: str, path: ContentPath, number: int, data: bytes) -> Upload:
        """Take in piece `number` (1, 2, ... or LAST). Piece 1 starts anew.

        Raises Invalid when a piece is missing, and forgets the upload then: half a file must
        never look like a whole one. Raises TooLarge past `max_size`.
        """
        self._give_up_old_ones()
        key = (uploader, path)
        if number == 1:
            self._discard(key)
            self._uploads[key] = Upload(tempfile.TemporaryFile(prefix="evstore-upload-"), 0, 0, 0.0)  # noqa: SIM115
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
        await asyncio.to_thread(upload.file.write, data)
        if number == LAST:
            del self._uploads[key]
            upload.file.seek(0)
        return upload

    def _discard(self, key: tuple[str, ContentPath]) -> None:
        if upload := self._uploads.pop(key, None):
            upload.file.close()

    def _give_up_old_ones(self) -> None:
        limit = time.monotonic() - PATIENCE
        for key in [key for key, upload in self._uploads.items() if upload.touched < limit]:
            self._discard(key)

    def close(self) -> None:
        for key in list(self._uploads):
            self._discard(key)
