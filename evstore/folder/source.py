"""What a way of watching a folder is: it hears of changes, and is asked which directories they were in."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from collections.abc import Callable
from typing import Protocol

from evstore.paths import ContentPath

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
    WRITING = 1  # only writes into files that are being written all the time
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

    def take(self) -> frozenset[ContentPath]:
        """The directories noted since the last time, as they are called now; those that are gone are left out."""
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
