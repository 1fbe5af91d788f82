"""What lies in the trash: looked at, taken away, or given another name."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple, TypeGuard

from evstore.disk import trash
from evstore.disk.errors import changing
from evstore.disk.found import Stamp
from evstore.disk.inside import Inside
from evstore.disk.looking import look_in
from evstore.disk.way import Way
from evstore.paths import ContentPath, check_name

NOT_EMPTY = frozenset((errno.ENOTEMPTY, errno.EEXIST))


class Discarded(NamedTuple):
    """A file in a directory in the trash."""

    name: str
    stamp: Stamp


class Trashed:
    """The trash of one folder. A *way* leads through it: the name that something was put there by, then names of directories.

    All methods raise as `Disk.write` does, and NotFound when the way leads to nothing any more.
    """

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    def names(self, wanted: Callable[[str], bool] = lambda name: True) -> list[str]:
        """Of all that was put there, or the `wanted` ones."""
        with changing(ContentPath()):
            return trash.names(self._inside, wanted)

    def has(self, name: str, below: Sequence[str] = ()) -> bool:
        """Whether something was put there by that name, and `below` leads to something in it."""
        with changing(ContentPath()):
            return trash.has(self._inside, name, below)

    def rename(self, old: str, new: str) -> None:
        """Raises Occupied, too."""
        check_name(new)
        with changing(ContentPath()):
            trash.rename(self._inside, old, new)

    def empty(self, before: int) -> list[str]:
        """Remove for good what was put there before that time (ns since 1970)."""
        with changing(ContentPath()):
            return trash.empty(self._inside, before)

    def held(self) -> tuple[int, int]:
        """How many files there are, and their bytes."""
        with changing(ContentPath()):
            return trash.held(self._inside)

    def walk(self, name: str) -> Generator[tuple[list[str], list[Discarded]]]:
        """The ways to all directories in a directory that was put there, and to itself first; with the files in each.

        What is moved out of the trash meanwhile may be told, or not.
        """
        with changing(ContentPath()), trash.entered(self._inside, (), of=name) as top:
            for way, directory, names in trash.walk(top, [name]):
                found = ((file, look_in(directory, file)) for file in names)
                yield way, [Discarded(file, Stamp.of(one)) for file, one in found if _is_file(one)]

    def remove(self, way: Sequence[str], files: Mapping[str, Stamp]) -> list[str]:
        """Remove those files of a directory that are still as they were. Returns their names."""
        removed: list[str] = []
        with changing(ContentPath()), trash.entered(self._inside, way) as directory:
            for name, stamp in files.items():
                found = look_in(directory, name)
                if _is_file(found) and Stamp.of(found) == stamp:
                    os.unlink(name, dir_fd=directory)
                    removed.append(name)
        return removed

    def remove_empty(self, ways: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Remove those directories in which nothing is; each must be named before that in which it is. Returns the ways to them."""
        removed: list[tuple[str, ...]] = []
        with changing(ContentPath()), closing(Way()) as steps:
            for way in ways:
                with trash.entered(self._inside, way[:-1], of=way[0], steps=steps) as parent:
                    try:
                        os.rmdir(way[-1], dir_fd=parent)
                    except OSError as error:
                        if error.errno not in NOT_EMPTY:
                            raise
                    else:
                        removed.append(way)
        return removed


def _is_file(found: os.stat_result | None) -> TypeGuard[os.stat_result]:
    return found is not None and stat.S_ISREG(found.st_mode)
