"""Files that the machine lost when it went down: written, but their bytes were not yet on the disk itself.

They are empty then, or full of zero bytes, and have the date that they were given. The log has what they should hold,
as it is synced with each commit; so they are written again, and not taken for what somebody has made of them.
"""

from __future__ import annotations

from evstore.core.errors import EvstoreError
from evstore.core.events import EntryId
from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.log.engine.base import Tx
from evstore.projections import tree
from evstore.worktree.disk.disk import Disk, FileStat, FileType

BLOCK = MIB  # bytes read at a time


class PowerLoss:
    """Tells what a power loss has damaged. For the first comparison after it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def is_damage(self, tx: Tx, entry: EntryId, found: FileStat) -> bool:
        """Whether a file has nothing of what the log has of it, although its date says that it has."""
        there = tree.by_id(tx, entry)
        if there is None or not there.size or found.what is not FileType.FILE:
            return False
        return there.modified == found.modified and self._is_blank(found.path)

    def _is_blank(self, path: ContentPath) -> bool:
        try:
            file, _ = self._disk.open(path)
            with file:
                while block := file.read(BLOCK):
                    if block.strip(b"\0"):
                        return False
        except EvstoreError:
            return False
        return True
