"""The x bits of a file's mode: whether it is a program that can be started by its name."""

from __future__ import annotations

import os
import stat

from evstore.worktree.disk.errors import Occupied, shown
from evstore.worktree.disk.file_stat import StatStamp
from evstore.worktree.disk.file_writer import NEW, OLD, Target
from evstore.worktree.disk.stat_checks import called

READ, EXECUTE = 0o444, 0o111


def set_executable(target: Target, executable: bool) -> tuple[StatStamp, StatStamp]:
    """`Disk.set_executable`. Raises OSError too."""
    # looked at before it is opened: opening a device may set it in motion
    _check_file(target, os.stat(target.name, dir_fd=target.directory, follow_symlinks=False))
    descriptor = os.open(target.name, OLD, dir_fd=target.directory)
    try:
        found = os.fstat(descriptor)
        _check_file(target, found)
        mode = stat.S_IMODE(found.st_mode)
        os.fchmod(descriptor, mode | (mode & READ) >> 2 | stat.S_IXUSR if executable else mode & ~EXECUTE)
        return StatStamp.of(found), StatStamp.of(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def tells_modes(name: str, directory: int) -> bool:
    """Whether the disk of `directory` (a descriptor) knows which files are executable; `name` is free there. Raises OSError."""
    descriptor = os.open(name, NEW, 0o666, dir_fd=directory)
    try:
        new = os.fstat(descriptor).st_mode
        os.fchmod(descriptor, new | stat.S_IXUSR)
        changed = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        return not new & stat.S_IXUSR and bool(changed & stat.S_IXUSR)
    except PermissionError:  # what it can't show, FAT refuses
        return False
    finally:
        os.close(descriptor)
        os.unlink(name, dir_fd=directory)


def _check_file(target: Target, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Occupied(f"{shown(target.path)} is {called(found)} on the disk")
