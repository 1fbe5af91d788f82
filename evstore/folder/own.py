"""The files of evstore itself that may lie in the served folder: the log, and what belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evstore.paths import ContentPath

BESIDE = ("cookie_secret", "password_hash", "scratch")  # and what begins with the name of the log


def own_files(root: Path, db: Path) -> Callable[[ContentPath], bool]:
    """Whether a path below `root` is one of the files of the log `db`: they are never taken in, listed or served."""
    folder = db.parent.resolve()
    if not folder.is_relative_to(root.resolve()):
        return lambda path: False
    directory = ContentPath.parse(folder.relative_to(root.resolve()).as_posix().removeprefix("."))
    names = (db.name, *BESIDE)
    return lambda path: path.parent == directory and path.name.startswith(names)
