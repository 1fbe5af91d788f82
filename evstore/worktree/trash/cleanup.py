"""Emptying the trash: what the log has goes a minute after it was deleted, what is in no version 30 days later.

A directory is deleted by one rename into the trash, so it is there with all it held, and may come back by another. Whatever the log had in it, and
is known by its stamp, is removed a few files at a time, for others wait for their turn; nothing is read for that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from evstore.core.errors import EvstoreError
from evstore.core.events import EntryDeleted, EntryId, Kind
from evstore.log import log
from evstore.log.engine.base import Tx
from evstore.projections import tree
from evstore.worktree.disk.disk import Disk
from evstore.worktree.disk.file_stat import StatStamp
from evstore.worktree.folder_thread import FolderThread
from evstore.worktree.index import Index
from evstore.worktree.trash.entries import Discarded
from evstore.worktree.trash.removal import deletion_of
from evstore.worktree.trash.trash_dir import put_at

T = TypeVar("T")
logger = logging.getLogger(__name__)

DAY = 86_400.0  # seconds
GRACE = 60.0  # seconds in which people find out that they did not mean it
STAYS = 30 * 86_400_000_000_000  # ns that something without versions stays in the trash
BRIEFLY = 0.005  # seconds that a turn takes, and after which the next one comes: some disks need as long for one file
FEW = 10  # files between two looks at the clock


class TrashCleanup:
    """Keeps the trash empty. `state` belongs to the thread of `turns`."""

    def __init__(self, turns: FolderThread, disk: Disk, state: Index) -> None:
        self._folder_thread = turns
        self._disk = disk
        self._index = state
        self._due = asyncio.Event()
        self._done: set[str] = set()  # what was looked through: nothing of it will be known later

    def wake(self) -> None:
        """Something was put there."""
        self._due.set()

    async def keep_on(self) -> None:
        """Look through it now, after each `wake` and every day, until cancelled."""
        while True:
            self._due.clear()
            pause = DAY
            try:
                if names := await asyncio.to_thread(self._disk.trashed.names):
                    pause = await self._look_through(names)
                    await asyncio.to_thread(self._disk.trashed.empty, time.time_ns() - STAYS)
            except EvstoreError as error:
                logger.warning("The trash could not be emptied: %s", error.message)
            except Exception:
                logger.exception("The trash could not be emptied")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()

    async def _look_through(self, names: Sequence[str]) -> float:
        """Remove what the log has of what was put there by these names. Returns in how many seconds there may be more of it."""
        self._done &= set(names)
        pause = DAY
        for name in names:
            if name in self._done or deletion_of(name) is None:
                continue
            age = (time.time_ns() - (put_at(name) or 0)) / 1e9
            if age < GRACE:
                pause = min(pause, GRACE - max(age, 0.0))
                continue
            self._done.add(name)
            try:
                await self._remove_known(name)
            except EvstoreError as error:  # somebody else has emptied the trash, or closed a directory in it
                logger.info("Of what was deleted, something stays in .evstore/trash: %s", error.message)
        return pause

    async def _remove_known(self, top: str) -> None:
        """Remove what the log has of something in the trash, and the directories that are empty then."""
        directories: list[list[str]] = []
        walk = self._disk.trashed.walk(top)  # not closed, for a thread may be in it when this is cancelled
        while (found := await asyncio.to_thread(next, walk, None)) is not None:
            way, files = found
            directories.append(way)
            await self._in_turns(files, partial(self._remove, way))
        directories.reverse()
        await self._in_turns(directories, self._remove_empty)

    async def _in_turns(self, items: Sequence[T], work: Callable[[Tx, Sequence[T]], None]) -> None:
        """Do `work` with a few of `items` at a time, for as long as others can wait, and then with the next."""

        def some(tx: Tx) -> int:
            done, until = 0, time.monotonic() + BRIEFLY
            while done < len(items) and time.monotonic() < until:
                work(tx, items[done : done + FEW])
                done += FEW
            return done

        async def turn() -> int:
            async with self._folder_thread.lock:  # or it could come back by an undelete just now
                return await self._folder_thread.run(some)

        while items:
            items = items[await self._folder_thread.whole(turn()) :]
            await asyncio.sleep(BRIEFLY)

    def _remove(self, way: Sequence[str], tx: Tx, files: Sequence[Discarded]) -> None:
        directory = _directory(tx, way)
        if directory is None:
            return
        known: dict[str, tuple[StatStamp, EntryId]] = {}
        for one in files:
            entry = tree.member(tx, directory, one.name, _before(way))
            there = None if entry is None else self._index.known(tx, entry)
            if entry is not None and there is not None and there.stamp == one.stamp:
                known[one.name] = (one.stamp, entry)
        removed = self._disk.trashed.remove(way, {name: stamp for name, (stamp, _) in known.items()})
        for name in removed:
            self._index.note(known[name][1], None)

    def _remove_empty(self, tx: Tx, ways: Sequence[Sequence[str]]) -> None:
        entries = {tuple(way): entry for way in ways if (entry := _directory(tx, way)) is not None}
        for way in self._disk.trashed.remove_empty(entries):
            if tree.path_of(tx, entries[way]) is None:
                self._index.note(entries[way], None)  # the next one may get its inode


def _directory(tx: Tx, way: Sequence[str]) -> EntryId | None:
    """The directory that a way in the trash leads to, as the log had it there; None when it had none.

    What has no versions may have been empty, as in git's repositories, or hold what had versions elsewhere once.
    """
    deletion = log.one(tx, deletion_of(way[0]) or 0)
    if deletion is None or not isinstance(deletion.event, EntryDeleted):
        return None
    directory: EntryId | None = deletion.entry
    for name in way[1:]:
        if directory is None:
            return None
        directory = tree.member(tx, directory, name, _before(way))
    return directory if directory is None or tree.kind_of(tx, directory) is Kind.DIRECTORY else None


def _before(way: Sequence[str]) -> int:
    """The last moment at which that was in the tree which a way in the trash leads to."""
    return (deletion_of(way[0]) or 0) - 1
