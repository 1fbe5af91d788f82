"""What lies in a folder on the disk, and what of it can be taken in.

Nothing is ever followed out of the folder: a symbolic link is told apart from what it leads to,
also when something else takes a file's place between looking and reading.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from evstore.errors import EvstoreError, Invalid
from evstore.paths import ContentPath, check_path

LATEST = 253_402_300_799_000_000  # µs since 1970: the end of the year 9999, the last that Python can show
BAD_NAME = "a name that no entry can have: not UTF-8, with a backslash, or too long"
KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file or directory on the disk that can be taken in."""

    path: ContentPath
    file: str
    is_directory: bool
    size: int  # bytes
    modified: int  # µs since 1970


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that can't, and why."""

    path: str
    reason: str


def walk(
    folder: Path, into: ContentPath, omit: Callable[[ContentPath, bool], bool]
) -> Iterator[Source | Skipped]:
    """Everything below `folder`, each directory before what it holds, under the paths it shall have below `into`.

    That for which `omit`, asked with its path and whether it is a directory, says so is passed over in silence.
    """
    waiting = [(str(folder), into)]
    while waiting:
        directory, path = waiting.pop()
        try:
            with os.scandir(directory) as scan:
                found = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            yield Skipped(path or "/", f"can't be read ({error.strerror})")
            continue
        for entry in found:
            source = _look_at(entry, path.child(entry.name))
            if omit(path.child(entry.name), isinstance(source, Source) and source.is_directory):
                continue
            yield source
            if isinstance(source, Source) and source.is_directory:
                waiting.append((source.file, source.path))


def _look_at(entry: os.DirEntry[str], path: ContentPath) -> Source | Skipped:
    try:
        check_path(path)
        found = entry.stat(follow_symlinks=False)
    except Invalid:
        return Skipped(path.encode(errors="backslashreplace").decode(), BAD_NAME)
    except OSError as error:
        return Skipped(path, f"can't be read ({error.strerror})")
    if stat.S_ISDIR(found.st_mode):
        return Source(path, entry.path, True, 0, modified_of(found))
    if stat.S_ISREG(found.st_mode):
        return Source(path, entry.path, False, found.st_size, modified_of(found))
    return Skipped(path, next((name for test, name in KINDS if test(found.st_mode)), "no regular file"))


def modified_of(found: os.stat_result) -> int:
    """When a file was changed, in µs since 1970; dates that no calendar shows are moved to the nearest one."""
    return min(max(found.st_mtime_ns // 1000, 0), LATEST)


class Unreadable(EvstoreError):
    """The file can't be read."""


def open_file(source: Source) -> tuple[BinaryIO, os.stat_result]:
    """Open the file and say what it is now. Raises Unreadable, also for what is no regular file any more."""
    try:
        # NONBLOCK: opening a pipe that has taken the file's place must not wait for its writer
        descriptor = os.open(source.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(f"can't be read ({error.strerror})") from None
    file = open(descriptor, "rb")  # noqa: SIM115 - the caller closes it
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        file.close()
        raise Unreadable("no regular file any more")
    return file, found
