"""What lies in the trash: looked at, taken away, or given another name."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from io import BufferedReader
from typing import NamedTuple, TypeGuard

from evstore.core.paths import ContentPath, check_name
from evstore.worktree.disk.dir_fd_cache import DirFdCache
from evstore.worktree.disk.errors import FolderReadOnly, changing
from evstore.worktree.disk.file_reader import opened
from evstore.worktree.disk.file_stat import StatStamp
from evstore.worktree.disk.file_writer import OLD
from evstore.worktree.disk.rooted_dir import RootedDir
from evstore.worktree.disk.stat_checks import look_in
from evstore.worktree.trash import trash_dir

NOT_EMPTY = frozenset((errno.ENOTEMPTY, errno.EEXIST))


class Discarded(NamedTuple):
    """A file in a directory in the trash."""

    name: str
    stamp: StatStamp


class Trash:
    """The trash of one folder. A *way* leads through it: the name that something was put there by, then names of directories.

    All methods raise as `Disk.write` does, and NotFound when the way leads to nothing any more.
    """

    def __init__(self, inside: RootedDir) -> None:
        self._inside = inside

    def names(self, wanted: Callable[[str], bool] = lambda name: True) -> list[str]:
        """Of all that was put there, or the `wanted` ones; where nothing may be written, nothing was."""
        with suppress(FolderReadOnly), changing(ContentPath()):
            return trash_dir.names(self._inside, wanted)
        return []

    def has(self, name: str, below: Sequence[str] = ()) -> bool:
        """Whether something was put there by that name, and `below` leads to something in it."""
        with changing(ContentPath()):
            return trash_dir.has(self._inside, name, below)

    def look(self, name: str) -> StatStamp | None:
        """The file that was put there by that name; None when it is none, or nothing."""
        with changing(ContentPath()), trash_dir.entered(self._inside, (), of=name) as place:
            found = look_in(place, name)
            return StatStamp.of(found) if _is_file(found) else None

    def open(self, name: str) -> BufferedReader:
        """That file for reading, which the caller closes. Its reads raise Unreadable."""
        with changing(ContentPath()), trash_dir.entered(self._inside, (), of=name) as place:
            return opened(os.open(name, OLD, dir_fd=place), ContentPath(name))

    def remove_file(self, name: str, stamp: StatStamp) -> bool:
        """Remove that file if it still has that stamp. Whether it had."""
        with changing(ContentPath()), trash_dir.entered(self._inside, (), of=name) as place:
            return _remove(place, name, stamp)

    def rename(self, old: str, new: str) -> None:
        """Raises Occupied, too."""
        check_name(new)
        with changing(ContentPath()):
            trash_dir.rename(self._inside, old, new)

    def empty(self, before: int) -> list[str]:
        """Remove for good what was put there before that time (ns since 1970). Returns its names."""
        with changing(ContentPath()):
            return trash_dir.empty(self._inside, before)

    def held(self) -> tuple[int, int]:
        """How many files there are, and their bytes, as far as that may be known."""
        with suppress(FolderReadOnly), changing(ContentPath()):
            return trash_dir.held(self._inside)
        return 0, 0

    def walk(self, name: str) -> Generator[tuple[list[str], list[Discarded]]]:
        """The ways to all directories in a directory that was put there, and to itself first; with the files in each.

        What is moved out of the trash meanwhile may be told, or not.
        """
        with changing(ContentPath()), trash_dir.entered(self._inside, (), of=name) as top:
            for way, directory, names in trash_dir.walk(top, [name]):
                found = ((file, look_in(directory, file)) for file in names)
                yield way, [Discarded(file, StatStamp.of(one)) for file, one in found if _is_file(one)]

    def remove(self, way: Sequence[str], files: Mapping[str, StatStamp]) -> list[str]:
        """Remove those files of a directory that are still as they were. Returns their names."""
        with changing(ContentPath()), trash_dir.entered(self._inside, way) as directory:
            return [name for name, stamp in files.items() if _remove(directory, name, stamp)]

    def remove_empty(self, ways: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Remove those directories in which nothing is; each must be named before that in which it is. Returns the ways to them."""
        removed: list[tuple[str, ...]] = []
        with changing(ContentPath()), closing(DirFdCache()) as steps:
            for way in ways:
                with trash_dir.entered(self._inside, way[:-1], of=way[0], steps=steps) as parent:
                    try:
                        os.rmdir(way[-1], dir_fd=parent)
                    except OSError as error:
                        if error.errno not in NOT_EMPTY:
                            raise
                    else:
                        removed.append(way)
        return removed


def _remove(directory: int, name: str, stamp: StatStamp) -> bool:
    found = look_in(directory, name)
    is_same = _is_file(found) and StatStamp.of(found) == stamp
    if is_same:
        os.unlink(name, dir_fd=directory)
    return is_same


def _is_file(found: os.stat_result | None) -> TypeGuard[os.stat_result]:
    return found is not None and stat.S_ISREG(found.st_mode)
