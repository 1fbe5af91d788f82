"""One worker, from outside: a process that answers one job after the other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process

from evstore.core.errors import CannotConvert
from evstore.processes import child_env
from evstore.processes.convert import frames

COMMAND = (
    sys.executable,
    "-P",
    "-m",
    "evstore.processes.convert.worker",
)  # -P: nothing is imported from the folder


class Worker:
    """Made by `start`; only one may `ask` at a time."""

    def __init__(self, process: Process, folder: str) -> None:
        self._process = process
        self._folder = folder
        self._is_asked = False
        self._ending: asyncio.Task[None] | None = None
        self.jobs = 0  # done

    @classmethod
    async def start(cls) -> Worker:
        """A new process, in an empty folder of its own."""
        folder = tempfile.mkdtemp(prefix="evstore-convert-")
        try:
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,  # nbconvert's warnings are about what a notebook holds
                env=child_env.for_programs(TMPDIR=folder),
                start_new_session=True,  # so that it can be killed with all that it has started
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(process, folder)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_at_rest(self) -> bool:
        """Whether it can be asked something."""
        return self._process.returncode is None and self._ending is None and not self._is_asked

    async def ask(self, job: frames.Header, body: bytes) -> tuple[frames.Header, bytes]:
        """The answer to a job. Raises CannotConvert when the process ends meanwhile.

        After any exception, a cancellation too, the worker is of no use any more: `end` it.
        """
        to, answers = self._process.stdin, self._process.stdout
        assert to is not None and answers is not None
        self._is_asked = True
        try:
            for piece in frames.pack(job, body):
                to.write(piece)
                await to.drain()
            header_size, body_size = frames.SIZES.unpack(await answers.readexactly(frames.SIZES.size))
            header = json.loads(await answers.readexactly(header_size))
            result = await answers.readexactly(body_size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise CannotConvert(
                "The process that converted the notebook has ended before it was done."
            ) from None
        self._is_asked = False
        self.jobs += 1
        return header, result

    def end(self) -> asyncio.Task[None]:
        """Kill the process now, with all that it started; when the task is done nothing is left. May be repeated."""
        if self._ending is None:
            # A process that ended at rest may have left its number to another one long ago.
            if self._is_asked or self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._ending = asyncio.create_task(self._clean_up())
        return self._ending

    async def _clean_up(self) -> None:
        await self._process.wait()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
