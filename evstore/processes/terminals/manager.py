"""All terminals of the server."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from evstore.config import Config
from evstore.core.errors import Invalid, NotFound, Stopping
from evstore.processes import child_env
from evstore.processes.terminals.shell import Shell, login_shell
from evstore.processes.terminals.terminal import Terminal
from evstore.processes.working_dir import nearest_folder
from evstore.processes.ws_close_codes import FINAL, RESTART
from evstore.runtime.background import every

logger = logging.getLogger(__name__)

NAME = re.compile(r"\w{1,100}")  # as in jupyter_server_terminals' routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an operator can choose."""

    enabled: bool
    command: Sequence[str]  # of the shell; empty: the user's own
    cull_idle_timeout: float  # seconds without activity after which a terminal is ended; 0: never
    cull_interval: float  # seconds between looks for such

    @classmethod
    def of(cls, config: Config) -> Options:
        return cls(
            enabled=config.terminals,
            command=config.terminal_shell,
            cull_idle_timeout=config.terminal_cull_idle_timeout,
            cull_interval=config.terminal_cull_interval,
        )


class Terminals:
    """Starts terminals and knows the running ones by name."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.enabled = options.enabled
        self._last_activity = datetime.now(UTC)  # of those that have ended
        self._folder = folder
        self._options = options
        self._terminals: dict[str, Terminal] = {}
        self._starting = asyncio.Lock()
        self._is_closed = False
        self._left: list[Shell] = []  # shells that have ended while something that they started goes on
        self._tasks: set[asyncio.Task[None]] = set()

    def all(self) -> list[Terminal]:
        """The running terminals, the oldest first. Raises NotFound where there are none."""
        self._check_enabled()
        return list(self._terminals.values())

    def get(self, name: str) -> Terminal:
        """The terminal of this name. Raises NotFound."""
        self._check_enabled()
        terminal = self._terminals.get(name)
        if terminal is None:
            raise NotFound(f"Terminal not found: {name}")
        return terminal

    @property
    def running(self) -> int:
        """How many there are."""
        return len(self._terminals)

    @property
    def connections(self) -> int:
        """How many websockets look at them."""
        return sum(terminal.connections for terminal in self._terminals.values())

    @property
    def last_activity(self) -> datetime:
        """When one was last used; at first, when the server was started."""
        return max([self._last_activity, *(each.last_activity for each in self._terminals.values())])

    async def start(self, name: str | None = None, *, cwd: str = "", url: str = "") -> Terminal:
        """Start a terminal, or return the running one of that name; without a name, 1, 2, 3...

        The shell starts in `cwd`, an API path or an absolute one on the disk: in the nearest folder at or
        above it that exists, and never outside the served folder. `url` is told it as the server's address.
        Raises Invalid for a name that can't be in an address, CannotStart.
        """
        self._check_enabled()
        if name is not None and not NAME.fullmatch(name):
            raise Invalid(f"{name!r:.120} can't be a terminal's name: letters, digits and _ are possible.")
        async with self._starting:
            name = name or self._next_name()
            if name in self._terminals:
                return self._terminals[name]
            shell = await self._start_shell(self._place(cwd), url)
            terminal = self._terminals[name] = Terminal(name, shell, self._exited)
        logger.info("Terminal %s started", name)
        return terminal

    async def end(self, name: str) -> None:
        """End a terminal, its shell, and all that was started from it. Raises NotFound."""
        await self._end(self.get(name), FINAL, "The terminal was closed.")

    async def cull(self) -> None:
        """For as long as the server runs, end what nobody uses; return at once when that is off.

        The meaning of both times is jupyter_server_terminals'.
        """
        if self._options.cull_idle_timeout > 0:
            await every(self._options.cull_interval, self._cull_once)

    async def close(self) -> None:
        """The server stops: end all, and all that ended shells have left behind."""
        self._is_closed = True
        async with self._starting:  # the one that is just being started, too
            for terminal in list(self._terminals.values()):
                self._start_ending(terminal, RESTART, "The server is stopping.")
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*map(_end_shell, self._left))

    # -- inside ------------------------------------------------------------------------

    async def _cull_once(self) -> None:
        longest, now = timedelta(seconds=self._options.cull_idle_timeout), datetime.now(UTC)
        for terminal in list(self._terminals.values()):
            if now - terminal.last_activity > longest:
                self._start_ending(terminal, FINAL, "Nobody has used the terminal for long.")

    def _check_enabled(self) -> None:
        if not self.enabled:
            raise NotFound("This server has no terminals: it was started with --no-terminals.")

    def _next_name(self) -> str:
        return next(name for name in map(str, count(1)) if name not in self._terminals)

    def _place(self, cwd: str) -> Path:
        path = PurePosixPath(cwd)
        if path.is_absolute():  # for the disk, or in the API's way with a slash before it
            root = self._folder.resolve()
            path = path.relative_to(root) if path.is_relative_to(root) else path.relative_to("/")
        return nearest_folder(self._folder, path.parts)

    async def _start_shell(self, folder: Path, url: str) -> Shell:
        if self._is_closed:
            raise Stopping
        variables = child_env.for_programs(JUPYTER_SERVER_ROOT=str(self._folder), JUPYTER_SERVER_URL=url)
        command = self._options.command or login_shell()
        starting = asyncio.create_task(asyncio.to_thread(Shell.start, command, folder, variables))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await _end_shell(await starting)
            raise

    async def _end(self, terminal: Terminal, code: int, reason: str) -> None:
        await asyncio.shield(self._start_ending(terminal, code, reason))  # to its end, once it has begun

    def _start_ending(self, terminal: Terminal, code: int, reason: str) -> asyncio.Task[None]:
        logger.info("Terminal %s ends: %s", terminal.name, reason)
        self._forget(terminal)
        terminal.stop(code, reason)
        return self._go_on_with(_end_shell(terminal.shell))

    def _exited(self, terminal: Terminal) -> None:
        """The shell has left by itself."""
        logger.info("Terminal %s: its shell has ended", terminal.name)
        self._forget(terminal)
        self._go_on_with(self._tidy(terminal.shell))

    def _forget(self, terminal: Terminal) -> None:
        self._last_activity = max(self._last_activity, terminal.last_activity)
        del self._terminals[terminal.name]

    def _go_on_with(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _tidy(self, shell: Shell) -> None:
        """What an ended shell has left running goes on, as on any terminal, until the server stops."""
        self._left.append(shell)
        for each in list(self._left):
            if not await each.has_left_others():
                with suppress(ValueError):  # somebody else has just done so
                    self._left.remove(each)
                    each.close()


async def _end_shell(shell: Shell) -> None:
    await shell.end()
    shell.close()
