"""What is found on the disk: plain values."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from evstore.paths import ContentPath

NS = 1_000_000_000
TICK = 50_000_000  # ns: no clock of a file system is coarser than this,
COARSE_TICK = 2_100_000_000  # but for those that know whole seconds only, or every second one
NO_DATE = -1
LATEST = 253_402_300_799_000_000  # µs since 1970: the end of the year 9999, the last that Python can show


class What(StrEnum):
    """What lies at a path itself, not what a link leads to."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"  # a pipe, a socket, a device


WHAT = {stat.S_IFREG: What.FILE, stat.S_IFDIR: What.DIRECTORY, stat.S_IFLNK: What.LINK}


class Stamp(NamedTuple):
    """By which a change is noticed without reading: whoever writes to a file changes one of these."""

    size: int  # bytes
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)

    def as_read(self, began: int) -> Stamp:
        """By which a file is known that was read from `began` (ns since 1970) on.

        When it had just been changed, the next change could have the same date: then it is one that no file
        has, so that it will be read again (git does the same, and calls such files racy).
        """
        tick = COARSE_TICK if self.mtime_ns % NS == 0 else TICK
        is_past = not -NS < began - self.mtime_ns < tick
        return self if is_past else Stamp(self.size, NO_DATE, self.inode)


class Found(NamedTuple):
    """Something on the disk."""

    path: ContentPath
    what: What
    stamp: Stamp
    mode: int  # permission bits
    created: int | None  # µs since 1970, where Python can tell

    @classmethod
    def of(cls, path: ContentPath, found: os.stat_result) -> Found:
        mode, born = found.st_mode, getattr(found, "st_birthtime", None)
        return cls(
            path,
            WHAT.get(stat.S_IFMT(mode), What.OTHER),
            Stamp(found.st_size, found.st_mtime_ns, found.st_ino),
            stat.S_IMODE(mode),
            None if born is None else clamped(int(born * 1_000_000)),
        )

    @property
    def modified(self) -> int:
        """µs since 1970; dates that no calendar shows are moved to the nearest one."""
        return clamped(self.stamp.mtime_ns // 1000)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is there, of which nothing more can be said: no entry can have its name, or it can't be read."""

    path: str  # as it can be shown
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """One directory."""

    found: list[Found]  # by name
    skipped: list[Skipped]


def clamped(moment: int) -> int:
    return min(max(moment, 0), LATEST)
