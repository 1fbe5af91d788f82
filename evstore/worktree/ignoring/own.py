"""The files of evstore itself that may lie in the served folder: the log, and what belongs to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from evstore.core.paths import ContentPath

# `%s`: the log's name. A number at the end is that of a process that is just writing the file.
NAMES = r"%s(-wal|-shm|-journal|(\.(lock|server\.json|open\.html|scratch))?(\.\d+)?)|(cookie_secret|password_hash)(\.[0-9a-f]+)?"


def own_files(root: Path, db: Path) -> Callable[[ContentPath], bool]:
    """Whether a path below `root` is one of the files of the log `db`: they are never taken in, listed or served."""
    folder = db.parent.resolve()
    if not folder.is_relative_to(root.resolve()):
        return lambda path: False
    directory = ContentPath.parse("/".join(folder.relative_to(root.resolve()).parts))
    names = re.compile(NAMES % re.escape(db.name))
    return lambda path: path.parent == directory and names.fullmatch(path.name) is not None
