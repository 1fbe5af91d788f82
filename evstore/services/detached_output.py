"""What a kernel puts out for somebody who has left goes into the document.

JupyterLab names the cell that it wants executed, and sessions know the notebook. So when the page
that asked is gone, the cell's outputs are written into the notebook as it is then, by an ordinary
save of the author `kernel`, which touches nothing but that cell:

- at once when somebody reads the notebook, so that a page that is opened shows what is there so far;
- when the cell is done, and now and then before, after a time in which the page may come back: it
  has all outputs itself then, and would only be asked by its user which version counts;
- at once when the kernel is shut down or restarted, or the server stops.

What a connected client receives is its own affair, as always in Jupyter. But one whose connection
breaks may have crashed: what had come to its end by then is put there too, after the time in which it
may come back, unless somebody has saved the notebook since that end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

from evstore.core import notebooks
from evstore.core.errors import Conflict, EvstoreError, NotFound
from evstore.core.events import Author, CommandId, EntryId, FileRestored, FileSaved, Recorded
from evstore.core.notebooks import Document, Output
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.log.bodies import Body
from evstore.processes.kernels.execution import NEVER, Execution, State
from evstore.processes.kernels.executions import digest_of
from evstore.processes.kernels.kernel import Kernel
from evstore.processes.kernels.manager import Kernels
from evstore.services.contents import Contents, EntrySnapshot, SaveRequest
from evstore.services.sessions import Sessions
from evstore.store.store import Store

logger = logging.getLogger(__name__)

ACTOR = "kernel"
NOTEBOOK = "notebook"  # the type of a session, as front ends say it
GRACE = 30.0  # seconds that a page has to come back, or to follow after it has read the notebook
PATIENCE = 600.0  # seconds, for one that has not closed its connection but lost it
TICK = 1.0  # seconds between looks at what is due
INTERVAL = 30.0  # seconds between the first two writes of a cell that runs on; then longer
GROWTH, LONGEST = 1.5, 600.0
THRIFT = 50  # the interval is at least so many times what a write takes
REREAD = 1.0  # seconds within which readers get what was written already
ATTEMPTS = 10  # when the notebook is saved or renamed meanwhile
ENDING = 15.0  # seconds that it may take to end a kernel, which interrupts what runs in it
PAUSE = 0.1  # seconds; the sessions hear of a rename right after it

AGAIN = 5.0  # seconds after which what could not be saved is tried again; then twice as long, and so on
REMEMBERED = 100_000  # files of which it is remembered when somebody has saved them

Paths = Callable[[], list[ContentPath]]


class Part:
    """What one execution has put out so far, for its cell."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.cell = execution.cell
        self.snapshot = execution.snapshot()

    @cached_property
    def outputs(self) -> list[Output]:
        """For a thread."""
        return self.snapshot.outputs()

    def settle(self) -> None:
        self.execution.settled = self.snapshot.version


@dataclass(frozen=True, slots=True)
class Read:
    """A notebook as it was read, and who saved it last."""

    path: ContentPath
    found: EntrySnapshot
    document: Document
    saved_at: float  # by anybody else than this module, in the loop's time; long ago if not since the start


@dataclass(slots=True)
class Schedule:
    """When an execution was put into its document last, in the loop's time, and is to be the next time."""

    last: float = NEVER
    cost: float = 0.0
    interval: float = INTERVAL
    again: float = NEVER  # after a failure: not before
    patience: float = AGAIN
    home: EntryId | None = None  # the notebook that it was put into

    @property
    def next(self) -> float:
        return self.last + max(self.interval, THRIFT * self.cost)

    def wrote(self, now: float, cost: float) -> None:
        self.last, self.cost = now, cost
        self.interval = min(self.interval * GROWTH, LONGEST)
        self.again, self.patience = NEVER, AGAIN

    def failed(self, now: float, cost: float) -> None:
        self.last, self.cost = now, cost
        self.again = now + self.patience
        self.patience = min(self.patience * 2, LONGEST)

    @property
    def is_fresh(self) -> bool:
        """Whether it was put there just now, so that a reader need not wait for it again."""
        return asyncio.get_running_loop().time() < self.last + max(REREAD, THRIFT * self.cost / 5)


