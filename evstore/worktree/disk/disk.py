"""The served folder as a file system that can't be left: it knows the disk, and nothing of the log.

No method follows a symbolic link, or sees `.evstore` (its own) at any depth: to all of them it is as if that
were not there. All paths in and out are API paths. Every error is an EvstoreError; none holds an absolute path.
The methods block: call them in threads, from as many as you like.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from io import BufferedReader
from pathlib import Path

from evstore.core.errors import Invalid, NotFound
from evstore.core.paths import ContentPath, check_name, check_path
from evstore.worktree.disk.case_rename import respell
from evstore.worktree.disk.errors import (
    NOT_ALLOWED,
    AccessDenied,
    Changed,
    FolderFailed,
    FolderFull,
    FolderGone,
    FolderReadOnly,
    Occupied,
    OtherDisk,
    Unreadable,
    changing,
    missing,
    sentence,
    shown,
    when_reading,
)
from evstore.worktree.disk.file_reader import opened
from evstore.worktree.disk.file_stat import FileStat, FileType, Scan, Skipped, StatStamp
from evstore.worktree.disk.file_writer import (
    NEW,
    OLD,
    TMP,
    Target,
    remove,
    sync_disk_of,
    temporary_name,
    write,
)
from evstore.worktree.disk.modes import set_executable, tells_modes
from evstore.worktree.disk.renameat2 import is_same, rename_new
from evstore.worktree.disk.rooted_dir import RootedDir, is_spelt, names_of, other_spellings
from evstore.worktree.disk.stat_checks import (
    EFFECTIVE,
    Replacing,
    called,
    check_file,
    check_readable,
    check_replaceable,
    check_spelling,
    look_in,
    may_write,
    scan_directory,
)
from evstore.worktree.disk.temp_cleanup import sweep
from evstore.worktree.trash import trash_dir
from evstore.worktree.trash.entries import Trash

__all__ = [
    "AccessDenied",
    "Changed",
    "Disk",
    "FileStat",
    "FileType",
    "FolderFailed",
    "FolderFull",
    "FolderGone",
    "FolderReadOnly",
    "Occupied",
    "OtherDisk",
    "Scan",
    "Skipped",
    "StatStamp",
    "Unreadable",
]

NO_STATE = (
    "`.evstore` in the folder is no directory, or a link, and evstore needs it for its own files. "
    "The log may be elsewhere: --db says where"
)
LARGEST_OWN = 1024  # bytes of evstore's own files that are read


class Disk:
    """One folder. `root` must be there; it is resolved once. Raises FolderFailed when it can't be entered."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._top = f"{self.root}/"
        self._keeps_modes: bool | None = None  # None: that is not known yet
        try:
            self._inside = RootedDir(self.root)
        except OSError as error:
            raise FolderFailed(f"The folder can't be entered ({sentence(error)})") from None
        self.trashed = Trash(self._inside)

    def close(self) -> None:
        """Nothing may be in use any more, nor used after. What is not closed is so once nobody has it, no thread either."""
        self._inside.close()

    def set_folder_id(self, mark: str) -> None:
        """When something else is at the folder's path from now on, it is this folder only if its `.evstore/folder` holds `mark`."""
        self._inside.mark = mark.encode()

    # reading

    def read_only_walk(self) -> AbstractContextManager[None]:
        """Looking through what may be nested very deeply; not for long, and nothing may be changed by this thread meanwhile.

        A directory that somebody renames in the meantime may still be found under its old name.
        """
        return self._inside.read_only_walk()

    def quick_stamp(self, path: ContentPath) -> StatStamp | None:
        """What is at a path, or where links lead on the way to it: only good for telling whether it is as at another glance.

        One call of the system, for it is made on the event loop for each read.
        """
        try:
            return StatStamp.of(os.lstat(self._top + path))
        except (OSError, ValueError):
            return None

    def look(self, path: ContentPath) -> FileStat | None:
        """What is there: None when nothing is, also when a folder above is no real directory.

        Raises Unreadable when that can't be known, FolderGone.
        """
        try:
            names = names_of(path)
            directory = self._inside.enter(names[:-1], path)  # closed by hand: this is called for each read
            try:
                name = names[-1] if names else "."
                found = look_in(directory, name)
                return FileStat.of(path, found) if found and is_spelt(directory, name) else None
            finally:
                os.close(directory)
        except NotFound:
            return None
        except OSError as error:
            raise when_reading(error, path) from None

    def check_readable(self, path: ContentPath) -> None:
        """Raise Closed when there is a file or a directory that may not be read, or a way to it that may not be gone.

        One call of the system in general, for it is made on the event loop for each read.
        """
        try:
            if os.access(self._top + path, os.R_OK, effective_ids=EFFECTIVE):
                return
            with self._parent(path) as (directory, name):
                check_readable(directory, name)
        except PermissionError as error:
            raise when_reading(error, path) from None
        except (OSError, ValueError, NotFound, FolderGone):
            return  # nothing is there, or nobody can know

    def scan(self, path: ContentPath) -> Scan:
        """What is in one directory. Raises NotFound, Unreadable, FolderGone."""
        try:
            with self._inside.entered(names_of(path), path) as directory:
                return scan_directory(path, directory)
        except OSError as error:
            raise when_reading(error, path) from None

    def open(self, path: ContentPath) -> tuple[BufferedReader, FileStat]:
        """A regular file for reading, which the caller closes, and what it is. Raises NotFound, Unreadable, FolderGone.

        So do its reads.
        """
        try:
            with self._parent(path) as (directory, name):
                found = look_in(directory, name)
                if found is None or not is_spelt(directory, name):
                    raise missing(path)
                check_file(path, found)  # opening a device may set it in motion
                # NONBLOCK: opening a pipe that has taken the file's place must not wait for its writer
                file = opened(os.open(name, OLD, dir_fd=directory), path)
        except OSError as error:
            raise when_reading(error, path) from None
        try:
            found = os.fstat(file.fileno())
            check_file(path, found)
        except BaseException:
            file.close()
            raise
        return file, FileStat.of(path, found)

    def read_link(self, path: ContentPath) -> str:
        """What a symbolic link says, which may be anything. Raises NotFound, also when it is no link, Unreadable, FolderGone."""
        try:
            with self._parent(path) as (directory, name):
                return os.readlink(name, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.EINVAL:  # no link
                raise missing(path) from None
            raise when_reading(error, path) from None

    def writable(self, path: ContentPath) -> bool:
        """Whether a file may be written there: a new one, or in the place of one that may be changed itself."""
        try:
            with self._parent(path) as (directory, name):
                check_replaceable(directory, path, name, "anything")
                return may_write(directory, ".")
        except (OSError, NotFound, Occupied, FolderReadOnly, FolderGone):
            return False

    @cached_property
    def is_case_insensitive(self) -> bool:
        """Whether the disk takes some different names for one: no matter for case, or for the Unicode form.

        Found out by trying. A directory in it may still differ: the methods here look at each.
        """
        name = temporary_name() + "É"
        with changing(ContentPath()), self._inside.own(TMP) as tmp:
            os.close(os.open(name, NEW, 0o600, dir_fd=tmp))
            try:
                return any(os.access(other, os.F_OK, dir_fd=tmp) for other in other_spellings(name))
            finally:
                os.unlink(name, dir_fd=tmp)

    @property
    def keeps_modes(self) -> bool:
        """Whether a file can be made executable, and another not. FAT, and disks of Windows, show the same mode for all.

        Found out by trying, as git does. What may not be written to is believed; what can't be, as when it is full,
        is not. Both are tried again the next time.
        """
        if self._keeps_modes is None:
            name = temporary_name()
            try:
                with self._inside.own(TMP) as tmp:
                    self._keeps_modes = tells_modes(name, tmp)
            except OSError as error:
                return error.errno in NOT_ALLOWED
            except (NotFound, FolderGone):
                return True
        return self._keeps_modes

    # changing

    def write(
        self,
        path: ContentPath,
        pieces: Iterable[bytes],
        *,
        modified: int,
        replacing: Replacing = "anything",
        durable: bool = False,
        executable: bool = False,
    ) -> StatStamp:
        """Make `pieces` the file's contents, all at once, changed at `modified` (µs since 1970).

        Synced to the disk only if `durable`; then a power failure leaves the old contents or the new ones.

        It keeps the mode, and as far as possible owner and attributes, of the file that it replaces; `executable` is for a new one.
        `replacing` says what may be there at the last moment: "nothing", the file of a Stamp, or "anything";
        a regular file in any case. Raises Changed when it is something else, Occupied when it is no file,
        NotFound when the directory is not there, FolderFull, FolderReadOnly, FolderFailed, FolderGone.
        """
        check_path(path)
        _check_not_root(path)
        with changing(path), self._parent(path) as (directory, name):
            return write(
                self._inside, Target(path, directory, name, replacing, durable, executable), pieces, modified
            )

    def set_executable(self, path: ContentPath, executable: bool) -> tuple[StatStamp, StatStamp]:
        """Let those who may read a file start it, or nobody; its other mode bits stay. Returns what it was and is known by.

        Raises NotFound, Occupied when it is no file, and as `write` does.
        """
        with changing(path), self._existing(path) as (directory, name):
            return set_executable(Target(path, directory, name, "anything"), executable)

    def make_directory(self, path: ContentPath) -> StatStamp:
        """Make a directory, unless it is there. Raises Occupied when something else is, and as `write` does."""
        check_path(path)
        with changing(path), self._parent(path) as (directory, name):
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=directory)
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                raise Occupied(f"{shown(path)} is {called(found)} on the disk")
            check_spelling(directory, path, name)
            return StatStamp.of(found)

    def rename(self, old: ContentPath, new: ContentPath) -> None:
        """Move a file or a directory with all it holds, in one step, never over something that is there.

        Raises Occupied, NotFound, OtherDisk when the new place is on another disk, and as `write` does.
        """
        check_path(new)
        if old == new:
            return
        with (
            changing(new),
            self._existing(old) as (source, name),
            self._parent(new) as (target, new_name),
        ):
            try:
                rename_new(name, new_name, source, target)
            except FileExistsError:
                if not is_same(name, new_name, source, target) or is_spelt(target, new_name):
                    raise Occupied(f"Something else is there on the disk: {shown(new)}") from None
                respell(self._inside, name, new, source, target)

    def discard(self, path: ContentPath, name: str) -> None:
        """Move a file or a directory to the trash of its disk as `name`, in one step.

        Raises Occupied when that name is taken there, and as `write` does.
        """
        check_name(name)
        with changing(path), self._existing(path) as (directory, _):
            trash_dir.put(self._inside, path, name, directory)

    def recover(self, name: str, path: ContentPath, below: Sequence[str] = ()) -> None:
        """Move what `discard` has put away, or what `below` leads to in it, to `path`. Raises Occupied, OtherDisk, and as `write` does."""
        with changing(path), self._parent(path) as (directory, its_name):
            trash_dir.take(self._inside, (name, *below), directory, its_name)

    def remove_file(self, path: ContentPath, stamp: StatStamp) -> None:
        """Remove the file of that stamp, and no other. Raises NotFound, Changed, Occupied when it is no file, and as `write` does."""
        with changing(path), self._existing(path) as (directory, name):
            remove(Target(path, directory, name, stamp), stamp)

    def remove_directory(self, path: ContentPath) -> None:
        """Remove an empty directory. Raises NotFound, Occupied when it is not empty, and as `write` does."""
        with changing(path), self._existing(path) as (directory, name):
            os.rmdir(name, dir_fd=directory)

    def sweep(self, is_known: Callable[[BufferedReader], bool]) -> list[str]:
        """Remove what a crash has left of writes, if that is allowed; only while nothing is being written.

        What is not known, and may be somebody's own, goes to the trash, under the names that are returned.
        Raises FolderFailed when evstore can't have its own directory, and as `write` does.
        """
        try:
            with suppress(FolderReadOnly), changing(ContentPath()):
                return sweep(self._inside, is_known)
        except NotFound:
            raise FolderFailed(NO_STATE) from None
        return []

    def sync(self) -> None:
        """Have everything on stable storage that was written to the folder so far, by whomever. Raises as `write` does."""
        with changing(ContentPath()), self._inside.entered((), ContentPath()) as directory:
            sync_disk_of(directory)

    # what is evstore's own

    def read_own(self, name: str) -> bytes:
        """What the small file `.evstore/<name>` holds, nothing when it is not there. Raises as `write` does."""
        with (
            changing(ContentPath()),
            suppress(FileNotFoundError),
            self._inside.state() as state,
            open(os.open(name, OLD, dir_fd=state), "rb") as file,
        ):
            return file.read(LARGEST_OWN)
        return b""

    def write_own(self, name: str, data: bytes) -> None:
        """Make `data` what the file `.evstore/<name>` holds. Raises as `write` does."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            changing(ContentPath()),
            self._inside.state() as state,
            open(os.open(name, flags, 0o600, dir_fd=state), "wb") as file,
        ):
            file.write(data)

    # inside

    @contextmanager
    def _parent(self, path: ContentPath) -> Generator[tuple[int, str]]:
        """A descriptor of the directory that `path` is in, and its name there: "." for the folder itself."""
        names = names_of(path)
        directory = self._inside.enter(names[:-1], path)
        try:
            yield directory, names[-1] if names else "."
        finally:
            os.close(directory)

    @contextmanager
    def _existing(self, path: ContentPath) -> Generator[tuple[int, str]]:
        """`_parent` of something that is there, and is not the folder itself."""
        _check_not_root(path)
        with self._parent(path) as (directory, name):
            if look_in(directory, name) is None or not is_spelt(directory, name):
                raise missing(path)
            yield directory, name


def _check_not_root(path: ContentPath) -> None:
    if not path:
        raise Invalid("That is the folder itself.")
