"""What stands in the folder's own `.evstore`: the mark by which it is known again, and which start of the machine it has seen."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from evstore.core.errors import EvstoreError
from evstore.worktree.disk.disk import Disk

MARK = "folder"
BOOT = "boot"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of Linux; another one after each start of the machine


def mark_of(disk: Disk) -> str:
    """The folder's own mark, by which it is known again wherever it is mounted; made when there is none."""
    try:
        mark = disk.read_own(MARK).decode(errors="replace")
        if not mark or "\ufffd" in mark:
            mark = secrets.token_hex(16)
            disk.write_own(MARK, mark.encode())
    except EvstoreError:  # nobody can write here: then it will be known by what the system calls it
        found = disk.root.stat()
        return f"{found.st_dev}:{found.st_ino}"
    disk.set_folder_id(mark)
    return mark


def has_rebooted(disk: Disk) -> bool:
    """Whether the machine was started again since `note_boot`; one that can't tell says no."""
    with suppress(OSError, EvstoreError):  # no Linux; or read-only, where nothing can be half written
        return disk.read_own(BOOT) not in (b"", BOOT_ID.read_bytes())
    return False


def note_boot(disk: Disk) -> None:
    """What this start of the machine has damaged has been looked for."""
    with suppress(OSError, EvstoreError):
        boot = BOOT_ID.read_bytes()
        if disk.read_own(BOOT) != boot:
            disk.write_own(BOOT, boot)
