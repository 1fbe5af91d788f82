"""Renaming without replacing, and exchanging, where the system has a call for it. Python's own `os.rename` replaces.

Sources: renameat2(2) of Linux, renamex_np(2) of macOS.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable

MACOS = sys.platform == "darwin"
CALL = "renameatx_np" if MACOS else "renameat2"
NEW = 4 if MACOS else 1  # RENAME_EXCL, RENAME_NOREPLACE
EXCHANGE = 2  # RENAME_SWAP, RENAME_EXCHANGE
# Which of them it is depends on the system and the file system.
NOT_HERE = frozenset((errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP))


def _find_call() -> Callable[..., int] | None:
    """The C library's function: (directory, name, directory, name, flag) -> 0, or -1 and errno."""
    try:
        call = ctypes.CDLL(None, use_errno=True)[CALL]
    except AttributeError:
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return call


_CALL = _find_call()


def _rename(name: str, new: str, source: int, target: int, flag: int) -> bool:
    """False when system or file system do not know how. Raises OSError."""
    if _CALL is None:
        return False
    if _CALL(source, os.fsencode(name), target, os.fsencode(new), flag) == 0:
        return True
    if (number := ctypes.get_errno()) in NOT_HERE:
        return False
    raise OSError(number, os.strerror(number))


def rename_new(name: str, new: str, source: int, target: int) -> None:
    """Move `name` in the directory `source` to `new` in `target` (descriptors), which must not exist.

    Raises OSError; FileExistsError when something is there. Where neither system nor file system can do it
    in one step, there is a moment between the look and the move.
    """
    if _rename(name, new, source, target, NEW):
        return
    try:
        os.stat(new, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def exchange(name: str, other: str, source: int, target: int) -> bool:
    """Let `name` in the directory `source` and `other` in `target` change places; False when that is not possible here.

    Who watches `target` is told that `other` went away and then that it came, as when vim saves. Raises OSError.
    """
    return _rename(other, name, target, source, EXCHANGE)


def is_same(name: str, other: str, source: int, target: int) -> bool:
    """Whether `name` in the directory `source` and `other` in `target` are one and the same."""
    here = os.stat(name, dir_fd=source, follow_symlinks=False)
    there = os.stat(other, dir_fd=target, follow_symlinks=False)
    return os.path.samestat(here, there)
