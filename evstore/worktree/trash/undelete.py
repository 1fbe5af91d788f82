"""Bringing back what was deleted, from the trash: as a whole, and so with what has no versions."""

from __future__ import annotations

from evstore.core.entry import Entry
from evstore.core.events import Offset
from evstore.log import log
from evstore.log.engine.base import Tx
from evstore.projections import tree
from evstore.worktree.disk.disk import Disk
from evstore.worktree.trash.removal import is_put_by


def bring_back(tx: Tx, disk: Disk, directory: Entry, offset: Offset) -> bool:
    """Move a directory that the event at `offset` has undeleted from the trash to its place, if it is there as a whole.

    What of it was removed from the trash already is to be written again. When something has come back before it that would
    then be there twice, all of it stays in the trash. Raises as `Disk.recover`.
    """
    lost = tree.deletion(tx, directory.id, offset - 1)
    if lost is None or disk.look(directory.path) is not None:
        return False
    name = _name_of(tx, disk, lost.offset)
    if name is None or not disk.trashed.has(name, lost.below):
        return False
    held = {entry.id for entry in tree.below(tx, directory.id, offset)}
    for entry in tree.below(tx, directory.id, lost.offset - 1):
        if entry.id not in held and disk.trashed.has(name, (*lost.below, *entry.path.names)):
            return False
    disk.recover(name, directory.path, below=lost.below)
    return True


def _name_of(tx: Tx, disk: Disk, deletion: Offset) -> str | None:
    """The name in the trash of what the event at that offset has deleted."""
    event = log.require(tx, deletion)
    names = disk.trashed.names(lambda name: is_put_by(name, event))
    return names[0] if names else None
