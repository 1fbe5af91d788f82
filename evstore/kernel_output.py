"""What a kernel puts out for somebody who has left goes into the document.

JupyterLab names the cell that it wants executed, and sessions know the notebook. So when the page
that asked is gone, the cell's outputs are written into the notebook as it is then, by an ordinary
save of the author `kernel`, which touches nothing but that cell:

- at once when somebody reads the notebook, so that a page that is opened shows what is there so far;
- when the cell is done, and now and then before, after a time in which the page may come back: it
  has all outputs itself then, and would only be asked by its user which version counts;
- at once when the kernel is shut down, or the server stops.

What a connected client receives is its own affair, as always in Jupyter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from evstore import notebooks
from evstore.contents import Contents, Save
from evstore.errors import Conflict, EvstoreError, Invalid, NotFound
from evstore.events import Author
from evstore.kernels.execution import Execution, Snapshot, State
from evstore.kernels.kernel import Kernel
from evstore.kernels.manager import Kernels
from evstore.log import bodies
from evstore.log.bodies import Body
from evstore.notebooks import Output
from evstore.paths import ContentPath
from evstore.sessions import Sessions
from evstore.store import Store

logger = logging.getLogger(__name__)

ACTOR = "kernel"
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

Paths = Callable[[], list[ContentPath]]


@dataclass(slots=True)
class Schedule:
    """When an execution was put into its document last, in the loop's time, and is to be the next time."""

    last: float = float("-inf")
    cost: float = 0.0
    interval: float = INTERVAL

    @property
    def next(self) -> float:
        return self.last + max(self.interval, THRIFT * self.cost)

    @property
    def is_fresh(self) -> bool:
        """Whether it was put there just now, so that a reader need not wait for it again."""
        return asyncio.get_running_loop().time() < self.last + max(REREAD, THRIFT * self.cost / 5)


