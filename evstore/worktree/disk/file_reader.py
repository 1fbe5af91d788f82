"""A file that is open for reading: what goes wrong in the middle of it is an error of ours, too."""

from __future__ import annotations

from io import BufferedReader, FileIO
from typing import TYPE_CHECKING

from evstore.core.paths import ContentPath
from evstore.worktree.disk.errors import when_reading

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def opened(descriptor: int, path: ContentPath) -> BufferedReader:
    """The file with that descriptor, which it closes in the end. Its reads raise Unreadable."""
    return BufferedReader(_File(descriptor, path))


class _File(FileIO):
    def __init__(self, descriptor: int, path: ContentPath) -> None:
        super().__init__(descriptor)
        self._path = path

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:  # a bad sector, a server that has gone away
            raise when_reading(error, self._path) from None

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            raise when_reading(error, self._path) from None
