"""Why the log knows nothing of a path at which there is something on the disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from evstore.cli.access import reading
from evstore.cli.options import defaults_of
from evstore.config import Config
from evstore.core.errors import EvstoreError
from evstore.core.paths import ContentPath
from evstore.projections import tree
from evstore.worktree.disk.disk import Disk, FileType
from evstore.worktree.ignoring.ignore import Ignore
from evstore.worktree.ignoring.own import own_files

KINDS = {FileType.LINK: "it is a symbolic link", FileType.OTHER: "it is no regular file"}


def explain(folder: Path, db: Path, path: ContentPath) -> str | None:
    """A sentence about what is at `path` in the folder; None when nothing is there, or the log `db` has it.

    Whether a file is too large is judged by the default of --max-versioned-size.
    """
    try:
        disk = Disk(folder)
        for place in path.lineage[:-1]:
            if os.path.islink(folder / place):
                return f"{path} is reached by the symbolic link {place}: name it by its own path."
        found = disk.look(path)
        if not path or found is None:
            return None
        max_size = defaults_of(Config)["max_versioned_size"]
        ignore = Ignore(disk, max_size=max_size, own=own_files(disk.root, db))
        is_directory, size = found.what is FileType.DIRECTORY, found.stamp.size
        reason = KINDS.get(found.what) or ignore.why(path, is_directory=is_directory, size=size)
        if asyncio.run(_is_in_log(db, path)):
            return None
    except EvstoreError:  # then what was said first has to do
        return None
    if reason is not None:
        return f"{path} has no versions: {reason}."
    return f"{path} is on the disk, and not in the log yet: `evstore serve` takes it in."


async def _is_in_log(db: Path, path: ContentPath) -> bool:
    async with reading(db) as store:
        return await store.read(lambda tx: tree.entry_at(tx, path)) is not None
