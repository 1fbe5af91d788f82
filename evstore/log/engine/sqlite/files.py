"""The files of a database: whose they are, and whether they are still there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from evstore.core.errors import Locked


class Files:
    """Files that are open, and are to stay where they are."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._identities = {path: identity(path) for path in paths}

    @property
    def size(self) -> int:
        """In bytes, all together."""
        return sum(path.stat().st_size for path in self._identities if path.exists())

    def gone(self) -> Path | None:
        """The file of ours that is no longer where it was. SQLite would go on writing to it, and nobody find it."""
        for path, file in self._identities.items():
            try:
                if identity(path) != file:
                    return path
            except FileNotFoundError:
                return path
        return None


def identity(path: Path) -> tuple[int, int]:
    """What tells this very file from another of the same name: its device and inode."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def sync(path: Path) -> None:
    """Have a file, or the names in a directory, reach the disk and survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_lock(path: Path) -> int:
    """The lock file's descriptor: as long as it is open, no other process writes this database.

    Raises Locked. The lock ends with the process, however it ends.
    """
    descriptor = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        pid = int(holder) if holder.isdecimal() else None
        raise Locked(f"Another evstore (process {pid or 'unknown'}) is using {path}.", pid=pid) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
