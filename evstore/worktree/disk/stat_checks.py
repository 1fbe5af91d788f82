"""What is at a name in a directory that is open already (a descriptor, and names relative to it)."""

from __future__ import annotations

import errno
import os
import stat
from typing import Literal

from evstore.core.errors import Invalid
from evstore.core.paths import MAX_NAME, MAX_PATH, ContentPath, check_name
from evstore.worktree.disk.errors import Changed, FolderReadOnly, Occupied, Unreadable, sentence, shown
from evstore.worktree.disk.file_stat import FileStat, Scan, Skipped, StatStamp
from evstore.worktree.disk.rooted_dir import NO_WAY, READING, is_own, is_spelt

TEMPORARY = ".evstore-tmp-"  # how the name of an unfinished file begins
BAD_NAME = "a name that no entry can have: not UTF-8, with a backslash, or too long"
TOO_DEEP = f"its path is longer than {MAX_PATH} bytes"
CALLED = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)
EFFECTIVE = os.access in os.supports_effective_ids  # whether access can be asked for whom we act as
Replacing = StatStamp | Literal["nothing", "anything"]


def called(found: os.stat_result) -> str:
    return next((name for test, name in CALLED if test(found.st_mode)), "no regular file")


def look_in(directory: int, name: str) -> os.stat_result | None:
    """Raises OSError when it can't be known whether something is there."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno in NO_WAY:
            return None
        raise


def may_write(directory: int, name: str) -> bool:
    return os.access(name, os.W_OK, dir_fd=directory, effective_ids=EFFECTIVE)


def check_file(path: ContentPath, found: os.stat_result) -> None:
    """Raise Unreadable unless it is a regular file."""
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable(path, f"{called(found)} on the disk")


def check_readable(directory: int, name: str) -> None:
    """Raise PermissionError for a file or a directory, and no link, that may not be read. Raises OSError."""
    found = look_in(directory, name)
    if found is None or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return
    if not os.access(name, os.R_OK, dir_fd=directory, effective_ids=EFFECTIVE):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def check_spelling(directory: int, path: ContentPath, name: str) -> None:
    """Raise Occupied when the disk takes what is there under another name for `name`."""
    if not is_spelt(directory, name):
        raise Occupied(f"The disk takes another name for the same as {shown(path)}")


def check_replaceable(directory: int, path: ContentPath, name: str, replacing: Replacing) -> StatStamp | None:
    """The file to replace, if there is one. Raises Occupied, Changed, FolderReadOnly when that is not possible."""
    found = look_in(directory, name)
    if found is None:
        if isinstance(replacing, StatStamp):
            raise Changed(f"{shown(path)} is gone from the disk meanwhile")
        return None
    if not stat.S_ISREG(found.st_mode):
        raise Occupied(f"{shown(path)} is {called(found)} on the disk")
    check_spelling(directory, path, name)
    stamp = StatStamp.of(found)
    if replacing not in ("anything", stamp):
        raise Changed(f"{shown(path)} has changed on the disk meanwhile")
    if not may_write(directory, name):
        raise FolderReadOnly(f"{shown(path)} may not be changed on the disk (it is read-only)")
    return stamp


def scan_directory(path: ContentPath, directory: int) -> Scan:
    """All that is in it but evstore's own. Raises OSError."""
    found: list[FileStat] = []
    skipped: list[Skipped] = []
    listing = os.open(".", READING, dir_fd=directory)  # one to pass through can't be listed
    try:
        with os.scandir(listing) as entries:
            for entry in entries:
                match _look_at(entry, path):
                    case FileStat() as one:
                        found.append(one)
                    case Skipped() as one:
                        skipped.append(one)
                    case None:
                        pass
    finally:
        os.close(listing)
    found.sort(key=lambda one: one.path)
    skipped.sort(key=lambda one: one.path)
    return Scan(found, skipped)


def _look_at(entry: os.DirEntry[str], above: ContentPath) -> FileStat | Skipped | None:
    name = entry.name
    if is_own(name) or name.startswith(TEMPORARY):
        return None
    path = above.child(name)
    if (reason := _impossible(path, name)) is not None:
        return Skipped(shown(path), reason)
    try:
        return FileStat.of(path, entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return None  # gone meanwhile
    except OSError as error:
        return Skipped(shown(path), f"can't be read ({sentence(error)})")


def _impossible(path: ContentPath, name: str) -> str | None:
    """Why no entry can be there."""
    if len(path) * 4 > MAX_PATH and len(os.fsencode(path)) > MAX_PATH:
        return TOO_DEEP
    if name.isascii() and "\\" not in name and len(name) <= MAX_NAME:
        return None
    try:
        check_name(name)
    except Invalid:
        return BAD_NAME
    return None
