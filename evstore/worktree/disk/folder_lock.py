"""One evstore at a time in a folder, whatever log it has: two would sweep away each other's files in `.evstore`.

Two locks that end with the process, however it ends (flock(2)): on the directory itself, which works where nothing
may be written, and between users who may not look into each other's `.evstore`; and on a file in `.evstore`, which
says who has it, and which file systems over a network lock between their machines, as they do not with directories.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from evstore.core.errors import Locked
from evstore.core.paths import ContentPath
from evstore.worktree.disk.rooted_dir import READING, STATE, RootedDir

FILE = "folder.lock"  # in `.evstore`
LONGEST = 10_000  # bytes that are read of it


@dataclass(frozen=True, slots=True)
class LockOwner:
    """Who has a folder."""

    pid: int
    host: str  # the machine's name, for the folder may be on a network disk
    db: str  # the path of its log, on that machine


class FolderLocked(Locked):
    """Another evstore is at work in this folder."""

    def __init__(self, message: str | None = None, *, holder: LockOwner | None) -> None:
        super().__init__(message, pid=holder.pid if holder else None)
        self.holder = holder  # None when that can't be read


@contextmanager
def folder_lock(folder: Path, db: Path) -> Generator[None]:
    """Have `folder` for this process and its log `db` alone during the block. Raises FolderHeld, OSError.

    Where a file system has no locks, nobody is kept out.
    """
    with ExitStack() as stack:
        inside = RootedDir(folder.resolve())
        stack.callback(inside.close)
        with inside.entered((), ContentPath()) as top:
            directory = os.open(".", READING, dir_fd=top)
        stack.callback(os.close, directory)
        file = _file(inside)
        if file is not None:
            stack.callback(os.close, file)
        if not _lock(directory) or (file is not None and not _lock(file)):
            raise FolderLocked(holder=None if file is None else _holder(file))
        if file is not None:
            _say(file, LockOwner(os.getpid(), socket.gethostname(), str(db)))
        yield


def last_owner(folder: Path) -> LockOwner | None:
    """Who has the folder, or had it last, as far as that can be read."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(folder / STATE / FILE, flags)
    except OSError:
        return None
    try:
        return _holder(file)
    finally:
        os.close(file)


def _file(inside: RootedDir) -> int | None:
    """A descriptor of the file to lock; None where it can't be made."""
    with suppress(OSError), inside.state() as state:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(FILE, flags, 0o600, dir_fd=state)
    return None


def _lock(descriptor: int) -> bool:
    """Whether nobody else has it locked; now it is ours, unless its file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EACCES: how some network file systems say it
        return False
    except OSError:
        pass
    return True


def _say(file: int, holder: LockOwner) -> None:
    with suppress(OSError):  # a full disk
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(asdict(holder)).encode(), 0)


def _holder(file: int) -> LockOwner | None:
    """Who says to have the file; None when that is not to be read, as in the moment before it is written."""
    try:
        told = json.loads(os.pread(file, LONGEST, 0))
        return LockOwner(pid=int(told["pid"]), host=str(told["host"]), db=str(told["db"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
