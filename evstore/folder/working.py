"""The working folder as the rest of evstore sees it: the two ways between log and disk, taking turns.

Everything that touches the disk runs on one thread, with a read connection to the log of its own. A *turn*
is the time in which nobody else changes what is known of the disk: what was committed is carried out in the
order of the log, and a comparison sees the disk as the log left it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from evstore.engine.base import Tx
from evstore.engine.reader import SqliteReader
from evstore.errors import EvstoreError, Forbidden
from evstore.events import (
    Author,
    CommandId,
    Digest,
    EntryDeleted,
    EntryId,
    EntryMoved,
    EntryUndeleted,
    Offset,
    Recorded,
)
from evstore.folder import state, to_log
from evstore.folder.comparing import Comparer, Differences, Trust
from evstore.folder.disk import Disk, Stamp, What
from evstore.folder.errors import NoVersions
from evstore.folder.ignoring import Ignore
from evstore.folder.own import own_files
from evstore.folder.reading import read
from evstore.folder.state import Known, Noted, State
from evstore.folder.to_disk import Outcome, Writer
from evstore.folder.to_log import Read, Taken
from evstore.folder.unversioned import Unversioned
from evstore.folder.watching import Watcher
from evstore.log import marks
from evstore.paths import ContentPath
from evstore.projections import tree
from evstore.store import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")
ACTOR = "disk"
SEEN = 20_000  # paths of which it is remembered what was last seen there
NOTE_EVERY = 1.0  # seconds after which the table hears of what is known
AGAIN = 0.15  # seconds after which a directory with files that are being written is looked at again
AT_THE_LATEST = 5.0  # seconds after which a file is taken though it is never quiet
RETRY = 30.0  # seconds after which it is tried again to write what could not be written
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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evstore-folder")
        self._turn = asyncio.Lock()
        self._applied = 0  # the offset up to which the disk has the log
        self._queue: list[tuple[Sequence[Recorded], Mapping[Digest, bytes]]] = []
        self._waiters: list[tuple[Sequence[Recorded], asyncio.Future[None]]] = []
        self._failed: dict[Offset, EvstoreError] = {}
        self._own: set[CommandId] = set()  # commands by which the disk is taken in: it has what they say
        self._wake = asyncio.Event()
        self._seen: OrderedDict[str, Stamp | None] = OrderedDict()
        self._dirty: dict[ContentPath, float] = {}  # directories to look at, and since when
        self._everything = False  # the whole folder is to be looked at
        self._look_again = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # -- opening and closing -----------------------------------------------------------

    async def open(self) -> None:
        """Bring log and folder in line; from then on they are kept so, until `close`.

        Raises FolderFailed when the folder can't be used.
        """
        self._disk = await asyncio.to_thread(Disk, self._root)
        self._reader = SqliteReader(self._db)
        own = own_files(self._disk.root, self._db)
        self._ignore = Ignore(self._disk, max_size=self._max_size, own=own)
        self.unversioned = Unversioned(self._disk, self._ignore, own)
        self._state = State()
        self._writer = Writer(self._disk, self._state)
        self._comparer = Comparer(self._disk, self._state, self._ignore)
        self._mark = await asyncio.to_thread(_mark_of, self._disk.root)
        await asyncio.to_thread(self._disk.sweep)
        noted = await self._store.read(state.noted)
        just_imported = noted is None and await self._store.read(marks.is_only_imported)
        self._applied = self._store.offset
        if noted is not None and noted.mark == self._mark:
            self._after(await self._run(lambda tx: self._writer.catch_up(tx, noted.offset)))
        else:
            await self._store.write(lambda work: state.clear(work.tx), Author.new(ACTOR))
        self._store.mirror = self
        self._watcher = Watcher(self._disk.root, self._is_watched, polling=self._poll)
        await self._watcher.start()  # before the first comparison, so that nothing is missed in between
        self._tasks = [
            asyncio.create_task(work)
            for work in (self._follow(), self._note(), self._watch(), self._keep_looking())
        ]
        trust = Trust.DATES if just_imported else Trust.NOTHING if self._verify else Trust.STAMPS
        await self._take([ROOT_PATH], deep=True, trust=trust)
        await self.note()

    def _is_watched(self, directory: ContentPath) -> bool:
        return self._ignore.why(directory, is_directory=True) is None

    async def close(self) -> None:
        """Write what is waiting, note what is known, and stop."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._store.mirror is not self:
            return
        await self._watcher.aclose()
        with suppress(EvstoreError):
            async with self._turn:
                await self._drain()
            await self.note()
        self._store.mirror = None
        self._thread.shutdown()
        self._reader.shut()

    # -- log -> disk -------------------------------------------------------------------

    def heard(self, recorded: Sequence[Recorded], plain: Mapping[Digest, bytes]) -> None:
        """Events that were committed, in the order of the log."""
        self._queue.append((recorded, plain))
        self._wake.set()

    async def reach(self, recorded: Sequence[Recorded]) -> None:
        """Wait until these events are on the disk. Raises what went wrong with them."""
        if recorded[0].command in self._own:
            return
        if recorded[-1].offset > self._applied:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((recorded, waiter))
            await waiter
        else:
            self._raise_failed(recorded)

    def _raise_failed(self, recorded: Sequence[Recorded]) -> None:
        errors = [self._failed.pop(one.offset) for one in recorded if one.offset in self._failed]
        if errors:
            raise errors[0]

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            async with self._turn:
                await self._drain()

    async def _drain(self) -> None:
        """Carry out what has been committed. Only in a turn."""
        queue, self._queue = self._queue, []
        if not queue:
            return
        foreign = [(recorded, plain) for recorded, plain in queue if recorded[0].command not in self._own]
        self._own.difference_update(recorded[0].command for recorded, _ in queue)
        events = [one for recorded, _ in foreign for one in recorded]
        bodies = {digest: body for _, plain in foreign for digest, body in plain.items()}
        try:
            if events:
                self._after(await self._run(lambda tx: self._writer.apply(tx, events, bodies)))
                if any(isinstance(one.event, EntryMoved | EntryDeleted | EntryUndeleted) for one in events):
                    self._seen.clear()
        finally:
            self._applied = queue[-1][0][-1].offset
            self._answer()

    def _answer(self) -> None:
        waiters, self._waiters = self._waiters, []
        for recorded, waiter in waiters:
            if recorded[-1].offset > self._applied:
                self._waiters.append((recorded, waiter))
            elif not waiter.done():
                try:
                    self._raise_failed(recorded)
                    waiter.set_result(None)
                except EvstoreError as error:
                    waiter.set_exception(error)

    def _after(self, outcome: Outcome) -> None:
        for offset, error in outcome.failed.items():
            logger.warning(
                "The folder does not have what the log says at offset %d: %s", offset, error.message
            )
        self._failed |= outcome.failed
        for path in outcome.written:
            self._seen.pop(path, None)
            self._seen.pop(path.parent, None)
        for path, (before, now) in outcome.glances.items():
            if before is not None and self._seen.get(path) == before:
                self._now_seen(path, now)
        for path, stamp in outcome.files.items():
            self._now_seen(path, stamp)
        self._look_at(outcome.dirty)

    # -- disk -> log -------------------------------------------------------------------

    async def before(self, paths: Sequence[ContentPath]) -> None:
        """See what is on the disk at these paths, and whether it may be changed. Raises Forbidden."""
        for path in paths:
            await self.look(path)
        for path in paths:
            if (reason := self.unversioned.why(path)) is not None:
                raise NoVersions(f"{path} has no versions: {reason}.")
            if path and not self._may_write(path):
                raise Forbidden(f"{path}: the folder on the disk may not be written to.")

    def _may_write(self, path: ContentPath) -> bool:
        places = (f"{self._disk.root}/{path.parent}", f"{self._disk.root}/{path}")
        return all(os.access(place, os.W_OK | os.X_OK) for place in places if os.path.isdir(place))

    async def look(self, path: ContentPath) -> None:
        """Take in what has happened at `path` on the disk, if the watcher has not told yet."""
        stat = self._disk.glance(path)
        if stat is not None and self._seen.get(path) == stat:
            return
        if not await self._is_known(path):
            await self._take({path, path.parent}, hurry=True)
        self._now_seen(path, stat)

    def _now_seen(self, path: ContentPath, stamp: Stamp | None) -> None:
        """The log has all that is at `path` as long as it looks like this."""
        self._seen[path] = stamp
        self._seen.move_to_end(path)
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)

    async def _is_known(self, path: ContentPath) -> bool:
        """Whether a file is as it is known to be, or nothing is where nothing should be."""

        def compare(tx: Tx) -> bool:
            entry, found = tree.entry_at(tx, path), self._disk.look(path)
            if entry is None and found is None:
                return not path or not self._is_new(tx, path.parent)
            if entry is None or found is None:
                return False
            known = self._state.known(tx, entry.id)
            return found.what is What.FILE and known == Known(found.stamp, entry.digest)

        async with self._turn:
            await self._drain()
            return await self._run(compare)

    def _is_new(self, tx: Tx, directory: ContentPath) -> bool:
        """Whether the disk has this directory, or one that it would be in, and the log has not."""
        while tree.entry_at(tx, directory) is None:
            found = self._disk.look(directory)
            if found is not None:
                return found.what is What.DIRECTORY
            directory = directory.parent
        return False

    async def _watch(self) -> None:
        async for changes in self._watcher.changes():
            self._everything = self._everything or changes.everything
            self._look_at(changes.paths)

    def _look_at(self, directories: Iterable[ContentPath], *, later: bool = False) -> None:
        now = time.monotonic()
        for path in directories:
            self._dirty.setdefault(path, now)
        if self._dirty:
            if later:
                asyncio.get_running_loop().call_later(AGAIN, self._look_again.set)
            else:
                self._look_again.set()

    async def _keep_looking(self) -> None:
        while True:
            await self._look_again.wait()
            self._look_again.clear()
            dirty, self._dirty = self._dirty, {}
            deep, self._everything = self._everything, False
            overdue = time.monotonic() - AT_THE_LATEST
            try:
                late = {path for path, since in dirty.items() if since < overdue}
                for paths, hurry in ((late, True), (dirty.keys() - late, False)):
                    if paths:
                        busy = await self._take(paths, deep=deep, hurry=hurry)
                        for path in busy:
                            self._dirty.setdefault(path, dirty.get(path, time.monotonic()))
            except EvstoreError as error:
                logger.warning("What has changed in the folder could not be taken in: %s", error.message)
            self._look_at((), later=True)

    async def _take(
        self,
        directories: Iterable[ContentPath],
        *,
        deep: bool = False,
        hurry: bool = False,
        trust: Trust = Trust.STAMPS,
    ) -> set[ContentPath]:
        """Compare these directories with the tree, and take in what is different. Returns those to look at again."""
        directories = list(directories)
        author = Author.new(ACTOR)
        async with self._turn:
            await self._drain()
            found = await self._run(
                lambda tx: self._comparer.compare(tx, directories, deep=deep, hurry=hurry, trust=trust)
            )
            self._tell(found)
            await self._write_out(found.unwritten)
        again = set(found.busy)
        if found.any:
            files = [one.found for one in found.appeared if one.found.what is What.FILE]
            files += [one.found for one in found.changed]
            bodies, failed = await read(self._store, self._disk, files, author)
            again.update(path.parent for path in failed)
            again |= await self._take_in(found, bodies, author)
        return again

    async def _take_in(
        self, found: Differences, bodies: dict[ContentPath, Read], author: Author
    ) -> set[ContentPath]:
        async with self._turn:
            await self._drain()
            still = await self._run(
                lambda tx: {path: one for path, one in bodies.items() if self._is_still(one)}
            )
            self._own.add(author.command)
            weight = sum(one.body.weight for one in still.values())
            try:
                taken = await self._store.write(
                    lambda work: to_log.take(work, found, still), author, weight=weight
                )
            finally:
                await self._drain()
                self._own.discard(author.command)
            await self._run(lambda tx: self._remember(taken))
        changed = {path.parent for path in bodies.keys() - still.keys()}
        return taken.again | changed

    def _is_still(self, one: Read) -> bool:
        with suppress(EvstoreError):
            there = self._disk.look(one.found.path)
            return there is not None and there.stamp == one.found.stamp
        return False

    def _remember(self, taken: Taken) -> None:
        for entry, known in taken.known.items():
            self._state.note(entry, known)

    def _tell(self, found: Differences) -> None:
        for path, reason in found.unreadable.items():
            logger.info("%s is not taken in: %s", path, reason)

    async def _write_out(self, entries: Sequence[EntryId]) -> None:
        """Write what the log has and the disk has not."""
        if not entries:
            return

        def write(tx: Tx) -> Outcome:
            outcome = Outcome()
            for entry in entries:
                found = tree.by_id(tx, entry)
                for one in tree.subtree(tx, found) if found is not None else ():
                    self._writer.put(tx, one, outcome)
            return outcome

        self._after(await self._run(write))

    # -- what is known -----------------------------------------------------------------

    async def note(self) -> None:
        """Write down what is known of the disk, and up to where it has the log."""
        async with self._turn:
            changes = await self._run(lambda tx: self._state.changes())
            noted = Noted(self._mark, self._applied)
        # or, after a power failure, what was not on the disk yet would be taken for changes that somebody made there
        await asyncio.to_thread(self._disk.sync)
        await self._store.write(lambda work: state.put(work.tx, changes, noted), Author.new(ACTOR))
        await self._run(lambda tx: self._state.stored(changes))

    async def _note(self) -> None:
        written = self._applied
        while True:
            await asyncio.sleep(NOTE_EVERY)
            if self._applied != written or self._state.has_changes:
                written = self._applied
                try:
                    await self.note()
                except EvstoreError as error:  # a crash costs more work then, and no more
                    logger.warning("What is known of the folder could not be noted: %s", error.message)

    async def _run(self, work: Callable[[Tx], T]) -> T:
        """Do `work` on the folder's thread, which sees the log as it is now."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._reader.query, work)


def _mark_of(root: Path) -> str:
    """The folder's own mark, by which it is known again wherever it is mounted; made when there is none."""
    file = root / ".evstore" / "folder"
    with suppress(FileNotFoundError):
        return file.read_text()
    mark = secrets.token_hex(16)
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.write_text(mark)
    except OSError:  # nobody can write here: then it will be known by what the system calls it
        found = root.stat()
        return f"{found.st_dev}:{found.st_ino}"
    return mark
