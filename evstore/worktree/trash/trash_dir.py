"""Where is put away what may not be in the log: `.evstore/trash`.

A rename can't leave a disk, and a folder may have several mounted in it. Each has a trash of its own then, at
its top, and a note in ours: a link that says where.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path

from evstore.core.paths import ContentPath
from evstore.worktree.disk.dir_fd_cache import DirFdCache
from evstore.worktree.disk.renameat2 import rename_new
from evstore.worktree.disk.rooted_dir import PASSING, READING, RootedDir
from evstore.worktree.disk.stat_checks import look_in

TRASH = "trash"  # in .evstore
ELSEWHERE = "trash-elsewhere"  # notes: a name in another disk's trash -> the directory where that disk is
MAX_TRASHED = 200  # bytes of a name that are kept there
HERE = "."  # a note can't be empty


def put(inside: RootedDir, path: ContentPath, name: str, directory: int) -> None:
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


def has(inside: RootedDir, name: str, below: Sequence[str] = ()) -> bool:
    """Whether there is something in the trash under that name, and in it where `below` leads to. Raises OSError."""
    *above, last = (name, *below)
    try:
        with entered(inside, above, of=name) as place:
            return look_in(place, last) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False


def take(inside: RootedDir, way: Sequence[str], directory: int, new: str) -> None:
    """Move what `way` leads to in the trash to `directory` as `new`. Raises OSError."""
    *above, name = way
    with entered(inside, above, of=way[0]) as place:
        # First, for what is missing counts more than between which disks.
        os.stat(name, dir_fd=place, follow_symlinks=False)
        rename_new(name, new, place, directory)
    if not above and _has_notes(inside):
        with suppress(FileNotFoundError), inside.own(ELSEWHERE) as notes:
            os.unlink(name, dir_fd=notes)


def empty(inside: RootedDir, before: int) -> list[str]:
    """Remove for good what was put there before that time (ns since 1970), and return its names. Raises OSError, after all others.

    What is in other disks' trash is left alone.
    """
    removed: list[str] = []
    failed: OSError | None = None
    with inside.own(TRASH) as trash:
        for name in sorted(
            name for name in listed(trash) if (at := put_at(name)) is not None and at < before
        ):
            try:
                _remove(trash, name)
                removed.append(name)
            except OSError as error:
                failed = failed or error
    if failed is not None:
        raise failed
    return removed


def _remove(trash: int, name: str) -> None:
    if (gone := without_deletion(name)) != name:  # or it could come back while it is being removed
        rename_new(name, gone, trash, trash)
        name = gone
    if stat.S_ISDIR(os.stat(name, dir_fd=trash, follow_symlinks=False).st_mode):
        _remove_directory(trash, name)
    else:
        os.unlink(name, dir_fd=trash)


def held(inside: RootedDir) -> tuple[int, int]:
    """How many files are in the trash, and their bytes. Raises OSError."""
    files = size = 0
    with inside.own(TRASH) as trash:
        for _, directory, names in walk(trash, []):
            found = [look_in(directory, name) for name in names]  # it may be emptied just now
            sizes = [one.st_size for one in found if one is not None and stat.S_ISREG(one.st_mode)]
            files, size = files + len(sizes), size + sum(sizes)
    return files, size


def _remove_directory(trash: int, name: str) -> None:
    """Remove a directory with all it holds, but nothing of another disk that is mounted in it. Raises OSError."""
    disk, directories = os.fstat(trash).st_dev, list[list[str]]()
    for names, directory, files in walk(trash, [name]):
        if os.fstat(directory).st_dev != disk:
            raise OSError(errno.EBUSY, "another disk is mounted there")
        directories.append(names)
        for file in files:
            os.unlink(file, dir_fd=directory)
    with closing(DirFdCache()) as way:
        for *above, last in reversed(directories):
            parent = way.open(trash, above, PASSING)
            try:
                os.rmdir(last, dir_fd=parent)
            finally:
                os.close(parent)


def walk(top: int, names: list[str]) -> Generator[tuple[list[str], int, list[str]]]:
    """The directory that `names` lead to from `top`, and all below it: the way there, a descriptor, what is no directory.

    Each comes before those in it. Library functions that do this keep all open above, and call themselves: directories may
    be nested more deeply than either can be. Raises OSError.
    """
    waiting = [names]
    with closing(DirFdCache()) as way:
        while waiting:
            names = waiting.pop()
            try:
                directory = way.open(top, names, PASSING)
            except FileNotFoundError:  # removed meanwhile
                continue
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


def listed(directory: int) -> list[str]:
    """What is in a directory of which the descriptor is only a place."""
    readable = os.open(".", READING, dir_fd=directory)
    try:
        return os.listdir(readable)
    finally:
        os.close(readable)


def timed(name: str, by: str = "") -> str:
    """A name in the trash for something called so, which is not too long and tells when it was put there, and `by` what."""
    return f"{time.time_ns()}{by}-{name.encode()[:MAX_TRASHED].decode(errors='ignore')}"


def put_at(name: str) -> int | None:
    """When something was put there; None for what waits for its place."""
    number = name.partition("-")[0].partition("@")[0]
    return int(number) if number.isdecimal() else None


def without_deletion(name: str) -> str:
    """The same name, from which nobody learns any more what has deleted that."""
    number, dash, rest = name.partition("-")
    return f"{number.partition('@')[0]}{dash}{rest}"


def names(inside: RootedDir, wanted: Callable[[str], bool]) -> list[str]:
    """The `wanted` ones of what there is in the trash of each disk. Raises OSError."""
    with inside.own(TRASH) as trash:
        found = set(listed(trash))
    if _has_notes(inside):
        with inside.own(ELSEWHERE) as notes:
            found.update(listed(notes))
    return sorted(name for name in found if wanted(name) and has(inside, name))


def rename(inside: RootedDir, old: str, new: str) -> None:
    """Give what was put away as `old` another name. Raises OSError."""
    with _trash_with(inside, old) as trash:
        rename_new(old, new, trash, trash)
    if _has_notes(inside):
        with suppress(FileNotFoundError), inside.own(ELSEWHERE) as notes:
            os.rename(old, new, src_dir_fd=notes, dst_dir_fd=notes)


@contextmanager
def entered(
    inside: RootedDir, way: Sequence[str], *, of: str | None = None, steps: DirFdCache | None = None
) -> Generator[int]:
    """A descriptor of the directory that `way` leads to in the trash that has its first name, or `of`. Raises OSError.

    `steps` are those of an earlier walk in the same trash, from which this one may begin.
    """
    with (
        _trash_with(inside, of or way[0]) as trash,
        nullcontext(steps) if steps else closing(DirFdCache()) as steps,
    ):
        directory = steps.open(trash, way, PASSING)
        try:
            yield directory
        finally:
            os.close(directory)


@contextmanager
def _trash_with(inside: RootedDir, name: str) -> Generator[int]:
    """A descriptor of the trash that has `name`, if one has."""
    top: list[str] = []
    if _has_notes(inside):
        with inside.own(ELSEWHERE) as notes, suppress(FileNotFoundError):
            note = os.readlink(name, dir_fd=notes)
            top = [] if note == HERE else note.split("/")
    with inside.own(TRASH, top) as trash:
        yield trash


def _has_notes(inside: RootedDir) -> bool:
    """Whether something was ever put elsewhere: most folders are on one disk."""
    with inside.own(TRASH) as trash:
        return look_in(trash, f"../{ELSEWHERE}") is not None


def _top_of_disk(inside: RootedDir, names: Sequence[str], path: ContentPath) -> Sequence[str]:
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
