"""Renaming without replacing, where the system has a call for it. Python's own `os.rename` replaces what is there.

Sources: renameat2(2) of Linux, renamex_np(2) of macOS.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import sys
from collections.abc import Callable

NOREPLACE = 1  # RENAME_NOREPLACE
EXCLUSIVE = 4  # RENAME_EXCL of macOS
NOT_HERE = frozenset(
    (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
)  # by system or file system


def _find_call() -> tuple[Callable[..., int], int] | None:
    """The C library's function and its flag: (directory, name, directory, name, flag) -> 0, or -1 and errno."""
    library = ctypes.CDLL(None, use_errno=True)
    name, flag = ("renameatx_np", EXCLUSIVE) if sys.platform == "darwin" else ("renameat2", NOREPLACE)
    try:
        call = library[name]
    except AttributeError:
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return call, flag


_CALL = _find_call()


def rename_new(name: str, new: str, source: int, target: int) -> None:
    """Move `name` in the directory `source` to `new` in `target` (descriptors), which must not exist.

    Raises OSError; FileExistsError when something is there. Where neither system nor file system can do it
    in one step, there is a moment between the look and the move.
    """
    if _CALL is not None:
        call, flag = _CALL
        if call(source, os.fsencode(name), target, os.fsencode(new), flag) == 0:
            return
        if (number := ctypes.get_errno()) not in NOT_HERE:
            raise OSError(number, os.strerror(number))
    try:
        os.stat(new, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def is_same(name: str, other: str, source: int, target: int) -> bool:
    """Whether `name` in the directory `source` and `other` in `target` are one and the same."""
    here = os.stat(name, dir_fd=source, follow_symlinks=False)
    there = os.stat(other, dir_fd=target, follow_symlinks=False)
    return os.path.samestat(here, there)


def respell(name: str, new: str, source: int, target: int) -> None:
    """`rename_new` to a name that the disk takes for the same.

    Many systems do nothing when asked to rename a file to itself, so it is moved out of the way first.
    """
    between = f".evstore-renamed-{secrets.token_hex(8)}"
    rename_new(name, between, source, target)
    try:
        rename_new(between, new, target, target)
    except OSError:
        rename_new(between, name, target, source)
        raise
