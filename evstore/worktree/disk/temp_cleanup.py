"""What a process that was killed has left of its writes is removed, but for what may be nowhere else.

A save exchanges the new file and the old one, looks whether the old one is what it was, and removes it. When the
process ends in between, and somebody has changed the old one at the last moment, it has bytes that nobody has seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader

from evstore.core.errors import NotFound
from evstore.core.paths import ContentPath
from evstore.worktree.disk.case_rename import BETWEEN, finish
from evstore.worktree.disk.file_writer import KEPT, OLD, TEMPORARY_NEW, TMP, UNFINISHED
from evstore.worktree.disk.rooted_dir import RootedDir, names_of
from evstore.worktree.disk.stat_checks import TEMPORARY, look_in
from evstore.worktree.trash import trash_dir

IsKnown = Callable[[BufferedReader], bool]


def sweep(inside: RootedDir, is_known: IsKnown) -> list[str]:
    """`Disk.sweep`. Raises OSError too."""
    with inside.own(TMP) as tmp:
        left = [
            _swept(inside, tmp, name, is_known) for name in trash_dir.listed(tmp) if not name.startswith(KEPT)
        ]
    return [name for name in left if name is not None]


def _swept(inside: RootedDir, tmp: int, name: str, is_known: IsKnown) -> str | None:
    """Remove that, and the file beside another that it is a note of. Under what name something is in the trash now."""
    if name.startswith(BETWEEN):
        return finish(inside, tmp, name)
    try:
        noted = ContentPath(os.readlink(name, dir_fd=tmp))
    except OSError:  # no note
        return _remove(inside, ContentPath(name), tmp, is_known)
    left = None
    if noted.name.startswith(TEMPORARY):
        with suppress(OSError, NotFound), inside.entered(names_of(noted.parent), noted) as directory:
            left = _remove(inside, noted, directory, is_known)
    os.unlink(name, dir_fd=tmp)
    return left


def _remove(inside: RootedDir, path: ContentPath, directory: int, is_known: IsKnown) -> str | None:
    found = look_in(directory, path.name)
    if found is None or stat.S_ISDIR(found.st_mode):
        return None
    if _is_unfinished(path.name, found) or _is_known(path.name, directory, is_known):
        os.unlink(path.name, dir_fd=directory)
        return None
    name = trash_dir.timed(path.name)
    trash_dir.put(inside, path, name, directory)
    return name


def _is_unfinished(name: str, found: os.stat_result) -> bool:
    """Whether it never had a place of its own, or nothing is in it."""
    mode = found.st_mode
    is_marked = name.startswith(TEMPORARY_NEW) or stat.S_IMODE(mode) == UNFINISHED
    return is_marked or not found.st_size or not stat.S_ISREG(mode)


def _is_known(name: str, directory: int, is_known: IsKnown) -> bool:
    try:
        with open(os.open(name, OLD, dir_fd=directory), "rb") as file:
            return is_known(file)
    except OSError:
        return False
