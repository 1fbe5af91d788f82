"""All running kernels of the server."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from evstore.core.errors import CannotStart, Forbidden, Invalid, NotFound, Stopping
from evstore.core.paths import ContentPath
from evstore.processes.kernels.actions import Actions
from evstore.processes.kernels.activity import UNTRACKED
from evstore.processes.kernels.endpoint import Launcher
from evstore.processes.kernels.kernel import Kernel
from evstore.processes.kernels.launch_context import LaunchContext
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.pump import Pump
from evstore.processes.kernels.specs import KernelSpec, Specs
from evstore.processes.ws_close_codes import RESTART

logger = logging.getLogger(__name__)

KERNEL_ID = re.compile(r"[\w-]{1,100}", re.ASCII)  # it becomes a part of file names


class Kernels:
    """Starts kernels and knows the running ones by id."""

    def __init__(
        self,
        folder: Path,
        specs: Specs,
        launcher: Launcher,
        *,
        kept: Limits,
        limit: int = 0,
        untracked: frozenset[str] = UNTRACKED,
    ) -> None:
        """`kept` is how much of their output is kept for those who are not there; `limit` is how many may run,
        0 any number; `untracked` are types of messages that are no activity."""
        self._folder = folder
        self._specs = specs
        self._launcher = launcher
        self._limit = limit
        self._kept = kept
        self.untracked = untracked
        self._last_activity = datetime.now(UTC)  # of those that have ended
        self._kernels: dict[str, Kernel] = {}
        self.actions = Actions()  # what is done to kernels, to listen to
        self._is_closed = False
        self._listeners: list[Callable[[Kernel], None]] = []

    def on_end(self, listener: Callable[[Kernel], None]) -> None:
        """Call this with each kernel that ends, for whatever reason; who has asked last, is called first.

        So whoever builds on another listener still finds there what it knows of the kernel.
        """
        self._listeners.append(listener)

    def all(self) -> list[Kernel]:
        """The running kernels, the oldest first."""
        return list(self._kernels.values())

    @property
    def last_activity(self) -> datetime:
        """When a kernel last did something for somebody, be it one that runs no more."""
        return max([self._last_activity, *(kernel.last_activity for kernel in self.all())])

    def find(self, kernel_id: str) -> Kernel | None:
        return self._kernels.get(kernel_id)

    def get(self, kernel_id: str) -> Kernel:
        """The kernel of this id. Raises NotFound."""
        kernel = self._kernels.get(kernel_id)
        if kernel is None:
            raise NotFound(f"Kernel does not exist: {kernel_id}")
        return kernel

    async def start(
        self,
        name: str | None = None,
        *,
        path: str | None = None,
        kernel_id: str | None = None,
        session: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Kernel:
        """Start a kernel, or return the running one of that id, whatever its name.

        `path` is an API path: the kernel runs in the nearest folder at or above it that exists, and
        without a path where the server runs. `session` is the name of the session that it is for;
        `variables` are for its environment.
        Raises CannotStart for a kernel that is not installed or does not come up, Forbidden when the
        most that may run do.
        """
        if kernel_id is None:
            kernel_id = str(uuid.uuid4())
        elif not KERNEL_ID.fullmatch(kernel_id):
            raise Invalid(f"{kernel_id!r} can't be a kernel's id: letters, digits, _ and - are possible.")
        parsed = None if path is None else ContentPath.parse(path)
        if running := await self._running(kernel_id):
            return running
        spec = await self._installed(name)
        if self._is_closed:
            raise Stopping
        if running := await self._running(kernel_id):  # since the last look
            return running
        if 0 < self._limit <= len(self._kernels):
            raise Forbidden(f"{self._limit} kernels run already, and no more may: shut one down first.")
        kernel = self._make(kernel_id, spec, LaunchContext(self._folder, parsed, session, variables or {}))
        self._kernels[kernel_id] = kernel
        with self.actions.telling("start", spec.name, kernel_id):
            await kernel.start()
        logger.info("Kernel %s (%s) started", kernel_id, spec.name)
        return kernel

    async def close(self) -> None:
        """Stop all kernels, those that are just being started too, and let their pages know."""
        self._is_closed = True
        kernels, why = self.all(), "The server is shutting down."
        stopping = (kernel.stop(RESTART, why) for kernel in kernels)
        results = await asyncio.gather(*stopping, return_exceptions=True)
        for kernel, result in zip(kernels, results, strict=True):
            if isinstance(result, BaseException):
                logger.error("Kernel %s could not be stopped: %s", kernel.id, result)
                await kernel.abandon(RESTART, why)
        await self._launcher.close()

    async def _running(self, kernel_id: str) -> Kernel | None:
        """The kernel of this id, once it has been started; one that is being stopped does not count."""
        while (kernel := self._kernels.get(kernel_id)) is not None:
            if await kernel.settled():
                return kernel
        return None

    async def _installed(self, name: str | None) -> KernelSpec:
        """The kernelspec of this name, the default one for None. Raises CannotStart."""
        wanted = name or self._specs.default_among(await self._specs.all())
        try:
            return await self._specs.get(wanted)
        except NotFound:
            error = CannotStart(
                f"The '{wanted}' kernel is not available. Please pick another suitable kernel instead, "
                "or install that kernel.",
                short_message=f"{wanted} not found",
            )
            self.actions.tell("start", wanted, None, error.message)
            raise error from None

    def _make(self, kernel_id: str, spec: KernelSpec, place: LaunchContext) -> Kernel:
        process = self._launcher.process(kernel_id, spec.name)
        pump = Pump(kernel_id, self._kept, self.untracked)
        return Kernel(kernel_id, spec.name, pump, process, place, self._ended, spec.metadata, self.actions)

    def _ended(self, kernel: Kernel) -> None:
        if self._kernels.get(kernel.id) is kernel:
            del self._kernels[kernel.id]
            self._last_activity = max(self._last_activity, kernel.last_activity)
            for listener in reversed(self._listeners):
                listener(kernel)
