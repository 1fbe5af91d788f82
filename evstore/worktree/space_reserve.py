"""What there is too little room for: programs must not fill the log's disk by what they write, for then nobody could save."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.log.engine.sqlite.wal import WAL_SOFT
from evstore.worktree.disk.file_stat import FileStat

logger = logging.getLogger(__name__)

KEPT_FREE = 256 * MIB  # for what people save; but no more than a twentieth of the disk
IN_WAL = 5 * WAL_SOFT  # bytes: what is stored stands there first, and so it stands twice for a while


class SpaceReserve:
    """Of one log. For the event loop, but for `lacks`, which threads may ask."""

    def __init__(self, db: Path) -> None:
        self._place = db.parent
        self._new: set[ContentPath] = set()  # files that are left out for want of room,
        self._changed: set[ContentPath] = set()  # and those of which the log has an older version

    def bytes(self) -> int:
        """How many the disk has room for, as versions that can't be compressed."""
        total, _, free = shutil.disk_usage(self._place)
        left = free - min(total // 20, KEPT_FREE)
        return max(0, left // 2, left - IN_WAL)

    def fitting(self, changed: Iterable[FileStat], new: Iterable[FileStat]) -> list[FileStat]:
        """Those files that can be taken in. The others are noted."""
        fitting: list[FileStat] = []
        room, was_enough = self.bytes(), not self.waiting
        for files, left_out in ((changed, self._changed), (new, self._new)):
            for file in files:
                if file.stamp.size <= room:
                    room -= file.stamp.size
                    fitting.append(file)
                else:
                    left_out.add(file.path)
        if was_enough and self.waiting:
            logger.warning(
                "There is too little room in %s: versions are not kept of %s, and perhaps of others, until there is more.",
                self._place,
                min(self.waiting),
            )
        return fitting

    def lacks(self, path: ContentPath) -> bool:
        """Whether what is at `path`, and is not in the log, is left out for want of room."""
        return path in self._new

    @property
    def waiting(self) -> set[ContentPath]:
        """What was left out, until it is forgotten."""
        return self._new | self._changed

    def forget(self, paths: Collection[ContentPath]) -> None:
        """The log has them by now, or they are there no more."""
        self._new.difference_update(paths)
        self._changed.difference_update(paths)
