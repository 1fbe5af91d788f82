"""What a way of watching a folder is: it hears of changes, and is asked which directories they were in."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import socket
import threading
from collections.abc import Callable, Generator
from typing import Protocol

from evstore.core.paths import ContentPath
from evstore.worktree.disk.dir_fd_cache import DirFdCache
from evstore.worktree.disk.rooted_dir import PASSING, READING

EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
IsWatched = Callable[[ContentPath], bool]


class Vanished(Exception):
    """The folder is not there (any more)."""


class LostTrack(Exception):
    """Something has happened that nobody told: everything has to be looked at."""


class Unavailable(Exception):
    """The system tells no changes; the message says why, and what can be done."""


class Heard(enum.IntEnum):
    """What came while a source was read."""

    NOTHING = 0
    REPEATED = 1  # only what happens all the time, such as writes into a log
    CHANGE = 2


class Source(Protocol):
    """One way of watching, used by one thread. Each method may raise the three errors above."""

    how: str

    @property
    def watches(self) -> int:
        """How many directories the system was asked to watch; 0 for a way that needs none."""
        ...

    def read(self, seconds: float) -> Heard:
        """Wait for changes up to so long, or until the bell rings, and note where they were."""
        ...

    def take(self, *, restless: bool) -> frozenset[ContentPath]:
        """The directories noted since the last time, as they are called now; those that are gone are left out.

        `restless`: they are taken although there was no pause.
        """
        ...

    def repositories(self) -> list[str]:
        """The paths of the directories in the folder that hold a `.git`."""
        ...

    def check(self) -> None:
        """Whether the folder is still the one that is watched: asked every few seconds."""
        ...

    def close(self) -> None: ...


class Bell:
    """Wakes a thread, whether it waits for a time or for a file descriptor."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._hears, self._rings = socket.socketpair()
        self._hears.setblocking(False)
        self._rings.setblocking(False)

    def ring(self) -> None:
        self._event.set()
        with contextlib.suppress(BlockingIOError):  # full of rings: it wakes anyway
            self._rings.send(b"!")

    def silence(self) -> None:
        self._event.clear()
        with contextlib.suppress(BlockingIOError):
            self._hears.recv(4096)

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def fileno(self) -> int:
        return self._hears.fileno()

    def close(self) -> None:
        self._hears.close()
        self._rings.close()


@contextlib.contextmanager
def opened(top: str, path: ContentPath, way: DirFdCache) -> Generator[int | None]:
    """A descriptor of the directory at `path` below `top`, reached over no symbolic link; None if there is none to be read.

    Raises OSError when this process can open nothing more.
    """
    try:
        descriptor = _open(top, path.names, way)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        # gone, a link, or not to be read: when that changes, its parent or its own rights change
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(top: str, names: list[str], way: DirFdCache) -> int:
    root = os.open(top, PASSING & ~os.O_NOFOLLOW)
    try:
        directory = way.open(root, names, PASSING)
    finally:
        os.close(root)
    try:
        return os.open(".", READING, dir_fd=directory)
    finally:
        os.close(directory)
