"""What stands in the folder's own `.evstore`: the mark by which it is known again, and which start of the machine it has seen."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from evstore.disk.disk import Disk

MARK = "folder"
BOOT = "boot"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of Linux; another one after each start of the machine


def mark_of(disk: Disk) -> str:
    """The folder's own mark, by which it is known again wherever it is mounted; made when there is none."""
    file = disk.root / ".evstore" / MARK
    try:
        mark = _read(file)
        if not mark:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            mark = secrets.token_hex(16)
            file.write_text(mark)
    except OSError:  # nobody can write here: then it will be known by what the system calls it
        found = disk.root.stat()
        return f"{found.st_dev}:{found.st_ino}"
    disk.recognise(mark)
    return mark


def has_rebooted(disk: Disk) -> bool:
    """Whether the machine was started again since this was last asked; a machine that can't tell says no."""
    file = disk.root / ".evstore" / BOOT
    with suppress(OSError):  # no Linux; or read-only, where nothing can be half written
        boot, before = BOOT_ID.read_text(), _read(file)
        if boot != before:
            file.write_text(boot)
        return before not in ("", boot)
    return False


def _read(file: Path) -> str:
    with suppress(FileNotFoundError):
        return file.read_text()
    return ""
