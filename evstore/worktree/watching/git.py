"""Whether git is at work in a folder: while it is, its index is locked."""

from __future__ import annotations

import os
import time
from pathlib import Path

STALE = 10.0  # seconds: a lock that is older was left behind, or git needs too long to be waited for


def repository_around(folder: Path) -> str | None:
    """The nearest directory above `folder` that holds a `.git`."""
    return next(
        (os.fspath(above) for above in folder.absolute().parents if os.path.lexists(above / ".git")), None
    )


def at_work(repository: str) -> bool:
    """Whether git has begun to change the working tree of this repository, and is not done."""
    try:
        locked = os.lstat(os.path.join(_git_folder(repository), "index.lock")).st_mtime
    except (OSError, ValueError):  # whatever a `.git` may be, and say
        return False
    return abs(time.time() - locked) < STALE


def _git_folder(repository: str) -> str:
    """Where `.git` is: a linked working tree and a submodule have a file there, which names it (gitrepository-layout(5))."""
    path = os.path.join(repository, ".git")
    if not os.path.isfile(path):
        return path
    with open(path, "rb") as file:
        said = os.fsdecode(file.read(4096).strip())
    return os.path.join(repository, said.removeprefix("gitdir:").strip())
