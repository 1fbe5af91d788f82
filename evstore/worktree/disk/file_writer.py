"""A new file that takes another's place: all of it at once, looking as the other did."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.worktree.disk.errors import Changed, Occupied, shown
from evstore.worktree.disk.file_stat import StatStamp
from evstore.worktree.disk.renameat2 import exchange, rename_new
from evstore.worktree.disk.rooted_dir import READING, RootedDir
from evstore.worktree.disk.stat_checks import TEMPORARY, Replacing, called, check_replaceable, look_in

TMP = "tmp"  # in .evstore
KEPT = ".evstore-kept"  # how the name of a file begins that could not be given back
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
TEMPORARY_NEW = f"{TEMPORARY}new-"  # how the name of one begins that takes nobody's place
UNFINISHED = 0o200  # the mode of one until it is as it shall be: once it has taken a place, its name is that of the old file
COPY = MIB  # bytes at a time
_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the file shall be, and what it may replace."""

    path: ContentPath
    directory: int  # a descriptor
    name: str
    replacing: Replacing
    durable: bool = False  # it must be on stable storage before it takes its place, for nobody else has it
    executable: bool = False  # a new one, as the user's umask allows; an old one keeps its mode

    def check(self) -> StatStamp | None:
        """The file to replace, if there is one. Raises Occupied, Changed, FolderReadOnly."""
        return check_replaceable(self.directory, self.path, self.name, self.replacing)


def write(inside: RootedDir, target: Target, pieces: Iterable[bytes], modified: int) -> StatStamp:
    """`Disk.write`. Raises OSError too."""
    stamp = _write(inside, target, pieces, modified)
    if target.durable:
        _sync_directory(target.directory)
    return stamp


def _write(inside: RootedDir, target: Target, pieces: Iterable[bytes], modified: int) -> StatStamp:
    replaces = target.check() is not None
    with _temporary(inside, target, replaces=replaces) as (name, place):
        stamp = _fill(name, place, pieces, modified, target, replaces=replaces)
        if _put(name, place, target, stamp):
            return _in_place(target, stamp)
        # one disk can be mounted twice: then only the attempt shows that its parts are apart
        with ExitStack() as stack:
            beside = _beside(inside, target, stack, replaces=replaces)
            again = _pieces(name, place)
            stamp = _fill(beside, target.directory, again, modified, target, replaces=replaces)
            _put(beside, target.directory, target, stamp)
            return _in_place(target, stamp)


