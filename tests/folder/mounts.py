"""Small file systems for tests, mounted where the machine allows it, and acting as a user without rights."""

from __future__ import annotations

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
