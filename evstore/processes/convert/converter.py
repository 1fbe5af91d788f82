"""The service: conversions one after the other in a few processes, each within its time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace

from evstore.core.errors import Busy, CannotConvert, Invalid, NotFound, NotInstalled, Stopping
from evstore.processes.convert.frames import Header
from evstore.processes.convert.jobs import Converted, FindPictures, Job
from evstore.processes.convert.process import Worker

AT_ONCE = 2  # conversions; more wait for their turn
START = 60.0  # seconds that a process may take to get ready
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
        self._exporters: dict[str, str] = {}
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that are there just now."""
        return [worker.pid for worker in self._workers]

    async def exporters(self) -> dict[str, str]:
        """The formats that there are, with their MIME types ("" when the notebook decides). Found out once.

        None when the server stops meanwhile: JupyterLab asks as its page opens, and an error would be one
        on its console. Raises NotInstalled when nbconvert is not, or does not work.
        """
        async with self._listing:
            if not self._exporters:
                with contextlib.suppress(Stopping):
                    async with self._turn():
                        pass  # a worker says what it has when it starts
            return self._exporters

    async def convert(self, job: Job, find: FindPictures | None = None) -> Converted:
        """Convert a notebook; cancelling this stops it. `find` gets the pictures that it refers to, where there are any.

        Raises NotFound for an unknown format, Invalid for what is no notebook, Busy when too many
        wait, Stopping, CannotConvert, and NotInstalled when the format needs what is missing here.
        """
        format = ALIASES.get(job.format, job.format)
        formats = await self.exporters()
        if self._closed:
            raise Stopping
        if format not in formats:
            raise NotFound(f"There is no exporter for the format {job.format!r:.60}.")
        wish = asdict(replace(job, format=format, body=b""))
        del wish["body"]
        async with self._turn() as worker:
            parts = {"": job.body}
            if find is not None:
                asked = {"do": "pictures", "format": format}
                header, _ = await self._ask(worker, asked, job.body, self._limit)
                parts |= await find(header["pictures"]) if header["pictures"] else {}
            wish |= {"do": "convert", "sizes": {name: len(part) for name, part in parts.items()}}
            header, body = await self._ask(worker, wish, b"".join(parts.values()), self._limit)
        del header["state"]
        return Converted(**header, body=body)

    async def close(self) -> None:
        """End all processes, with what they are doing. Nothing can be converted any more."""
        self._closed = True
        self._cancel_rest()
        while self._workers or self._waiting:  # one may just be starting
            for worker in self._workers:
                self._end(worker)
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[Worker]:
        """A worker, for one job. It is ended when the job has not come to its end."""
        if self._waiting >= MAX_WAITING:
            raise Busy("Too many conversions wait for their turn; try again in a moment.")
        self._waiting += 1
        try:
            async with self._turns:
                self._cancel_rest()
                worker = await self._take()
                try:
                    yield worker
                finally:
                    self._give_back(worker)
        finally:
            self._waiting -= 1

    async def _take(self) -> Worker:
        while self._resting:
            worker = self._resting.pop()
            if worker.is_at_rest:
                return worker
            self._end(worker)  # something else has killed it
        worker = await Worker.start()
        self._workers.add(worker)
        try:
            header, _ = await self._ask(worker, {"do": "list"}, b"", START)
        except CannotConvert as error:
            self._end(worker)
            raise NotInstalled(f"nbconvert does not work here: {error.message}") from error
        except BaseException:
            self._end(worker)
            raise
        self._exporters = header["exporters"]
        return worker

    def _give_back(self, worker: Worker) -> None:
        self._cancel_rest()
        self._rest = asyncio.get_running_loop().call_later(REST, self._end_resting)
        if worker.is_at_rest and worker.jobs < JOBS:
            self._resting.append(worker)
        else:
            self._end(worker)

    async def _ask(self, worker: Worker, job: Header, body: bytes, limit: float) -> tuple[Header, bytes]:
        """The answer to a job that may take `limit` seconds. Raises Invalid, CannotConvert, NotInstalled, Stopping."""
        if self._closed:
            raise Stopping
        try:
            async with asyncio.timeout(limit):
                header, result = await worker.ask(job | {"limit": limit}, body)
        except TimeoutError:
            raise CannotConvert(
                f"The conversion was stopped because it took longer than {limit:g} seconds."
            ) from None
        except CannotConvert:
            if self._closed:
                raise Stopping from None
            raise
        match header["state"]:
            case "done":
                return header, result
            case "invalid":
                raise Invalid(header["message"])
            case "missing":
                raise NotInstalled(header["message"])
            case _:
                raise CannotConvert(header["message"])

    def _end(self, worker: Worker) -> None:
        worker.end().add_done_callback(lambda _: self._workers.discard(worker))

    def _end_resting(self) -> None:
        while self._resting:
            self._end(self._resting.pop())

    def _cancel_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