class DetachedOutput:
    """Puts into notebooks what kernels put out for pages that are gone."""

    def __init__(
        self, store: Store, contents: Contents, kernels: Kernels, sessions: Sessions, stopping: asyncio.Event
    ) -> None:
        self._store = store
        self._contents = contents
        self._kernels = kernels
        self._sessions = sessions
        self._stopping = stopping  # set when the server is being stopped
        self._left: list[tuple[list[Execution], list[ContentPath]]] = []  # by kernels that have ended
        self._wake = asyncio.Event()
        self._ours: set[CommandId] = set()  # our writes that are on their way
        # when somebody else has written last, in the loop's time: other clocks may be set back
        self._saved = OrderedDict[EntryId, float]()
        self._schedules: WeakKeyDictionary[Execution, Schedule] = WeakKeyDictionary()
        kernels.on_end(self._kernel_ended)
        store.subscribe(self._heard)

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            self._wake.clear()
            await self._put_left(loop.time())
            for kernel in self._kernels.all():
                due = [one for one in kernel.executions.unsettled() if self._is_due(one)]
                await self._put(due, lambda kernel=kernel: self.paths(kernel))

    @property
    def may_wait(self) -> bool:
        """Whether there may be output for any notebook: no look at what there is, for each reader asks this."""
        return bool(self._left) or bool(self._sessions.all())

    async def before_reading(self, path: ContentPath) -> None:
        """Somebody reads the notebook at `path`: what waits for it is put there first.

        It costs nothing where no kernel belongs to the notebook.
        """
        now = asyncio.get_running_loop().time()
        for session in self._sessions.at(path):
            if session.type == NOTEBOOK:
                await self._put_for_reader(session.kernel, now)
        if any(path in paths for _, paths in self._left):
            await self._put_left(now)

    async def close(self) -> None:
        """The kernels have ended: write what they have left."""
        await self._put_left(float("inf"))
        for executions, paths in self._left:
            for execution in executions:
                logger.error("Output of the cell %s of %s could not be saved", execution.cell, paths)

    def paths(self, kernel: Kernel) -> list[ContentPath]:
        """The notebooks that a kernel belongs to."""
        return [
            ContentPath.parse(session.path)
            for session in self._sessions.all()
            if session.kernel is kernel and session.type == NOTEBOOK
        ]

    # inside

    async def _put_for_reader(self, kernel: Kernel, now: float) -> None:
        waiting = [one for one in kernel.executions.unsettled() if not one.is_attended(now)]
        for execution in waiting:
            execution.read_at = now
        stale = [one for one in waiting if not self._schedule(one).is_fresh]
        await self._put(stale, lambda: self.paths(kernel))

    def _kernel_ended(self, kernel: Kernel) -> None:
        """Its pages, if it has any, have received all; but what was running when the server stops they can't save."""
        now = asyncio.get_running_loop().time()
        is_stopping = self._stopping.is_set()
        paths = self.paths(kernel)
        left = [
            execution
            for execution in kernel.executions.unsettled()
            if not execution.is_attended(now) or (is_stopping and now - execution.done_at < ENDING)
        ]
        if left:
            self._left.append((left, paths))
            self._wake.set()

    def _heard(self, recorded: Sequence[Recorded]) -> None:
        now = asyncio.get_running_loop().time()
        for one in recorded:
            if isinstance(one.event, FileSaved | FileRestored) and one.command not in self._ours:
                self._saved[one.entry] = now
                self._saved.move_to_end(one.entry)
        while len(self._saved) > REMEMBERED:
            self._saved.popitem(last=False)

    def _schedule(self, execution: Execution) -> Schedule:
        return self._schedules.setdefault(execution, Schedule())

    def _is_due(self, execution: Execution) -> bool:
        now = asyncio.get_running_loop().time()
        if execution.is_attended(now) or now < self._schedule(execution).again:
            return False
        if execution.is_cut:
            return True
        grace = PATIENCE if execution.is_expected_back else GRACE
        if now < execution.left_at + grace:
            return False
        return execution.state is State.DONE or now >= self._schedule(execution).next

    async def _put_left(self, now: float) -> None:
        """Write what kernels have left that have ended; what has failed, when its time has come."""
        for executions, paths in list(self._left):
            due = [one for one in executions if self._schedule(one).again <= now]
            await self._put(due, lambda paths=paths: paths)
        unsettled = (([one for one in each if one.is_unsettled], paths) for each, paths in self._left)
        self._left = [(executions, paths) for executions, paths in unsettled if executions]

    async def _put(self, executions: Sequence[Execution], paths: Paths) -> None:
        """Write the outputs of one kernel's executions into their notebooks; what fails is tried again later."""
        if not executions:
            return
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as turns:
            for execution in executions:  # always the oldest first: nobody waits for one who waits for him
                await turns.enter_async_context(execution.turn)
            parts = [Part(one) for one in executions if one.is_unsettled]
            started = loop.time()
            is_written = await self._try(parts, paths)
            if not is_written and len(parts) > 1:  # perhaps because of one of them
                await self._put_each(parts, paths)
                return
            for part in parts:
                schedule = self._schedule(part.execution)
                (schedule.wrote if is_written else schedule.failed)(loop.time(), loop.time() - started)

    async def _put_each(self, parts: list[Part], paths: Paths) -> None:
        loop = asyncio.get_running_loop()
        for part in parts:
            started = loop.time()
            schedule = self._schedule(part.execution)
            is_written = await self._try([part], paths)
            (schedule.wrote if is_written else schedule.failed)(loop.time(), loop.time() - started)

    async def _try(self, parts: list[Part], paths: Paths) -> bool:
        """Whether these outputs are where they belong now. Why not, is said for a single one."""
        try:
            await self._put_now(parts, paths)
        except EvstoreError as error:
            if len(parts) == 1:
                logger.warning("Output of the cell %s can't be saved now: %s", parts[0].cell, error.message)
            return False
        except Exception:
            if len(parts) == 1:
                logger.exception("Output of the cell %s can't be saved", parts[0].cell)
                parts[0].settle()  # a bug: to try again would only say so again
            return False
        return True

    async def _put_now(self, parts: list[Part], paths: Paths) -> None:
        """Raises Conflict when the notebook is saved again and again meanwhile."""
        for attempt in range(1, ATTEMPTS + 1):
            waiting = [part for part in parts if part.execution.settled != part.snapshot.version]
            try:
                await self._put_into(waiting, paths(), is_last=attempt == ATTEMPTS)
                return
            except Conflict:
                if attempt == ATTEMPTS:
                    raise
            except NotFound:
                pass
            await asyncio.sleep(PAUSE)

    async def _put_into(self, parts: list[Part], paths: list[ContentPath], *, is_last: bool) -> None:
        """Write each part into the notebook that has its cell.

        Raises Conflict when it was saved meanwhile; NotFound when one has gone that may have the cell, unless it
        `is_last`: the sessions may only not have heard of a rename yet.
        """
        documents = [read for path in paths if (read := await self._read(path)) is not None]
        homes = [(part, self._home(part, documents)) for part in parts]
        for read in documents:
            mine = [part for part, home in homes if home is read]
            if mine:
                await self._write(read, mine)
        homeless = [part for part, home in homes if home is None]
        if homeless and len(documents) < len(paths) and not is_last:
            raise NotFound("A notebook has gone.")
        for part in homeless:
            logger.info("There is no cell %s any more for the output of its execution", part.cell)
            part.settle()

    async def _read(self, path: ContentPath) -> Read | None:
        try:
            found = await self._contents.get(path)
        except NotFound:
            return None
        entry = found.entry
        body = b"" if entry.is_directory else await self._store.body(entry.digest)
        document = await asyncio.to_thread(Document, body)
        saved_at = self._saved.get(entry.id, NEVER)
        return Read(path, found, document, max(saved_at, self._store.last_noop_save(entry.id)))

    def _home(self, part: Part, documents: list[Read]) -> Read | None:
        """The notebook of an execution. Of several with that cell (one is the other's copy) it is the one that has
        got output of it before, or where the cell says what was executed, or that was saved last."""
        home = self._schedule(part.execution).home
        source = part.execution.source
        return max(
            (read for read in documents if part.cell in read.document),
            key=lambda read: (
                read.found.entry.id == home,
                digest_of(read.document.source(part.cell)) == source,
                read.saved_at,
                read.found.entry.modified,
            ),
            default=None,
        )

    async def _write(self, read: Read, parts: list[Part]) -> None:
        """Save a notebook with these outputs. Raises Conflict when it is not what was read any more."""
        entry = read.found.entry
        made = await asyncio.to_thread(self._body, read, parts)
        if made is not None and made[0].digest != entry.digest:
            body, is_harmless = made
            trusted = read.found.trusted or is_harmless  # the user's own kernel has made these outputs
            expected = frozenset(() if entry.digest is None else (entry.digest,))
            wish = SaveRequest(body=body, trusted=trusted, expected=expected, present=True)
            author = Author.new(ACTOR)
            self._ours.add(author.command)
            try:
                await self._contents.save(read.path, wish, author)
            finally:
                self._ours.discard(author.command)
        for part in parts:
            self._schedule(part.execution).home = entry.id
            part.settle()

    def _body(self, read: Read, parts: list[Part]) -> tuple[Body, bool] | None:
        """The notebook with these outputs, ready to be stored, and whether nothing in it can run anything.

        None when nothing is to be changed.
        """
        wanted = [part for part in parts if _may_change(read, part)]
        for part in wanted:
            read.document.put(part.cell, part.outputs, part.snapshot.count)
        if not wanted:
            return None
        canonical = notebooks.canonical(read.document.content)
        body = bodies.prepare_pieces(canonical.body, canonical.chunks, self._store.known)
        return body, canonical.trusted


def _may_change(read: Read, part: Part) -> bool:
    """Whether a cell is still to get its output. For a thread.

    Not when a page had all of it, and the notebook was saved since: it is as its user wants it to be. Unless it
    shows the beginning of it, for then more has come since: from a thread that goes on printing.
    """
    had_all_at = part.execution.read_to_end_at
    if had_all_at is None or read.saved_at <= had_all_at:
        return True
    return read.document.has_begun(part.cell, part.outputs)
