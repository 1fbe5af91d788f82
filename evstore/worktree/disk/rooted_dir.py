"""Directories of the served folder, reached so that no symbolic link is ever followed, and that it can't be left.

A path is walked name by name: each directory is opened relative to the one before, and a link in
its place is refused by the system itself (O_NOFOLLOW), also when somebody puts it there in this moment.
What is then done is done relative to the last descriptor, wherever its directory has been moved meanwhile.
"""

from __future__ import annotations

import errno
import os
import threading
import unicodedata
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from evstore.core.paths import ContentPath
from evstore.worktree.disk.dir_fd_cache import DirFdCache
from evstore.worktree.disk.errors import MISSING, FolderGone, missing

STATE = ".evstore"  # evstore's own directory, which nobody gets to by a path
STATE_IGNORES = b"*\n"  # the .gitignore in it
NO_WAY = MISSING | {errno.ENAMETOOLONG}
NOT_NAMES = frozenset(("", ".", ".."))
# O_PATH, where there is one: it suffices to pass through, also where reading is not allowed
PASSING = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def names_of(path: ContentPath) -> list[str]:
    """The names on the way to `path`. Raises NotFound for what can't be in the folder, or is evstore's own.

    A nested `.evstore` belongs to another evstore, whose secrets are nobody's business either.
    """
    names = path.names
    for name in names:
        if name in NOT_NAMES or "\0" in name or is_own(name):
            raise missing(path)
    return names


def is_own(name: str) -> bool:
    """Whether evstore's own directory has that name, on one disk or another."""
    return name[0] == "." and name.casefold() == STATE


def is_spelt(directory: int, name: str) -> bool:
    """Whether what is found in `directory` (a descriptor) as `name` really has that name.

    Disks may ignore case and Unicode forms, directory by directory: then a file is found under other
    names too. So where another spelling is found as well, the list of names decides.
    """
    for other in other_spellings(name):
        if os.access(other, os.F_OK, dir_fd=directory):
            return _is_listed(directory, name)
    return True


def _is_listed(directory: int, name: str) -> bool:
    try:
        listing = os.open(".", READING, dir_fd=directory)
    except OSError:
        return True  # nobody may list it: what was asked for has to be believed
    try:
        return name in os.listdir(listing)
    finally:
        os.close(listing)


def other_spellings(name: str) -> Iterable[str]:
    """Names under which a disk that ignores case or Unicode forms would find the same file."""
    swapped = name.swapcase()
    if name.isascii():
        return () if swapped == name else (swapped,)
    return {swapped, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)} - {name}


class RootedDir:
    """The folder as a place to begin walks at. Threads may share it."""

    def __init__(self, root: Path) -> None:
        """`root` is a real path of an existing directory. Raises OSError."""
        self._root = str(root)
        self._lock = threading.Lock()
        self._top = -1  # until there is one
        self._top = os.open(root, PASSING)
        self._identity = _identity(os.fstat(self._top))
        self._ways: dict[int, DirFdCache] = {}  # by the thread
        self.mark: bytes | None = None  # what its `.evstore/folder` holds

    def close(self) -> None:
        if self._top >= 0:
            os.close(self._top)
            self._top = -1

    def __del__(self) -> None:
        self.close()

    def enter(self, names: Sequence[str], path: ContentPath) -> int:
        """A descriptor of the directory below the folder, for use as `dir_fd`; the caller closes it.

        Raises NotFound (which tells `path`) when a name on the way is no real directory of exactly that name,
        FolderGone, OSError.
        """
        way = self._ways.get(threading.get_ident()) if self._ways else None
        begun = None if way is None else way.begin(names)
        depth, current = (0, self._open_top()) if begun is None else begun
        try:
            for name in names[depth:] if depth else names:
                below = os.open(name, PASSING, dir_fd=current)
                current, above = below, current
                try:
                    if not is_spelt(above, name):
                        raise missing(path)
                finally:
                    os.close(above)
                if way is not None:
                    depth += 1
                    way.passed(depth, current)
        except OSError as error:
            os.close(current)
            if error.errno in NO_WAY:
                raise missing(path) from None
            raise
        except BaseException:
            os.close(current)
            raise
        return current

    @contextmanager
    def entered(self, names: Sequence[str], path: ContentPath) -> Generator[int]:
        """`enter`, closed at the end."""
        directory = self.enter(names, path)
        try:
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def own(self, name: str, below: Sequence[str] = ()) -> Generator[int]:
        """A descriptor of evstore's own directory `.evstore/<name>`, or of one further below, made if need be.

        Raises FolderGone, OSError, NotFound when the directory that it would be in is not there.
        """
        with self.state(below) as state:
            directory = _made(name, state)
        try:
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def state(self, below: Sequence[str] = ()) -> Generator[int]:
        """A descriptor of `.evstore` itself, made and hidden from git if need be. Raises as `own` does."""
        with self.entered(below, ContentPath("/".join(below))) as top:
            state = _made(STATE, top)
        try:
            if not _exists(".gitignore", state):
                with suppress(OSError):  # it may be there to be read only
                    _hide_from_git(state)
            yield state
        finally:
            os.close(state)

    @contextmanager
    def read_only_walk(self) -> Generator[None]:
        """While this thread only looks: begin walks where the last one has come by, and not at the top."""
        thread = threading.get_ident()
        self._ways[thread] = way = DirFdCache()
        try:
            yield
        finally:
            del self._ways[thread]
            way.close()

    def _open_top(self) -> int:
        """Raises FolderGone when something else is at the folder's path by now, such as what a mounted disk had covered.

        Otherwise all files would seem to be deleted.
        """
        with self._lock:
            try:
                if _identity(os.stat(self._root, follow_symlinks=False)) != self._identity:
                    self._return_to_top()
            except FileNotFoundError:
                raise FolderGone from None
            return os.dup(self._top)

    def _return_to_top(self) -> None:
        """The disk may have been mounted anew, with other numbers: then our own directory is there, with our mark."""
        try:
            top = os.open(self._root, PASSING)
        except NotADirectoryError:
            raise FolderGone from None
        if not self._is_ours(top):
            os.close(top)
            raise FolderGone
        os.close(self._top)
        self._top, self._identity = top, _identity(os.fstat(top))

    def _is_ours(self, top: int) -> bool:
        if self.mark is None:
            return _exists(STATE, top)
        try:
            file = os.open(f"{STATE}/folder", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
        except OSError:
            return False
        try:
            return os.read(file, 1024) == self.mark
        finally:
            os.close(file)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _made(name: str, directory: int) -> int:
    try:
        return os.open(name, PASSING, dir_fd=directory)
    except FileNotFoundError:
        pass
    with suppress(FileExistsError):  # by another thread
        os.mkdir(name, 0o700, dir_fd=directory)
    return os.open(name, PASSING, dir_fd=directory)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _hide_from_git(state: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(".gitignore", flags, 0o600, dir_fd=state)
    except FileExistsError:
        return  # by another thread
    try:
        os.write(file, STATE_IGNORES)
    finally:
        os.close(file)
