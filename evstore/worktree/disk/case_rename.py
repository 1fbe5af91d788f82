"""Renaming to a name that the disk takes for the same, as of `a.txt` to `A.txt` where case does not matter.

Many systems do nothing when asked to rename a file to itself, so it is moved out of the way first. If the process is
killed then, the next start finds a note in `.evstore/tmp` of how it should be called.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack, suppress

from evstore.core.errors import NotFound
from evstore.core.paths import ContentPath
from evstore.worktree.disk.file_writer import NEW, OLD, TMP
from evstore.worktree.disk.renameat2 import rename_new
from evstore.worktree.disk.rooted_dir import RootedDir, names_of
from evstore.worktree.disk.stat_checks import look_in
from evstore.worktree.trash import trash_dir

BETWEEN = ".evstore-renamed-"  # how the name begins that it has in between, and the note's
LONGEST = 8192  # bytes of a note
END = "\0"  # of the path, after which the name stands


def respell(inside: RootedDir, name: str, new: ContentPath, source: int, target: int) -> None:
    """Give what is `name` in the directory `source` (a descriptor) the path `new`, whose directory is `target`. Raises OSError."""
    between = f"{BETWEEN}{secrets.token_hex(8)}"
    with ExitStack() as stack:
        with suppress(OSError):  # there is nowhere to leave it
            tmp = stack.enter_context(inside.own(TMP))
            _note(tmp, between, f"{new.parent.child(between)}{END}{new.name}")
            stack.callback(os.unlink, between, dir_fd=tmp)
        rename_new(name, between, source, target)
        try:
            rename_new(between, new.name, target, target)
        except OSError:
            rename_new(between, name, target, source)
            raise


def finish(inside: RootedDir, tmp: int, note: str) -> str | None:
    """Do what was not done any more. Returns the name under which it is in the trash now, if its own was taken. Raises OSError."""
    with open(os.open(note, OLD, dir_fd=tmp), "rb") as file:
        path, _, new = file.read(LONGEST).decode(errors="replace").partition(END)
    left = None
    between = ContentPath(path)
    if new and "/" not in new and between.name == note:
        with suppress(NotFound), inside.entered(names_of(between.parent), between) as directory:
            left = _put_in_place(inside, between, directory, new)
    os.unlink(note, dir_fd=tmp)
    return left


def _put_in_place(inside: RootedDir, between: ContentPath, directory: int, new: str) -> str | None:
    if look_in(directory, between.name) is None:
        return None
    try:
        rename_new(between.name, new, directory, directory)
    except FileExistsError:
        name = trash_dir.timed(new)
        trash_dir.put(inside, between, name, directory)
        return name
    return None


def _note(tmp: int, name: str, text: str) -> None:
    with open(os.open(name, NEW, 0o600, dir_fd=tmp), "wb") as file:
        file.write(text.encode())