def remove(target: Target, stamp: StatStamp) -> None:
    """`Disk.remove_file`. Raises OSError too.

    It gets another name first: what is looked at then is what is removed, whoever puts what in its place.
    """
    found = os.stat(target.name, dir_fd=target.directory, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        raise Occupied(f"{shown(target.path)} is {called(found)} on the disk")
    if StatStamp.of(found) != stamp:
        raise _changed(target)
    aside = temporary_name()
    rename_new(target.name, aside, target.directory, target.directory)
    found = os.stat(aside, dir_fd=target.directory, follow_symlinks=False)
    if stat.S_ISREG(found.st_mode) and StatStamp.of(found).is_moved(stamp):
        os.unlink(aside, dir_fd=target.directory)
        return
    try:
        rename_new(aside, target.name, target.directory, target.directory)
    except OSError:  # somebody has put there yet another one: both are his
        rename_new(aside, KEPT + aside, target.directory, target.directory)
    raise _changed(target)


def _sync_directory(directory: int) -> None:
    """Have the file's new name on stable storage, too, as far as that is possible here."""
    with suppress(OSError):  # not every file system can, and not everybody may read the directory
        listing = os.open(".", READING, dir_fd=directory)
        try:
            os.fsync(listing)
        finally:
            os.close(listing)


def sync_disk_of(directory: int) -> None:
    """Wait until the disk that `directory` is on has written everything: syncfs(2) of Linux, else sync(2). Raises OSError.

    One call for all: it knows what other programs have written, too.
    """
    if _syncfs is None:
        os.sync()
        return
    descriptor = os.open(".", READING, dir_fd=directory)
    try:
        if _syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def temporary_name(prefix: str = TEMPORARY) -> str:
    return prefix + secrets.token_hex(8)


@contextmanager
def _temporary(inside: RootedDir, target: Target, *, replaces: bool) -> Generator[tuple[str, int]]:
    """A name for a temporary file and a descriptor of its directory: ours, or the target's if it has to be there."""
    with ExitStack() as stack:
        try:
            tmp = stack.enter_context(inside.own(TMP))
        except NotADirectoryError:
            tmp = None  # a link to another place, perhaps to a faster disk
        if tmp is not None and _can_move(tmp, target.directory, replaces=replaces):
            name = temporary_name(TEMPORARY if replaces else TEMPORARY_NEW)
            stack.callback(_remove, name, tmp)
            yield name, tmp
        else:
            yield _beside(inside, target, stack, replaces=replaces), target.directory


def _can_move(tmp: int, directory: int, *, replaces: bool) -> bool:
    """Whether a file that is made in `tmp` can be moved to `directory`, and is then as if it had been made there."""
    if os.fstat(tmp).st_dev != os.fstat(directory).st_dev:
        return False
    return replaces or not _gives_rights(directory)


def _gives_rights(directory: int) -> bool:
    """Whether what is made in a directory gets rights from it, by an access control list; acl(5) of Linux."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        return bool(os.getxattr(f"/proc/self/fd/{directory}", "system.posix_acl_default"))
    except OSError:
        return False


def _beside(inside: RootedDir, target: Target, stack: ExitStack, *, replaces: bool) -> str:
    """A name for a temporary file in the target's directory, with a note for `sweep` that it is there: a link to it."""
    name = temporary_name(TEMPORARY if replaces else TEMPORARY_NEW)
    with suppress(OSError):  # nowhere to leave it
        tmp = stack.enter_context(inside.own(TMP))
        os.symlink(target.path.parent.child(name), name, dir_fd=tmp)
        stack.callback(_remove, name, tmp)
    stack.callback(_remove, name, target.directory)
    return name


def _remove(name: str, directory: int) -> None:
    with suppress(FileNotFoundError):  # it has been moved to its place
        os.unlink(name, dir_fd=directory)


def _fill(
    name: str, place: int, pieces: Iterable[bytes], modified: int, target: Target, *, replaces: bool
) -> StatStamp:
    """Make the file `name` in `place` as it shall look in the end, and say how it will be recognised there."""
    # a new one is made as the user's umask wants it; the copy of an old one is nobody's business until it has its mode
    descriptor = os.open(
        name, NEW, UNFINISHED if replaces else 0o777 if target.executable else 0o666, dir_fd=place
    )
    with open(descriptor, "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        if replaces:
            _look_like_old(descriptor, target)
        else:
            _belong_to_group(descriptor, os.fstat(target.directory))
        os.utime(descriptor, ns=(time.time_ns(), modified * 1000))
        if target.durable:
            os.fsync(descriptor)
        return StatStamp.of(os.fstat(descriptor))


def _put(name: str, place: int, target: Target, stamp: StatStamp) -> bool:
    """Move the finished file to its place; False when that is on another disk. Raises what `Target.check` does."""
    old = target.check()  # once more: this is the last moment
    try:
        if old is None:
            rename_new(name, target.name, place, target.directory)
        elif exchange(name, target.name, place, target.directory):
            # so the old file can still be looked at; also, ext4 writes a file to the disk at once if it replaces another
            _check_exchanged(name, place, target, old, stamp)
        else:
            os.rename(name, target.name, src_dir_fd=place, dst_dir_fd=target.directory)
    except (FileExistsError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and (old is None or look_in(place, name) is None):
            raise  # it is the directory that is gone, or our own file
        if target.replacing == "anything":
            return _put(name, place, target, stamp)
        raise _changed(target) from None
    except OSError as error:
        if error.errno == errno.EXDEV and place != target.directory:
            return False
        raise
    return True


def _in_place(target: Target, made: StatStamp) -> StatStamp:
    """The stamp of what was made and then moved to its place, for that has changed its ctime."""
    with suppress(OSError):  # it can't be known: then it is read once
        found = look_in(target.directory, target.name)
        if found is not None and (there := StatStamp.of(found)).is_moved(made):
            return there
    return made  # nobody else's file has that one


def _check_exchanged(name: str, place: int, target: Target, old: StatStamp, new: StatStamp) -> None:
    """Raise Changed unless `old` is what came out as `name`. Then somebody else was faster, and what is his goes back.

    In the meantime he may have put something newer there, and so on: it is right when what comes out is
    what we had put in.
    """
    expected, given = old, new
    try:
        while not _is_expected(came := os.stat(name, dir_fd=place, follow_symlinks=False), expected, target):
            exchange(name, target.name, place, target.directory)
            expected, given = given, StatStamp.of(came)
    except OSError:
        os.rename(name, KEPT + name, src_dir_fd=place, dst_dir_fd=place)  # it is not ours to remove
        raise
    if expected is not old:
        raise _changed(target)


def _is_expected(came: os.stat_result, expected: StatStamp, target: Target) -> bool:
    return stat.S_ISREG(came.st_mode) and (
        target.replacing == "anything"
        or StatStamp.of(came).is_moved(expected)  # exchanged, it has another ctime
    )


def _changed(target: Target) -> Changed:
    return Changed(f"{shown(target.path)} has changed on the disk meanwhile")


def _pieces(name: str, directory: int) -> Generator[bytes]:
    with open(os.open(name, OLD, dir_fd=directory), "rb") as file:
        while piece := file.read(COPY):
            yield piece


def _look_like_old(descriptor: int, target: Target) -> None:
    """Give the file the owner, the mode and the attributes of the one that it replaces, as far as that is allowed."""
    like = os.stat(target.name, dir_fd=target.directory, follow_symlinks=False)
    mine = os.fstat(descriptor)
    kept = (mine.st_uid, mine.st_gid) == (like.st_uid, like.st_gid)
    kept = kept or _own(descriptor, like.st_uid, like.st_gid)
    if not kept:
        _own(descriptor, -1, like.st_gid)  # those who share the folder by a group still do
    # "set user id" is for the owner that it was given by
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode) & (0o7777 if kept else 0o777))
    if hasattr(os, "listxattr"):
        _copy_attributes(descriptor, target)


def _belong_to_group(descriptor: int, parent: os.stat_result) -> None:
    """What is made in a directory with "set group id" belongs to its group; a temporary file is made elsewhere."""
    if parent.st_mode & stat.S_ISGID and os.fstat(descriptor).st_gid != parent.st_gid:
        _own(descriptor, -1, parent.st_gid)


def _own(descriptor: int, user: int, group: int) -> bool:
    try:
        os.fchown(descriptor, user, group)
    except PermissionError:
        return False
    return True


def _copy_attributes(descriptor: int, target: Target) -> None:
    with suppress(OSError):  # unreadable, or a file system without attributes
        source = os.open(target.name, OLD, dir_fd=target.directory)
        try:
            for attribute in os.listxattr(source):
                with suppress(OSError):  # not allowed: "security." belongs to the system
                    os.setxattr(descriptor, attribute, os.getxattr(source, attribute))
        finally:
            os.close(source)
