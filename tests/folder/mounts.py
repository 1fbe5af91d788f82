"""Small file systems for tests, mounted where the machine allows it, and acting as a user without rights."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def mounted(at: Path, *arguments: str) -> Generator[None]:
    """While it lasts, `mount ARGUMENTS AT` holds. Skips the test where that is not allowed."""
    at.mkdir(exist_ok=True)
    mount = subprocess.run(["mount", *arguments, at], capture_output=True, text=True, check=False)
    if mount.returncode:
        pytest.skip(f"nothing can be mounted here: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


def remount(at: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", at], check=True)


@contextmanager
def without_rights(*own: Path) -> Generator[None]:
    """Files are opened as somebody who is not root and owns nothing but `own`."""
    if os.geteuid() != 0:
        yield
        return
    for path in own:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def bound_by_permissions() -> Generator[None]:
    """Root, too, may only do what files' modes say: this thread, and those that it starts (capset(2))."""
    libc, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)
    was, less = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(header, was) == 0
    less[:] = was[:]
    less[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, less) == 0
    try:
        yield
    finally:
        assert libc.capset(header, was) == 0
