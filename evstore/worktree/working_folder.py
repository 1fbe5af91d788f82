"""The working folder as the rest of evstore sees it: the two ways between log and disk, taking turns.

Everything that touches the disk runs on one thread, with a read connection to the log of its own (`turns.py`).
In a turn nobody else changes what is known of the disk: what was committed is carried out in the order of the
log (`following.py`), and a comparison sees the disk as the log left it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from evstore.core.errors import EvstoreError
from evstore.core.events import Author, Digest, Recorded
from evstore.core.paths import ContentPath
from evstore.log import flags
from evstore.runtime.background import begin, every
from evstore.store.store import Depth, Store
from evstore.worktree import folder_id, index
from evstore.worktree.checkout import Checkout, Outcome
from evstore.worktree.checkout_queue import CheckoutQueue
from evstore.worktree.dirty_queue import DirtyQueue, overdue
from evstore.worktree.disk.disk import Disk, FolderGone
from evstore.worktree.disk.errors import AccessDenied
from evstore.worktree.disk.file_stat import NS, TICK
from evstore.worktree.folder_thread import FolderThread
from evstore.worktree.freshness import Freshness
from evstore.worktree.ignoring.ignore import Ignore
from evstore.worktree.ignoring.own import own_files
from evstore.worktree.importer import ACTOR, Importer
from evstore.worktree.index import Index, SyncPoint
from evstore.worktree.power_loss import PowerLoss
from evstore.worktree.recovery import Recovery
from evstore.worktree.scanner import Scanner, Trust
from evstore.worktree.space_reserve import SpaceReserve
from evstore.worktree.trash.cleanup import TrashCleanup
from evstore.worktree.trash.removal import is_known
from evstore.worktree.unversioned.files import Unversioned
from evstore.worktree.watching.watcher import Watcher

logger = logging.getLogger(__name__)

NOTE_EVERY = 1.0  # seconds after which the table hears of what is known
RETRY = 30.0  # seconds after which it is tried again to write, or to take in, what there was no room for
PAUSE = 2.0  # seconds until it is tried again to take in what could not be taken in
ROOT_PATH = ContentPath("")


class WorkingFolder:
    """A folder on the disk that is kept equal to the tree, both ways. Made by `open`; a store's mirror."""

    def __init__(
        self, store: Store, root: Path, db: Path, *, max_size: int, verify: bool = False, poll: bool = False
    ) -> None:
        """`max_size`: bytes above which a file has no versions. `verify`: read every file when it is opened, whatever its stamp says. `poll`: see `Watcher`."""
        self._store = store
        self._root = root
        self._db = db
        self._max_size = max_size
        self._verify = verify
        self._poll = poll
        self._dirty_queue = DirtyQueue()
        self._trouble = ""  # why the folder can't be taken in just now
        self._noted: int | None = None  # the offset that the table knows; None: it knows another folder
        self._looks = True  # at what happens on the disk
        self._tasks: list[asyncio.Task[None]] = []
        self._is_open = False
        self._watcher: Watcher | None = None

    # -- opening and closing -----------------------------------------------------------

    async def open(self) -> None:
        """Bring log and folder in line; from then on they are kept so, until `close`, also when this fails.

        Raises FolderFailed when the folder can't be used.
        """
        await self._prepare()
        just_imported = await self._folder_thread.whole(self._catch_up())
        self._watcher = Watcher(
            self._disk.root, self._is_watched, polling=self._poll, going_through=self._disk.read_only_walk
        )
        await self._watcher.start()  # before the first comparison, so that nothing is missed in between
        self._store.mirror = self
        trust = Trust.DATES if just_imported else Trust.NOTHING if self._verify else Trust.STAMPS
        self._checkout_queue.follow()
        self._dirty_queue.add(await self._importer.take([ROOT_PATH], deep=True, trust=trust))
        self._writer.power_loss = self._scanner.power_loss = None
        await asyncio.to_thread(folder_id.note_boot, self._disk)
        if self._noted is None:  # otherwise it has time: syncing waits for whatever others write to the disk
            await self.note()
        works = (
            self._watch(self._watcher),
            self._keep_looking(),
            every(NOTE_EVERY, self._note_changes),
            every(RETRY, self._try_again),
            self._emptying.keep_on(),
        )
        self._tasks = [begin(work) for work in works]

    async def open_to_write(self) -> None:
        """Have what is committed until `close` done in the folder, too; what happens there is left for `open` to find.

        Does nothing with another folder than the one that the log was last served with. Raises FolderFailed.
        """
        noted = await self._store.read(index.noted)
        await self._prepare()
        if noted is None or noted.mark != self._mark:
            return
        await self._folder_thread.whole(self._catch_up())
        self._looks = False
        self._writer.is_alone = True
        self._store.mirror = self
        self._checkout_queue.follow()

    async def _prepare(self) -> None:
        self._disk = await asyncio.to_thread(Disk, self._root)
        self._mark = await asyncio.to_thread(folder_id.mark_of, self._disk)
        self._folder_thread = FolderThread(self._db)
        self._is_open = True
        own = own_files(self._disk.root, self._db)
        self._ignore = Ignore(self._disk, max_size=self._max_size, own=own)
        self._room = SpaceReserve(self._db)
        self.unversioned = Unversioned(self._disk, self._ignore, own, self._room.lacks)
        self._index = Index()
        self._scanner = Scanner(self._disk, self._index, self._ignore)
        self._writer = Checkout(self._disk, self._index, self._scanner.is_left_out)
        self._checkout_queue = CheckoutQueue(
            self._folder_thread, self._writer, self._store.offset, self._was_written
        )
        self._emptying = TrashCleanup(self._folder_thread, self._disk, self._index)
        self._importer = Importer(
            self._store,
            self._folder_thread,
            self._disk,
            self._index,
            self._scanner,
            self._checkout_queue,
            self._room,
            self._rules_changed,
        )
        self._freshness = Freshness(
            self._folder_thread,
            self._disk,
            self._index,
            self._checkout_queue,
            self._importer,
            self.unversioned,
            self._dirty_queue,
        )

    async def _catch_up(self) -> bool:
        """Do what the disk lacks of the log. Whether the log has nothing but the files just imported from here."""
        for name in await self._folder_thread.run(lambda tx: self._disk.sweep(partial(is_known, tx))):
            logger.warning("What was written while evstore was killed is in .evstore/trash: %s", name)
        if await asyncio.to_thread(folder_id.has_rebooted, self._disk):
            self._writer.power_loss = self._scanner.power_loss = PowerLoss(self._disk)
        noted = await self._store.read(index.noted)
        if noted is not None and noted.mark == self._mark:
            self._noted = noted.offset
            catching_up = Recovery(self._disk, self._index, self._writer)
            outcome = await self._folder_thread.run(lambda tx: catching_up.catch_up(tx, noted.offset))
            self._checkout_queue.caught_up(outcome)
            return False
        await self._store.write(lambda work: index.clear(work.tx), Author.new(ACTOR))
        return noted is None and await self._store.read(flags.is_only_imported)

    def _is_watched(self, directory: ContentPath) -> bool:
        return self._ignore.why(directory, is_directory=True) is None

    async def close(self) -> None:
        """Write what is waiting, note what is known, and stop. What was begun is ended first."""
        if not self._is_open:
            return
        self._is_open = False
        self._folder_thread.are_over = self._scanner.is_stopped = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._watcher is not None:
            await self._watcher.aclose()
        await self._folder_thread.rest()
        if self._store.mirror is self:
            with suppress(EvstoreError):
                await self._end()
            self._store.mirror = None
        await self._folder_thread.close()

    async def _end(self) -> None:
        async with self._folder_thread.lock:
            await self._checkout_queue.drain()
        await self._note()

    # -- log -> disk -------------------------------------------------------------------

    def heard(self, recorded: Sequence[Recorded], plain: Mapping[Digest, bytes]) -> None:
        """Events that were committed, in the order of the log."""
        self._checkout_queue.heard(recorded, plain)

    async def reach(self, recorded: Sequence[Recorded]) -> None:
        """Wait until these events are on the disk. Raises what went wrong with them."""
        await self._checkout_queue.reach(recorded)

    def _was_written(self, outcome: Outcome) -> None:
        self._freshness.was_written(outcome)
        self._dirty_queue.add(outcome.dirty, deep=outcome.doubtful)
        if outcome.discarded:
            self._emptying.wake()

    async def _try_again(self) -> None:
        if self._checkout_queue.unwritten:
            await self._folder_thread.whole(self._in_turn(self._checkout_queue.try_again))
        if waiting := self._room.waiting:
            self._room.forget(waiting - await asyncio.to_thread(self._still_there, waiting))
            self._dirty_queue.add({path.parent for path in self._room.waiting})

    def _still_there(self, paths: Iterable[ContentPath]) -> set[ContentPath]:
        try:
            return {path for path in paths if self._disk.look(path) is not None}
        except AccessDenied:
            return set(paths)

    # -- disk -> log -------------------------------------------------------------------

    async def before(self, paths: Sequence[ContentPath], depth: Depth = Depth.MEMBERS) -> None:
        """See what is on the disk at these paths, and whether it may be changed. Raises as `Looking.before` does."""
        if self._looks:
            await self._freshness.before(paths, depth)

    async def look(self, path: ContentPath, depth: Depth = Depth.MEMBERS) -> None:
        """Take in what has happened at `path` on the disk, if the watcher has not told yet; if that fails, the log has to do."""
        try:
            if self._looks:
                await self._freshness.look(path, depth)
        except AccessDenied:
            return  # nobody can take in what is there
        except EvstoreError as error:
            self._put_off({path, path.parent}, error)

    async def _watch(self, watcher: Watcher) -> None:
        async for changes in watcher.changes():
            self._dirty_queue.add(changes.paths, deep=changes.everything)

    async def _keep_looking(self) -> None:
        while True:
            await self._dirty_queue.wait()
            since, deep = self._dirty_queue.take()
            late = overdue(since)
            try:
                for paths, accept_unstable in ((late, True), (since.keys() - late, False)):
                    if paths:
                        again = await self._importer.take(paths, deep=deep, accept_unstable=accept_unstable)
                        self._dirty_queue.add_later(
                            again, since={path: since.get(path, 0) for path in again & since.keys() - late}
                        )
            except Exception as error:  # whatever it is: otherwise nothing would be taken in any more
                self._put_off(since, error, deep=deep)
            else:
                self._trouble = ""

    def _put_off(self, directories: Iterable[ContentPath], error: Exception, *, deep: bool = False) -> None:
        """Look at these later: now it is not possible. What is always the same is said once."""
        if not self._is_open:
            return
        trouble, unknown = (error.message, None) if isinstance(error, EvstoreError) else (repr(error), error)
        if trouble != self._trouble:
            logger.warning(
                "What has changed in the folder can't be taken in now: %s", trouble, exc_info=unknown
            )
        self._trouble = trouble
        self._dirty_queue.add_later(directories, deep=deep or isinstance(error, FolderGone), seconds=PAUSE)

    async def settled(self) -> None:
        """Return once all that has happened on both sides until now is on the other. Raises what makes that impossible."""
        while True:
            since, _ = self._dirty_queue.take()
            try:
                again = await self._importer.take({ROOT_PATH, *since}, deep=True, accept_unstable=True)
            except BaseException:
                self._dirty_queue.add(since, deep=True)
                raise
            if not again and not self._dirty_queue:
                return
            await asyncio.sleep(TICK / NS)

    def _rules_changed(self) -> None:
        if self._watcher is not None:
            self._watcher.refresh()

    # -- what is known -----------------------------------------------------------------

    async def note(self) -> None:
        """Write down what is known of the disk, and up to where it has the log."""
        await self._folder_thread.whole(self._note())

    async def _note_changes(self) -> None:
        if self._checkout_queue.applied != self._noted or self._index.has_changes:
            try:
                await self.note()
            except EvstoreError as error:  # a crash costs more work then, and no more
                self._noted = self._checkout_queue.applied
                logger.warning("What is known of the folder could not be noted: %s", error.message)

    async def _note(self) -> None:
        async with self._folder_thread.lock:
            changes = await self._folder_thread.run(lambda tx: self._index.changes())
            noted = SyncPoint(self._mark, self._checkout_queue.applied)
        # or, after a power failure, what was not on the disk yet would be taken for changes that somebody made there
        await asyncio.to_thread(self._disk.sync)
        await self._store.write(lambda work: index.put(work.tx, changes, noted), Author.new(ACTOR))
        self._noted = noted.offset
        await self._folder_thread.run(lambda tx: self._index.stored(changes))

    async def _in_turn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with self._folder_thread.lock:
            await work()
