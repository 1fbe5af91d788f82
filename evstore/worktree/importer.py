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
from evstore.worktree.body_reader import Read, read
from evstore.worktree.checkout_queue import Following
from evstore.worktree.disk.disk import Disk, Found, Unreadable, What
from evstore.worktree.folder_thread import Turns
from evstore.worktree.import_batches import Lot, lots
from evstore.worktree.import_command import Taken
from evstore.worktree.index import State
from evstore.worktree.scanner import Comparer, Differences, Gone, Trust
from evstore.worktree.space_reserve import Room

logger = logging.getLogger(__name__)

ACTOR = DISK


class TakingIn:
    """Takes in what has changed on the disk. `rules_changed` is called when other files have versions than before."""

    def __init__(
        self,
        store: Store,
        turns: Turns,
        disk: Disk,
        state: State,
        comparer: Comparer,
        following: Following,
        room: Room,
        rules_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._turns = turns
        self._disk = disk
        self._state = state
        self._comparer = comparer
        self._following = following
        self._room = room
        self._rules_changed = rules_changed

    async def take(
        self,
        directories: Iterable[ContentPath],
        *,
        deep: bool = False,
        hurry: bool = False,
        trust: Trust = Trust.STAMPS,
    ) -> set[ContentPath]:
        """Compare these directories with the tree, and take in what is different. Returns those to look at again.

        With `hurry` also what is being written, as it is just now. Raises Stopping.
        """
        directories = list(directories)
        found = await self._turns.whole(self._compare(directories, deep=deep, hurry=hurry, trust=trust))
        again = set(found.busy)
        if found.any:
            author = Author.new(ACTOR)
            appeared = [one for one in found.appeared if one.found.what is What.FILE]
            files = [one.found for one in appeared if one.was is not None]  # the log has these bytes
            files += self._room.fitting(
                [one.found for one in found.changed], [one.found for one in appeared if one.was is None]
            )
            bodies = await read(self._store, self._disk, files, author, hurry=hurry)
            again.update(path.parent for path in bodies.busy)
            _tell(bodies.failed)
            for lot in lots(found, bodies.done):
                # all of them by the same author: to the history it is one group
                again |= await self._turns.whole(self._take_in(lot, author, hurry=hurry))
                self._room.forget(lot.read)
        return again

    async def _compare(
        self, directories: Sequence[ContentPath], *, deep: bool, hurry: bool, trust: Trust
    ) -> Differences:
        async with self._turns.lock:
            await self._following.drain()
            found = await self._turns.run(
                lambda tx: self._comparer.compare(tx, directories, deep=deep, hurry=hurry, trust=trust)
            )
            await self._following.write_out(found.unwritten)
        _tell(found.unreadable)
        if found.rules_changed:
            self._rules_changed()
        return found

    async def _take_in(self, lot: Lot, author: Author, *, hurry: bool) -> set[ContentPath]:
        found, bodies = lot
        async with self._turns.lock:
            await self._following.drain()
            still, again = await self._turns.run(lambda tx: self._still(found, bodies, hurry=hurry))
            self._following.own(author.command)
            try:
                weight = sum(one.body.weight for one in still.values())
                taken = await self._store.write(
                    lambda work: import_command.take(work, found, still, with_modes=self._disk.keeps_modes),
                    author,
                    weight=weight,
                )
            finally:
                await self._following.drain()
                self._following.own_is_done(author.command)
            await self._turns.run(lambda tx: self._remember(taken))
        return taken.again | again

    def _still(
        self, found: Differences, bodies: dict[ContentPath, Read], *, hurry: bool
    ) -> tuple[dict[ContentPath, Read], set[ContentPath]]:
        """Which files are as they were read; and the directories where something is not as it was compared.

        With `hurry` a file counts that has changed since. What has come back is no longer gone in `found`, and a
        directory that has gone again has not appeared.
        """
        again: set[ContentPath] = set()
        with self._disk.remembering():
            still = {
                path: one for path, one in bodies.items() if self._is_as(one.found, again, only_inode=hurry)
            }
            found.appeared = [
                one
                for one in found.appeared
                if one.found.what is What.FILE or self._is_as(one.found, again, only_inode=True)
            ]
            found.gone = [one for one in found.gone if self._is_gone(one, again)]
        return still, again

    def _is_as(self, found: Found, again: set[ContentPath], *, only_inode: bool = False) -> bool:
        try:
            there = self._disk.look(found.path)
        except Unreadable:
            there = None
        if there is None or there.what is not found.what or there.stamp.inode != found.stamp.inode:
            again.add(found.path.parent)
            return False
        if there.stamp == found.stamp:
            return True
        if found.what is What.FILE:
            again.add(found.path.parent)
        return only_inode

    def _is_gone(self, one: Gone, again: set[ContentPath]) -> bool:
        try:
            there = self._disk.look(one.path)
        except Unreadable:
            again.add(one.path.parent)
            return False
        if there is None or (there.what is What.DIRECTORY) != (one.kind is Kind.DIRECTORY):
            return True
        if self._comparer.is_left_out(there):
            return True
        again.add(one.path.parent)
        return False

    def _remember(self, taken: Taken) -> None:
        for entry, known in taken.known.items():
            self._state.note(entry, known)


def _tell(failed: Mapping[str, str]) -> None:
    """It is no reason to look again: whoever makes it readable is heard by the watcher."""
    for path, reason in failed.items():
        logger.info("%s is not taken in: %s", path, reason)
