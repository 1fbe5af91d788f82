"""Looking at a path on the disk, for somebody who is about to read or to change what is there: the watcher may not have told yet.

That is done for each request, so what was seen is remembered: then it is one call of the system.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Sequence

from evstore.core.errors import Forbidden
from evstore.core.paths import ContentPath
from evstore.log.engine.base import Tx
from evstore.projections import tree
from evstore.store.store import Depth
from evstore.worktree.checkout import Outcome
from evstore.worktree.checkout_queue import CheckoutQueue
from evstore.worktree.dirty_queue import DirtyQueue
from evstore.worktree.disk.disk import Disk, FileType
from evstore.worktree.disk.errors import NotVersioned
from evstore.worktree.disk.file_stat import StatStamp
from evstore.worktree.disk.stat_checks import EFFECTIVE
from evstore.worktree.folder_thread import FolderThread
from evstore.worktree.importer import Importer
from evstore.worktree.index import Index, IndexEntry
from evstore.worktree.unversioned.files import Unversioned

SEEN = 20_000  # paths of which it is remembered what was last seen there
ROOT_PATH = ContentPath("")


class Freshness:
    """Takes in what is found, and puts on the agenda what has to be looked at once more."""

    def __init__(
        self,
        turns: FolderThread,
        disk: Disk,
        state: Index,
        following: CheckoutQueue,
        taking: Importer,
        unversioned: Unversioned,
        agenda: DirtyQueue,
    ) -> None:
        self._folder_thread = turns
        self._disk = disk
        self._index = state
        self._checkout_queue = following
        self._importer = taking
        self._unversioned = unversioned
        self._dirty_queue = agenda
        self._seen: OrderedDict[str, StatStamp | None] = OrderedDict()

    async def before(self, paths: Sequence[ContentPath], depth: Depth) -> None:
        """Before something is changed at these paths: the log must have what is there, and it may be changed.

        Raises NoVersions, Forbidden, FolderGone.
        """
        self._disk.look(ROOT_PATH)
        for path in paths:
            # what is to go must be in the log, with all below, whether the watcher has told it or not
            is_all = depth is Depth.ALL and self._is_directory(path)
            await self.look(path, Depth.ITSELF if is_all else depth)
            if is_all:
                self._dirty_queue.add_later(
                    await self._importer.take([path], deep=True, accept_unstable=True)
                )
        for path in paths:
            if (reason := self._unversioned.why(path)) is not None:
                raise NotVersioned(f"{path} has no versions: {reason}.")
            if path and not self._may_write(path):
                raise Forbidden(f"{path}: the folder on the disk may not be written to.")

    async def look(self, path: ContentPath, depth: Depth) -> None:
        """Take in what has happened at `path`. Raises Closed, Stopping, and what taking in does."""
        stat = self._disk.quick_stamp(path)
        if stat is not None and self._seen.get(path) == stat:
            return
        began = time.time_ns()
        if not await self._folder_thread.whole(self._is_known(path, depth)):
            again = await self._importer.take({path, path.parent}, accept_unstable=True)
            self._dirty_queue.add_later(again)
            if path and path.parent in again:
                return  # it may not have been taken in
        if depth is Depth.ITSELF:
            return  # what is in it, if it is a directory, may be something new
        if stat is not None and stat.as_read(began) != stat:
            return  # the next change could look the same
        self._now_seen(path, stat)

    def was_written(self, outcome: Outcome) -> None:
        """What was carried out on the disk has changed what is seen there."""
        if outcome.moved or outcome.failed:
            self._seen.clear()
        for path in outcome.written:
            self._seen.pop(path, None)
            self._seen.pop(path.parent, None)
        for path, stamp in outcome.files.items():
            self._now_seen(path, stamp)

    def _is_directory(self, path: ContentPath) -> bool:
        found = self._disk.look(path)
        return found is not None and found.what is FileType.DIRECTORY

    def _may_write(self, path: ContentPath) -> bool:
        places = (f"{self._disk.root}/{path.parent}", f"{self._disk.root}/{path}")
        places = [place for place in places if os.path.isdir(place)]
        return all(os.access(place, os.W_OK | os.X_OK, effective_ids=EFFECTIVE) for place in places)

    def _now_seen(self, path: ContentPath, stamp: StatStamp | None) -> None:
        """The log has all that is at `path` as long as it looks like this."""
        self._seen[path] = stamp
        self._seen.move_to_end(path)
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)

    async def _is_known(self, path: ContentPath, depth: Depth) -> bool:
        """Whether a file is as it is known to be, or nothing is where nothing should be.

        A directory is known by its inode, as far as what it holds does not matter.
        """

        def compare(tx: Tx) -> bool:
            entry, found = tree.entry_at(tx, path), self._disk.look(path)
            if entry is None and found is None:
                return not path or not self._is_new(tx, path.parent)
            if entry is None or found is None:
                return False
            known = self._index.known(tx, entry.id)
            if depth is Depth.ITSELF and entry.is_directory and found.what is FileType.DIRECTORY:
                return known is not None and known.stamp.inode == found.stamp.inode
            return found.what is FileType.FILE and known == IndexEntry(found.stamp, entry.digest)

        async with self._folder_thread.lock:
            await self._checkout_queue.drain()
            return await self._folder_thread.run(compare)

    def _is_new(self, tx: Tx, directory: ContentPath) -> bool:
        """Whether the disk has this directory, or one that it would be in, and the log has not."""
        while tree.entry_at(tx, directory) is None:
            found = self._disk.look(directory)
            if found is not None:
                return found.what is FileType.DIRECTORY
            directory = directory.parent
        return False
