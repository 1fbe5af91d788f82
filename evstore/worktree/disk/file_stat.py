"""What is found on the disk: plain values."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from evstore.core.paths import ContentPath

NS = 1_000_000_000
TICK = 50_000_000  # ns: no clock of a file system is coarser than this,
COARSE_TICK = 2_100_000_000  # but for those that know whole seconds only, or every second one
NO_DATE = -1
LARGEST = 2**63 - 1  # what SQLite keeps: dates up to 2262, and not the inodes of all network file systems
LATEST = 253_402_300_799_000_000  # µs since 1970: the end of the year 9999, the last that Python can show


class FileType(StrEnum):
    """What lies at a path itself, not what a link leads to."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"  # a pipe, a socket, a device


WHAT = {stat.S_IFREG: FileType.FILE, stat.S_IFDIR: FileType.DIRECTORY, stat.S_IFLNK: FileType.LINK}


class StatStamp(NamedTuple):
    """By which a change is noticed without reading: whoever writes to a file changes one of these.

    The mtime can be set by anybody, and is set back by `rsync --inplace -t`, `tar x` and many others: then only
    the ctime tells, which the system alone sets. A chmod, a rename and a new hard link change it too.
    """

    size: int  # bytes
    mtime_ns: int
    inode: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> StatStamp:
        mtime, inode, ctime = found.st_mtime_ns, found.st_ino, found.st_ctime_ns
        if inode <= LARGEST and -LARGEST <= mtime <= LARGEST and -LARGEST <= ctime <= LARGEST:
            return cls(found.st_size, mtime, inode, ctime)  # quickly: it is asked for each file
        return cls(found.st_size, _folded(mtime), _folded(inode), _folded(ctime))

    def is_moved(self, before: StatStamp) -> bool:
        """Whether this can be what had the stamp `before`, with another name or other rights since then."""
        return self[:3] == before[:3]

    def as_written(self) -> StatStamp:
        """By which a file is known that we have just written, and given a date of its own.

        Whoever changes it gives it another, but where all dates are whole seconds: then it is one that no file has.
        """
        is_coarse = self.mtime_ns % NS == self.ctime_ns % NS == 0
        return self.undated() if is_coarse else self

    def as_read(self, began: int) -> StatStamp:
        """By which a file is known that was read from `began` (ns since 1970) on.

        When it had just been changed, the next change could have the same date: then it is one that no file
        has, so that it will be read again (git does the same, and calls such files racy).
        """
        is_past = _is_past(self.mtime_ns, began) and _is_past(self.ctime_ns, began)
        return self if is_past else self.undated()

    def undated(self) -> StatStamp:
        """That of something which is to be read again in any case."""
        return self._replace(ctime_ns=NO_DATE)


class FileStat(NamedTuple):
    """Something on the disk."""

    path: ContentPath
    what: FileType
    stamp: StatStamp
    mode: int  # permission bits
    created: int | None  # µs since 1970, where Python can tell
    modified: int  # µs since 1970; dates that no calendar shows are moved to the nearest one

    @property
    def executable(self) -> bool:
        """Whether its owner may start it as a program: the bit that git looks at."""
        return bool(self.mode & stat.S_IXUSR)

    @classmethod
    def of(cls, path: ContentPath, found: os.stat_result) -> FileStat:
        mode, born = found.st_mode, getattr(found, "st_birthtime", None)
        return cls(
            path,
            WHAT.get(stat.S_IFMT(mode), FileType.OTHER),
            StatStamp.of(found),
            stat.S_IMODE(mode),
            None if born is None else clamped(int(born * 1_000_000)),
            clamped(found.st_mtime_ns // 1000),
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is there, of which nothing more can be said: no entry can have its name, or it can't be read."""

    path: str  # as it can be shown
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """One directory."""

    found: list[FileStat]  # by name
    skipped: list[Skipped]


def clamped(moment: int) -> int:
    return min(max(moment, 0), LATEST)


def _is_past(moment: int, began: int) -> bool:
    """Whether a change from `began` on has another date than this, both as ns since 1970."""
    tick = COARSE_TICK if moment % NS == 0 else TICK
    return not -NS < began - moment < tick


def _folded(number: int) -> int:
    """The same modulo 2**64 that SQLite can keep: still another one for another file or date."""
    return (number + 2**63) % 2**64 - 2**63