class KernelOutput:
    """Puts into notebooks what kernels put out for pages that are gone."""

    def __init__(
        self, store: Store, contents: Contents, kernels: Kernels, sessions: Sessions, stopping: asyncio.Event
    ) -> None:
        self._store = store
        self._contents = contents
        self._kernels = kernels
        self._sessions = sessions
        self._stopping = stopping  # set when the server is being stopped
        self._left: list[tuple[Execution, list[ContentPath]]] = []  # by kernels that have ended
        self._wake = asyncio.Event()
        self._schedules: WeakKeyDictionary[Execution, Schedule] = WeakKeyDictionary()
        kernels.on_end(self._kernel_ended)

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            self._wake.clear()
            await self._put_left()
            for kernel in self._kernels.all():
                for execution in kernel.executions.unsettled():
                    if self._is_due(execution):
                        await self._put(execution, lambda kernel=kernel: self.paths(kernel))

    @property
    def is_waiting(self) -> bool:
        """Whether anything waits to be written, in whatever notebook."""
        return bool(self._left) or any(kernel.executions.unsettled() for kernel in self._kernels.all())

    async def before_reading(self, path: ContentPath) -> None:
        """Somebody reads the notebook at `path`: what waits for it is put there first."""
        now = asyncio.get_running_loop().time()
        for kernel in self._kernels.all():
            waiting = [one for one in kernel.executions.unsettled() if not one.is_attended(now)]
            if not waiting or path not in self.paths(kernel):
                continue
            for execution in waiting:
                execution.read_at = now
                if not self._schedule(execution).is_fresh:
                    await self._put(execution, lambda kernel=kernel: self.paths(kernel))
        if any(path in paths for _, paths in self._left):
            await self._put_left()

    async def close(self) -> None:
        """The kernels have ended: write what they have left."""
        await self._put_left()
        for execution, paths in self._left:
            logger.error("Output of the cell %s of %s could not be saved", execution.cell, paths)

    def paths(self, kernel: Kernel) -> list[ContentPath]:
        """The notebooks that a kernel belongs to."""
        found: list[ContentPath] = []
        for session in self._sessions.all():
            if session.kernel is kernel and session.type == "notebook":
                with contextlib.suppress(Invalid):  # a path is whatever a front end says
                    found.append(ContentPath.parse(session.path))
        return found

    # inside

    def _kernel_ended(self, kernel: Kernel) -> None:
        """Its pages, if it has any, have received all; but what was running when the server stops they can't save."""
        now = asyncio.get_running_loop().time()
        is_stopping = self._stopping.is_set()
        paths = self.paths(kernel)
        self._left += [
            (execution, paths)
            for execution in kernel.executions.unsettled()
            if not execution.is_attended(now) or (is_stopping and now - execution.done_at < ENDING)
        ]
        self._wake.set()

    def _schedule(self, execution: Execution) -> Schedule:
        return self._schedules.setdefault(execution, Schedule())

    def _is_due(self, execution: Execution) -> bool:
        now = asyncio.get_running_loop().time()
        grace = PATIENCE if execution.is_expected_back else GRACE
        if execution.is_attended(now) or now < execution.left_at + grace:
            return False
        return execution.state is State.DONE or now >= self._schedule(execution).next

    async def _put_left(self) -> None:
        for execution, paths in list(self._left):
            await self._put(execution, lambda paths=paths: paths)
        self._left = [(execution, paths) for execution, paths in self._left if execution.is_unsettled]

    async def _put(self, execution: Execution, paths: Paths) -> None:
        """Write one execution's output into its notebook; what fails is tried again later."""
        loop = asyncio.get_running_loop()
        async with execution.turn:
            if not execution.is_unsettled:
                return
            started = loop.time()
            try:
                await self._put_now(execution, paths)
            except EvstoreError as error:
                logger.warning("Output of the cell %s can't be saved now: %s", execution.cell, error.message)
            except Exception:
                logger.exception("Output of the cell %s can't be saved", execution.cell)
                execution.settled = execution.version  # a bug: to try again would only say so again
            schedule = self._schedule(execution)
            schedule.last, schedule.cost = loop.time(), loop.time() - started
            schedule.interval = min(schedule.interval * GROWTH, LONGEST)

    async def _put_now(self, execution: Execution, paths: Paths) -> None:
        snapshot = execution.snapshot()
        outputs = await asyncio.to_thread(snapshot.outputs)
        is_there = False
        for _ in range(ATTEMPTS):
            try:
                is_there = await self._put_into_one(execution, snapshot, outputs, paths())
                break
            except (Conflict, NotFound):
                await asyncio.sleep(PAUSE)
        if not is_there:
            logger.info("There is no cell %s any more for the output of its execution", execution.cell)
        execution.settled = snapshot.version

    async def _put_into_one(
        self, execution: Execution, snapshot: Snapshot, outputs: list[Output], paths: list[ContentPath]
    ) -> bool:
        """Write into the first of the notebooks that has the cell; False when none has it.

        Raises Conflict when it was saved meanwhile, NotFound when one has gone.
        """
        for path in paths:
            found = await self._contents.get(path)
            entry = found.entry
            if entry.is_directory or entry.digest is None:
                continue
            if execution.read_to_end_at is not None and entry.modified > execution.read_to_end_at:
                return True  # a page had all of it, and has saved the notebook as it wants it to be
            old = await self._store.body(entry.digest)
            new = await asyncio.to_thread(self._body, old, execution.cell, snapshot.count, outputs)
            if new is None:
                continue
            body, is_harmless = new
            trusted = found.trusted or is_harmless  # the user's own kernel has made these outputs
            wish = Save(body=body, trusted=trusted, expected=frozenset((entry.digest,)), present=True)
            await self._contents.save(path, wish, Author.new(ACTOR))
            return True
        return False

    def _body(
        self, old: bytes, cell: str, count: int | None, outputs: list[Output]
    ) -> tuple[Body, bool] | None:
        """The notebook with these outputs, ready to be stored, and whether nothing in it can run anything."""
        content = notebooks.with_outputs(old, cell, outputs, count)
        if content is None:
            return None
        canonical = notebooks.canonical(content)
        body = bodies.prepare_pieces(canonical.body, canonical.chunks, self._store.known)
        return body, canonical.trusted
