"""One kernel's life: start, interrupt, restart, stop; and when it dies, again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from evstore.core.errors import CannotRestart, CannotStart, EvstoreError, NotFound
from evstore.core.paths import ContentPath
from evstore.processes.kernels.actions import Actions
from evstore.processes.kernels.activity import DEAD, RESTARTING
from evstore.processes.kernels.client import Client
from evstore.processes.kernels.delivery import Link
from evstore.processes.kernels.endpoint import Ended, Endpoint, Process
from evstore.processes.kernels.executions import Executions
from evstore.processes.kernels.launch_context import LaunchContext
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.pump import Pump
from evstore.processes.ws_close_codes import FINAL

logger = logging.getLogger(__name__)

POLL = 0.5  # seconds between looks at the process
STABLE = 10.0  # seconds after which a kernel counts as up, and earlier deaths are forgotten
MAX_DEATHS = 5  # in a row, until it is left dead
MAX_UNSEEN = 60  # looks in a row that failed, until it counts as dead
ECHO = 0.05  # seconds in which the last messages of an ended process arrive


class Kernel:
    """A kernel that has an id, and a process that may change. All changes take turns."""

    def __init__(
        self,
        kernel_id: str,
        name: str,
        pump: Pump,
        process: Process,
        place: LaunchContext,
        ended: Callable[[Kernel], None],
        metadata: Mapping[str, object] | None = None,
        actions: Actions | None = None,
    ) -> None:
        self.id = kernel_id
        self.name = name
        self.metadata = metadata or {}  # its kernelspec's
        self.is_ending = False  # somebody has asked for its end
        self._pump = pump
        self._process = process
        self._place = place
        self._ended = ended  # called once, when it is over
        self._actions = actions or Actions()
        self._turn = asyncio.Lock()
        self._is_over = False
        self._deaths = 0
        self._unseen = 0  # looks in a row that failed
        self._is_unseen_told = False
        self._launched_at = 0.0
        self._launching: asyncio.Future[Endpoint] | None = None
        self._warm_up: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """starting, idle, busy, restarting or dead."""
        return self._pump.activity.state

    @property
    def is_over(self) -> bool:
        """Whether it has ended: it does not come back."""
        return self._is_over

    @property
    def is_launching(self) -> bool:
        """Whether its process is just being started: for the first time, or again."""
        return self._launching is not None

    @property
    def last_activity(self) -> datetime:
        return self._pump.activity.at

    @property
    def folder(self) -> Path:
        """Where it runs."""
        return self._place.folder()

    @property
    def connections(self) -> int:
        """How many websockets are open."""
        return self._pump.connections

    @property
    def executions(self) -> Executions:
        """What clients have asked for, and what came of it."""
        return self._pump.executions

    @property
    def limits(self) -> Limits:
        """How much of its output is kept for those who are not there."""
        return self._pump.limits

    @property
    def kept(self) -> tuple[int, int]:
        """Bytes of output that wait for clients or documents: in memory, and on disk."""
        return self._pump.kept

    def connect(self, session: str, link: Link) -> Client:
        """A client has opened a websocket."""
        if self._is_over:  # since the client asked for it
            link.close(FINAL, "The kernel has ended.")
        return self._pump.connect(session, link)

    def disconnect(self, client: Client, link: Link, *, for_good: bool = False) -> None:
        """The websocket of this client has been closed, by itself if it is `for_good`."""
        self._pump.disconnect(client, link, for_good=for_good)

    def follow(self, old_path: str, new_path: str, name: str) -> None:
        """The session is about another path, or has another name. The running process can't be told, but
        the next one is."""
        if self._place.path == old_path:
            self._place.path = ContentPath.parse(new_path)
            self._place.session = name

    async def start(self) -> None:
        """Launch the process; returns before the kernel answers. Raises CannotStart."""
        async with self._turn:
            try:
                await self._launch()
            except BaseException:
                await self._finish(FINAL, "The kernel could not be started.")
                raise
            self._watch = asyncio.create_task(self._look_after())

    async def interrupt(self) -> None:
        """Interrupt what it runs. One that is starting runs nothing, and the signal would end it."""
        with self._telling("interrupt"):
            async with self._turn:
                self._check_alive()
                if self._pump.is_ready:
                    await self._process.interrupt()

    async def restart(self) -> None:
        """Stop the process and launch another; returns before that answers.

        Raises CannotRestart, and NotFound when the kernel was shut down before or meanwhile.
        """
        with self._telling("restart"):
            async with self._turn:
                await self._restart()

    async def stop(self, code: int = FINAL, reason: str = "The kernel was shut down.") -> bool:
        """End the kernel, and its websockets with this code. Returns when it is over.

        The result is whether this call has ended it: False when it was over, or being ended, already.
        Raises GatewayError when a gateway can't be told; then it runs on.
        """
        is_first = not (self.is_ending or self._is_over)
        self.is_ending = True
        if self._launching is not None:
            self._launching.cancel()  # or it may take as long as it likes
        with self._telling("shutdown") if is_first else contextlib.nullcontext():
            async with self._turn:
                await self._stop(code, reason)
        return is_first

    async def settled(self) -> bool:
        """Wait until it has been started, restarted or stopped, if it is being. Returns whether it lives."""
        async with self._turn:
            return not self._is_over

    async def abandon(self, code: int, reason: str) -> None:
        """End what is here of a kernel that could not be stopped."""
        async with self._turn:
            if not self._is_over:
                await self._finish(code, reason)

    def _telling(self, action: str) -> contextlib.AbstractContextManager[None]:
        return self._actions.telling(action, self.name, self.id)

    # inside: always with the turn taken

    async def _restart(self) -> None:
        self._check_alive()
        state, self._pump.activity.state = self.state, RESTARTING
        try:
            await self._process.stop(restart=True)
        except EvstoreError:  # it runs on
            self._pump.activity.state = state
            raise
        self._deaths = 0
        await self._let_go()
        try:
            await self._launch_again()
        except CannotStart as error:
            if self.is_ending:
                self._check_alive()
            raise CannotRestart(error.message, short_message=error.short_message) from error

    async def _stop(self, code: int, reason: str) -> None:
        if self._is_over:
            return
        try:
            await self._process.stop()
        except EvstoreError:
            self.is_ending = False
            raise
        await self._finish(code, reason)

    def _check_alive(self) -> None:
        if self._is_over:
            raise NotFound(f"Kernel does not exist: {self.id}")

    async def _launch(self) -> None:
        if self.is_ending:
            raise CannotStart("The kernel was shut down meanwhile.")
        self._launching = asyncio.ensure_future(self._process.launch(self._place))
        try:
            endpoint = await self._launching
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is None or this.cancelling():
                raise
            raise CannotStart("The kernel was shut down while it was starting.") from None
        finally:
            self._launching = None
        self._pump.activity.at = datetime.now(UTC)  # until now nobody could use it
        self._pump.attach(endpoint)
        self._warm_up = asyncio.create_task(self._pump.warm_up())
        self._launched_at = asyncio.get_running_loop().time()

    async def _launch_again(self) -> None:
        try:
            await self._launch()
        except CannotStart:
            self._pump.announce(DEAD)
            await self._finish(FINAL, "The kernel could not be started again.")
            raise

    async def _let_go(self) -> None:
        """The process has ended: take its last messages, and drop its sockets."""
        if self._warm_up is not None:
            self._warm_up.cancel()
        await asyncio.sleep(ECHO)
        self._pump.detach()

    async def _finish(self, code: int, reason: str) -> None:
        self._is_over = True
        await self._let_go()
        self._ended(self)
        self._pump.close(code, reason)
        if self._watch is not None and self._watch is not asyncio.current_task():
            self._watch.cancel()

    async def _look_after(self) -> None:
        """Notice when the process dies, and start it again."""
        while not self._is_over:
            await asyncio.sleep(POLL)
            self._pump.forget_the_lost()
            async with self._turn:
                if not self._is_over:
                    await self._look()

    async def _look(self) -> None:
        try:
            ended = await self._process.poll()
        except Exception as error:  # of a provisioner, which asks who knows what over who knows which network
            await self._look_failed(error)
            return
        self._unseen = 0
        if ended is not None:
            await self._revive(ended)
        elif asyncio.get_running_loop().time() - self._launched_at > STABLE:
            self._deaths = 0

    async def _look_failed(self, error: Exception) -> None:
        """It is looked at again, for it may well be there; but a kernel that nobody can see is of no use for long."""
        self._unseen += 1
        if not self._is_unseen_told:
            self._is_unseen_told = True
            logger.warning("Kernel %s (%s) can't be watched: %s", self.id, self.name, error)
        if self._unseen >= MAX_UNSEEN:
            why = f"it could not be watched {self._unseen} times in a row"
            logger.error("Kernel %s (%s) is given up: %s", self.id, self.name, why)
            await self._give_up("The kernel can't be watched.")

    async def _give_up(self, reason: str) -> None:
        with contextlib.suppress(EvstoreError):  # a gateway is away, and it is dead there
            await self._process.stop(now=True)
        self._pump.announce(DEAD)
        await self._finish(FINAL, reason)

    async def _revive(self, ended: Ended) -> None:
        self._deaths += 1
        words = f"; it said: {words}" if (words := self._process.last_words) else ""
        was_ready = self._pump.is_ready
        await self._let_go()
        await self._process.stop(now=True, restart=True)  # what it has left behind
        if ended.for_good:
            logger.warning("Kernel %s (%s) %s", self.id, self.name, ended.how)
            self._pump.announce(DEAD)
            await self._finish(FINAL, f"The kernel {ended.how}.")
            return
        if self._deaths > MAX_DEATHS:
            logger.error("Kernel %s (%s) keeps dying and is given up%s", self.id, self.name, words)
            await self._give_up("The kernel keeps dying.")
            return
        logger.warning("Kernel %s (%s) %s and is started again%s", self.id, self.name, ended.how, words)
        self._pump.announce(RESTARTING)
        if not was_ready:
            self._process.forget_ports()
        try:
            with self._telling("restart"):
                await self._launch_again()
        except CannotStart as error:
            if not self.is_ending:
                logger.error("Kernel %s (%s) is given up: %s", self.id, self.name, error.message)
