"""What can go wrong with the served folder. No sentence ever holds an absolute path: strangers to the machine read them."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager

from evstore.core.errors import EvstoreError, Exists, Forbidden, Full, NotFound, Unavailable
from evstore.core.paths import ContentPath

MISSING = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))  # ELOOP: a link, where none is followed
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))
NOT_ALLOWED = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
IN_THE_WAY = frozenset((errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR))


class FolderGone(Unavailable):
    """The folder that is served is no longer where it was."""


class Unreadable(EvstoreError):
    """The file can't be read."""

    def __init__(self, path: str, why: str) -> None:
        self.why = f"can't be read ({why})"  # for lists of what can't be
        super().__init__(f"{shown(path)} {self.why}")


class AccessDenied(Unreadable):
    """That may not be read."""


class Occupied(Exists):
    """Something else is there on the disk."""


class Changed(Occupied):
    """What is there on the disk has changed meanwhile."""


class FolderFailed(EvstoreError):
    """The disk refuses that."""


class OtherDisk(FolderFailed):
    """That is on another disk, and can't be moved in one step."""


class FolderFull(Full):
    """The disk of the folder is full."""


class FolderReadOnly(Forbidden):
    """That may not be changed on the disk."""


class NotVersioned(Exists):
    """It lies on the disk alone, and has no versions."""


def shown(path: str) -> str:
    return path.encode(errors="backslashreplace").decode() or "/"


def sentence(error: OSError) -> str:
    """What the system says, without the path that Python adds."""
    return os.strerror(error.errno) if error.errno else "unknown error"


def missing(path: str) -> NotFound:
    return NotFound(f"No such file or directory on the disk: {shown(path)}")


def when_reading(error: OSError, path: str) -> EvstoreError:
    """The error for a read of `path` that ended in `error`."""
    if error.errno in MISSING:
        return missing(path)
    kind = AccessDenied if error.errno in NOT_ALLOWED else Unreadable
    return kind(path, sentence(error))


def when_writing(error: OSError, path: str) -> EvstoreError:
    """The error for a change at `path` that ended in `error`."""
    if error.errno in MISSING:
        return missing(path)
    if error.errno in NO_ROOM:
        return FolderFull(f"The disk of the folder has no room for {shown(path)} ({sentence(error)})")
    if error.errno in NOT_ALLOWED:
        return FolderReadOnly(f"{shown(path)} may not be changed on the disk ({sentence(error)})")
    if error.errno in IN_THE_WAY:
        return Occupied(f"{shown(path)} is taken on the disk ({sentence(error)})")
    if error.errno == errno.EXDEV:
        return OtherDisk(f"{shown(path)} is on another disk, and can't be moved in one step")
    return FolderFailed(f"The disk refuses to change {shown(path)} ({sentence(error)})")


@contextmanager
def changing(path: ContentPath) -> Generator[None]:
    """What the system refuses within becomes an error about `path`."""
    try:
        yield
    except OSError as error:
        raise when_writing(error, path) from None
