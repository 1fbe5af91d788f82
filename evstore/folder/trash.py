"""Where is put away what may not be in the log: `.evstore/trash`.

A rename can't leave a disk, and a folder may have several mounted in it. Each has a trash of its own then, at
its top, and a note in ours: a link that says where.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from evstore.folder.inside import Inside
from evstore.folder.looking import look_in
from evstore.folder.renaming import rename_new
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
        os.stat(
            name, dir_fd=trash, follow_symlinks=False
        )  # what is missing counts more than between which disks
        rename_new(name, new, trash, directory)
    with suppress(FileNotFoundError), inside.own(ELSEWHERE) as notes:
        os.unlink(name, dir_fd=notes)


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
