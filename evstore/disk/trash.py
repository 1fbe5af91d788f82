"""Where is put away what may not be in the log: `.evstore/trash`.

A rename can't leave a disk, and a folder may have several mounted in it. Each has a trash of its own then, at
its top, and a note in ours: a link that says where.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from evstore.disk.inside import PASSING, READING, Inside
from evstore.disk.looking import look_in
from evstore.disk.renaming import rename_new
from evstore.disk.way import Way
from evstore.paths import ContentPath

TRASH = "trash"  # in .evstore
ELSEWHERE = "trash-elsewhere"  # notes: a name in another disk's trash -> the directory where that disk is
HERE = "."  # a note can't be empty


def put(inside: Inside, path: ContentPath, name: str, directory: int) -> None:
    """Move `path`, which is in `directory` (a descriptor), to the trash of its disk as `name`. Raises OSError."""
    with inside.own(TRASH) as trash:
        try:
            rename_new(path.name, name, directory, trash)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    top = _top_of_disk(inside, path.parent.names, path)
    with inside.own(TRASH, top) as trash, inside.own(ELSEWHERE) as notes:
        if look_in(trash, name) is None:
            with suppress(FileNotFoundError):  # a note without what it tells of
                os.unlink(name, dir_fd=notes)
        os.symlink("/".join(top) or HERE, name, dir_fd=notes)
        rename_new(path.name, name, directory, trash)


def has(inside: Inside, name: str) -> bool:
    """Whether there is something in the trash under that name. Raises OSError."""
    with _trash_with(inside, name) as trash:
        return look_in(trash, name) is not None


def take(inside: Inside, name: str, directory: int, new: str) -> None:
    """Move what was put away as `name` to `directory` as `new`. Raises OSError."""
    with _trash_with(inside, name) as trash:
        # First, for what is missing counts more than between which disks.
        os.stat(name, dir_fd=trash, follow_symlinks=False)
        rename_new(name, new, trash, directory)
    with suppress(FileNotFoundError), inside.own(ELSEWHERE) as notes:
        os.unlink(name, dir_fd=notes)


def empty(inside: Inside, before: int) -> list[str]:
    """Remove for good what was put there before that time (ns since 1970), and return its names. Raises OSError.

    What is in other disks' trash is left alone.
    """
    with inside.own(TRASH) as trash:
        old = [name for name in _names(trash) if (put_at := _put_at(name)) is not None and put_at < before]
        for name in old:
            if stat.S_ISDIR(os.stat(name, dir_fd=trash, follow_symlinks=False).st_mode):
                _remove_directory(trash, name)
            else:
                os.unlink(name, dir_fd=trash)
    return old


def held(inside: Inside) -> tuple[int, int]:
    """How many files are in the trash, and their bytes. Raises OSError."""
    files = size = 0
    with inside.own(TRASH) as trash:
        for _, directory, names in _walk(trash, []):
            found = [os.stat(name, dir_fd=directory, follow_symlinks=False) for name in names]
            sizes = [one.st_size for one in found if stat.S_ISREG(one.st_mode)]
            files, size = files + len(sizes), size + sum(sizes)
    return files, size


def _remove_directory(trash: int, name: str) -> None:
    """Remove a directory with all it holds, but nothing of another disk that is mounted in it. Raises OSError."""
    disk, directories = os.fstat(trash).st_dev, list[list[str]]()
    for names, directory, files in _walk(trash, [name]):
        if os.fstat(directory).st_dev != disk:
            raise OSError(errno.EBUSY, "another disk is mounted there")
        directories.append(names)
        for file in files:
            os.unlink(file, dir_fd=directory)
    with closing(Way()) as way:
        for *above, last in reversed(directories):
            parent = way.open(trash, above, PASSING)
            try:
                os.rmdir(last, dir_fd=parent)
            finally:
                os.close(parent)


def _walk(top: int, names: list[str]) -> Generator[tuple[list[str], int, list[str]]]:
    """The directory that `names` lead to from `top`, and all below it: the way there, a descriptor, what is no directory.

    Each comes before those in it. Library functions that do this keep all open above, and call themselves: directories may
    be nested more deeply than either can be. Raises OSError.
    """
    waiting = [names]
    with closing(Way()) as way:
        while waiting:
            names = waiting.pop()
            directory = way.open(top, names, PASSING)
            try:
                found = _kinds(directory)
                yield names, directory, [name for name, is_directory in found.items() if not is_directory]
            finally:
                os.close(directory)
            waiting += [[*names, name] for name, is_directory in found.items() if is_directory]


def _kinds(directory: int) -> dict[str, bool]:
    """What is in a directory, and whether it is one itself, and no link."""
    listing = os.open(".", READING, dir_fd=directory)
    try:
        with os.scandir(listing) as members:
            return {member.name: member.is_dir(follow_symlinks=False) for member in members}
    finally:
        os.close(listing)


def _names(directory: int) -> list[str]:
    """What is in a directory of which the descriptor is only a place."""
    readable = os.open(".", READING, dir_fd=directory)
    try:
        return os.listdir(readable)
    finally:
        os.close(readable)


def _put_at(name: str) -> int | None:
    """When something was put there; None for what waits for its place."""
    number = name.partition("-")[0]
    return int(number) if number.isdecimal() else None


def names(inside: Inside) -> list[str]:
    """What there is in the trash of each disk. Raises OSError."""
    with inside.own(TRASH) as trash, inside.own(ELSEWHERE) as notes:
        found = {*_names(trash), *_names(notes)}
    return sorted(name for name in found if has(inside, name))


def rename(inside: Inside, old: str, new: str) -> None:
    """Give what was put away as `old` another name. Raises OSError."""
    with _trash_with(inside, old) as trash:
        rename_new(old, new, trash, trash)
    with suppress(FileNotFoundError), inside.own(ELSEWHERE) as notes:
        os.rename(old, new, src_dir_fd=notes, dst_dir_fd=notes)


@contextmanager
def _trash_with(inside: Inside, name: str) -> Generator[int]:
    """A descriptor of the trash that has `name`, if one has."""
    top: list[str] = []
    with inside.own(ELSEWHERE) as notes, suppress(FileNotFoundError):
        note = os.readlink(name, dir_fd=notes)
        top = [] if note == HERE else note.split("/")
    with inside.own(TRASH, top) as trash:
        yield trash


def _top_of_disk(inside: Inside, names: Sequence[str], path: ContentPath) -> Sequence[str]:
    """The way to the topmost directory that is on the same mounted disk as the one that `names` lead to."""
    with inside.entered(names, path) as directory:
        disk = _disk_of(directory)
    for length in range(len(names)):
        with inside.entered(names[:length], path) as directory:
            if _disk_of(directory) == disk:
                return names[:length]
    return names


def _disk_of(directory: int) -> str | int:
    """What tells mounted disks apart, also one that is mounted twice: Linux's id of the mount, else the device."""
    with suppress(FileNotFoundError):
        information = Path(f"/proc/self/fdinfo/{directory}").read_text()
        if found := re.search(r"^mnt_id:\s*(\d+)$", information, re.MULTILINE):
            return found[1]
    return os.fstat(directory).st_dev
