"""From the disk to the log: compare, read what is different, and take it in.

Comparing and taking in happen in a turn each, reading between them: so what was compared is looked at once more
before it is taken in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from evstore.core.events import DISK, Author, Kind
from evstore.core.paths import ContentPath
from evstore.store.store import Store
from evstore.worktree import import_command
from evstore.worktree.body_reader import FileRead, read
from evstore.worktree.checkout_queue import CheckoutQueue
from evstore.worktree.disk.disk import Disk, FileStat, FileType, Unreadable
from evstore.worktree.folder_thread import FolderThread
from evstore.worktree.import_batches import ImportBatch, import_batches
from evstore.worktree.import_command import Imported
from evstore.worktree.index import Index
from evstore.worktree.scanner import Differences, GoneEntry, Scanner, Trust
from evstore.worktree.space_reserve import SpaceReserve

logger = logging.getLogger(__name__)

ACTOR = DISK


class Importer:
    """Takes in what has changed on the disk. `rules_changed` is called when other files have versions than before."""

    def __init__(
        self,
        store: Store,
        turns: FolderThread,
        disk: Disk,
        state: Index,
        comparer: Scanner,
        following: CheckoutQueue,
        room: SpaceReserve,
        rules_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._folder_thread = turns
        self._disk = disk
        self._index = state
        self._scanner = comparer
        self._checkout_queue = following
        self._room = room
        self._rules_changed = rules_changed

    async def take(
        self,
        directories: Iterable[ContentPath],
        *,
        deep: bool = False,
        accept_unstable: bool = False,
        trust: Trust = Trust.STAMPS,
    ) -> set[ContentPath]:
        """Compare these directories with the tree, and take in what is different. Returns those to look at again.

        With `accept_unstable` also what is being written, as it is just now. Raises Stopping.
        """
        directories = list(directories)
        found = await self._folder_thread.whole(
            self._compare(directories, deep=deep, accept_unstable=accept_unstable, trust=trust)
        )
        again = set(found.busy)
        if found.any:
            author = Author.new(ACTOR)
            appeared = [one for one in found.appeared if one.found.what is FileType.FILE]
            files = [one.found for one in appeared if one.was is not None]  # the log has these bytes
            files += self._room.fitting(
                [one.found for one in found.changed], [one.found for one in appeared if one.was is None]
            )
            bodies = await read(self._store, self._disk, files, author, accept_unstable=accept_unstable)
            again.update(path.parent for path in bodies.busy)
            _tell(bodies.failed)
            for lot in import_batches(found, bodies.done):
                # all of them by the same author: to the history it is one group
                again |= await self._folder_thread.whole(
                    self._take_in(lot, author, accept_unstable=accept_unstable)
                )
                self._room.forget(lot.read)
        return again

    async def _compare(
        self, directories: Sequence[ContentPath], *, deep: bool, accept_unstable: bool, trust: Trust
    ) -> Differences:
        async with self._folder_thread.lock:
            await self._checkout_queue.drain()
            found = await self._folder_thread.run(
                lambda tx: self._scanner.compare(
                    tx, directories, deep=deep, accept_unstable=accept_unstable, trust=trust
                )
            )
            await self._checkout_queue.write_out(found.unwritten)
        _tell(found.unreadable)
        if found.rules_changed:
            self._rules_changed()
        return found

    async def _take_in(self, lot: ImportBatch, author: Author, *, accept_unstable: bool) -> set[ContentPath]:
        found, bodies = lot
        async with self._folder_thread.lock:
            await self._checkout_queue.drain()
            still, again = await self._folder_thread.run(
                lambda tx: self._still(found, bodies, accept_unstable=accept_unstable)
            )
            self._checkout_queue.own(author.command)
            try:
                weight = sum(one.body.weight for one in still.values())
                taken = await self._store.write(
                    lambda work: import_command.take(work, found, still, with_modes=self._disk.keeps_modes),
                    author,
                    weight=weight,
                )
            finally:
                await self._checkout_queue.drain()
                self._checkout_queue.own_is_done(author.command)
            await self._folder_thread.run(lambda tx: self._remember(taken))
        return taken.again | again

    def _still(
        self, found: Differences, bodies: dict[ContentPath, FileRead], *, accept_unstable: bool
    ) -> tuple[dict[ContentPath, FileRead], set[ContentPath]]:
        """Which files are as they were read; and the directories where something is not as it was compared.

        With `accept_unstable` a file counts that has changed since. What has come back is no longer gone in `found`, and a
        directory that has gone again has not appeared.
        """
        again: set[ContentPath] = set()
        with self._disk.read_only_walk():
            still = {
                path: one
                for path, one in bodies.items()
                if self._is_as(one.found, again, only_inode=accept_unstable)
            }
            found.appeared = [
                one
                for one in found.appeared
                if one.found.what is FileType.FILE or self._is_as(one.found, again, only_inode=True)
            ]
            found.gone = [one for one in found.gone if self._is_gone(one, again)]
        return still, again

    def _is_as(self, found: FileStat, again: set[ContentPath], *, only_inode: bool = False) -> bool:
        try:
            there = self._disk.look(found.path)
        except Unreadable:
            there = None
        if there is None or there.what is not found.what or there.stamp.inode != found.stamp.inode:
            again.add(found.path.parent)
            return False
        if there.stamp == found.stamp:
            return True
        if found.what is FileType.FILE:
            again.add(found.path.parent)
        return only_inode

    def _is_gone(self, one: GoneEntry, again: set[ContentPath]) -> bool:
        try:
            there = self._disk.look(one.path)
        except Unreadable:
            again.add(one.path.parent)
            return False
        if there is None or (there.what is FileType.DIRECTORY) != (one.kind is Kind.DIRECTORY):
            return True
        if self._scanner.is_left_out(there):
            return True
        again.add(one.path.parent)
        return False

    def _remember(self, taken: Imported) -> None:
        for entry, known in taken.known.items():
            self._index.note(entry, known)


def _tell(failed: Mapping[str, str]) -> None:
    """It is no reason to look again: whoever makes it readable is heard by the watcher."""
    for path, reason in failed.items():
        logger.info("%s is not taken in: %s", path, reason)
