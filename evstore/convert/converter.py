"""The service: conversions one after the other in a few processes, each within its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec

from evstore.convert.frames import Header
from evstore.convert.jobs import Converted, Job
from evstore.convert.process import Worker
from evstore.errors import Busy, CannotConvert, Invalid, NotFound, Unavailable

AT_ONCE = 2  # conversions; more wait for their turn
MAX_WAITING = 64  # which hold their notebooks in memory
JOBS = 50  # that a worker does before a fresh one takes its place, for nbconvert is not free of leaks
REST = 300  # seconds without work after which the processes end: each holds 100 MB
ALIASES = {"ipynb": "notebook"}


class Converter:
    """Starts processes when there is work, keeps them warm for a while, kills those that don't behave."""

    def __init__(self, limit: float) -> None:
        """`limit`: seconds that a conversion may take, without the waiting for its turn."""
        self._limit = limit
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._workers: set[Worker] = set()
        self._resting: list[Worker] = []
        self._rest: asyncio.TimerHandle | None = None
        self._listing = asyncio.Lock()
        self._exporters: dict[str, str] | None = None
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that are there just now."""
        return [worker.pid for worker in self._workers]

    async def exporters(self) -> dict[str, str]:
        """The formats that there are, with their MIME types ("" when the notebook decides). Found out once.

        Raises CannotConvert when nbconvert is not installed.
        """
        async with self._listing:
            if self._exporters is not None:
                return self._exporters
            if find_spec("nbconvert") is None:
                raise CannotConvert("nbconvert is not installed: pip install nbconvert.")
            header, _ = await self._ask({"do": "list"}, b"")
            found: dict[str, str] = header["exporters"]
            self._exporters = found
            return found

    async def convert(self, job: Job) -> Converted:
        """Convert a notebook; cancelling this stops it.

        Raises NotFound for an unknown format, Invalid for what is no notebook, Busy when too many
        wait, and CannotConvert.
        """
        format = ALIASES.get(job.format, job.format)
        if format not in await self.exporters():
            raise NotFound(f"There is no exporter for the format {job.format!r:.60}.")
        wish = asdict(replace(job, format=format, body=b""))
        del wish["body"]
        header, body = await self._ask({"do": "convert", **wish}, job.body)
        del header["state"]
        return Converted(**header, body=body)

    async def close(self) -> None:
        """End all processes, with what they are doing. Nothing can be converted any more."""
        self._closed = True
        self._cancel_rest()
        if endings := [worker.end() for worker in self._workers]:
            await asyncio.wait(endings)

    async def _ask(self, job: Header, body: bytes) -> tuple[Header, bytes]:
        if self._waiting >= MAX_WAITING:
            raise Busy("Too many conversions wait for their turn; try again in a moment.")
        self._waiting += 1
        try:
            async with self._turns, self._worker() as worker:
                header, result = await worker.ask(job | {"limit": self._limit}, body)
        finally:
            self._waiting -= 1
        match header["state"]:
            case "done":
                return header, result
            case "invalid":
                raise Invalid(header["message"])
            case _:
                raise CannotConvert(header["message"])

    @asynccontextmanager
    async def _worker(self) -> AsyncGenerator[Worker]:
        """A worker for one job, which is ended when the job does not come to its end in time."""
        self._cancel_rest()
        worker = await self._take()
        try:
            async with asyncio.timeout(self._limit):
                yield worker
        except BaseException as error:
            self._end(worker)
            if isinstance(error, TimeoutError):
                raise CannotConvert(
                    f"The conversion was stopped because it took longer than {self._limit:g} seconds."
                ) from None
            if self._closed and isinstance(error, CannotConvert):
                raise Unavailable("The server is stopping.") from None
            raise
        if worker.jobs >= JOBS or self._closed:
            self._end(worker)
        else:
            self._resting.append(worker)
            self._cancel_rest()
            self._rest = asyncio.get_running_loop().call_later(REST, self._end_resting)

    async def _take(self) -> Worker:
        while self._resting:
            worker = self._resting.pop()
            if worker.alive:
                return worker
            self._end(worker)  # something else has killed it
        worker = await Worker.start()
        self._workers.add(worker)
        if self._closed:
            self._end(worker)
            raise Unavailable("The server is stopping.")
        return worker

    def _end(self, worker: Worker) -> None:
        worker.end().add_done_callback(lambda _: self._workers.discard(worker))

    def _end_resting(self) -> None:
        while self._resting:
            self._end(self._resting.pop())

    def _cancel_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
