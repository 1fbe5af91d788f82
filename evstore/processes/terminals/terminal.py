"""One terminal: a shell, and the clients that look at it and type into it.

Output is read only as fast as the clients take it: when too much waits for one of them, the
pseudo-terminal is not read, it fills, and the program that prints has to wait, as on any terminal. A client
that takes nothing at all for a while is sent away when others wait for it; it may come back.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from evstore.processes.terminals.replay import RESET, Replay
from evstore.processes.terminals.shell import Shell
from evstore.processes.terminals.viewer import Viewer
from evstore.processes.ws_close_codes import FINAL, TRY_AGAIN_LATER

BURST = 64 * 1024  # bytes that are read before others get their turn on the event loop
ECHO = 0.05  # seconds in which the last output of an ended shell arrives
PATIENCE = 10.0  # seconds that a client may keep the others waiting


class Terminal:
    """A shell under a name."""

    def __init__(self, name: str, shell: Shell, exited: Callable[[Terminal], None]) -> None:
        self.name = name
        self.shell = shell
        self.last_activity = datetime.now(UTC)
        self._exited = exited  # called once, when the shell has closed its terminal
        self._loop = asyncio.get_running_loop()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._replay = Replay()
        self._viewers: list[Viewer] = []
        self._lost: deque[str] = deque(maxlen=32)  # whose connection has broken; they show an old screen
        self.is_over = False
        self._is_reading = False
        self._stalled: asyncio.TimerHandle | None = None
        self._typing = asyncio.Lock()  # what one client types is not mixed with what another does
        self._room: asyncio.Future[None] | None = None  # somebody waits until the shell takes more input
        self._go_on()
        if shell.exit_fd is not None:
            self._loop.add_reader(shell.exit_fd, self._shell_has_ended)

    @property
    def connections(self) -> int:
        """How many look at it."""
        return len(self._viewers)

    def connect(self, owner: str) -> Viewer:
        """A client looks at it from now on; what was printed lately comes first."""
        viewer = Viewer(self._go_on)
        viewer.taken_at = self._loop.time()
        if self.is_over:
            viewer.end(FINAL, "The terminal has ended.")
            return viewer
        if again := owner in self._lost:
            self._lost.remove(owner)
        if text := self._replay.text:
            viewer.put(RESET * again + text)  # or all would stand there twice
        self._viewers.append(viewer)
        return viewer

    def disconnect(self, viewer: Viewer, owner: str, *, has_left: bool) -> None:
        """The client has gone: it `has_left`, or its connection has broken."""
        if viewer in self._viewers:
            self._viewers.remove(viewer)
        if not has_left:
            self._lost.append(owner)
        if not self.is_over:
            self._fit()
            self._go_on()

    def resize(self, viewer: Viewer, rows: int, columns: int) -> None:
        """The client can show so much."""
        self._touch()
        viewer.size = (rows, columns)
        if not self.is_over:
            self._fit()

    async def type(self, text: str) -> None:
        """Type into the shell; returns when it has taken all of it."""
        self._touch()
        left = memoryview(text.encode())
        async with self._typing:
            while left and not self.is_over:
                try:
                    left = left[self.shell.write(left) :]
                except BlockingIOError:
                    await self._until_there_is_room()
                except OSError:  # nobody is there to read it; reading tells the rest
                    return

    def stop(self, code: int, reason: str) -> None:
        """Read no more, and let the clients know. The caller ends the shell."""
        if self.is_over:
            return
        self._read_rest()
        self.is_over = True
        self._pause()
        self._watch_no_more()
        self._give_way()
        if self._stalled is not None:
            self._stalled.cancel()
        for viewer in self._viewers:
            viewer.end(code, reason)

    # -- output ------------------------------------------------------------------------

    def _read(self) -> None:
        """Take what the shell has printed, up to a bound."""
        data = bytearray()
        is_at_end = False
        with contextlib.suppress(BlockingIOError):
            while len(data) < BURST and not is_at_end:
                piece = self.shell.read(BURST - len(data))
                data += piece
                is_at_end = not piece
        self._publish(self._decoder.decode(data, final=is_at_end))
        if is_at_end:
            self._leave()
        elif any(viewer.is_full for viewer in self._viewers):
            self._pause()

    def _shell_has_ended(self) -> None:
        self._watch_no_more()
        self._loop.call_later(ECHO, self._leave)

    def _watch_no_more(self) -> None:
        if self.shell.exit_fd is not None:
            self._loop.remove_reader(self.shell.exit_fd)

    def _leave(self) -> None:
        if not self.is_over:
            self.stop(FINAL, "The shell has ended.")
            self._exited(self)

    def _read_rest(self) -> None:
        """What it printed last may still be there."""
        data = bytearray()
        with contextlib.suppress(BlockingIOError):
            while len(data) < BURST and (piece := self.shell.read(BURST - len(data))):
                data += piece
        self._publish(self._decoder.decode(data, final=True))

    def _publish(self, text: str) -> None:
        if text:
            self._touch()
            self._replay.add(text)
            for viewer in self._viewers:
                viewer.put(text)

    def _pause(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self.shell.fd)
            self._stalled = self._loop.call_later(PATIENCE, self._look_who_stalls)

    def _go_on(self) -> None:
        """Read, unless somebody has too much waiting."""
        if not self._is_reading and not self.is_over and not any(v.is_full for v in self._viewers):
            self._is_reading = True
            self._loop.add_reader(self.shell.fd, self._read)
            if self._stalled is not None:
                self._stalled.cancel()

    def _look_who_stalls(self) -> None:
        """Send those away who take nothing, if others wait for them."""
        since = self._loop.time() - PATIENCE
        stalling = [each for each in self._viewers if each.is_full and each.taken_at <= since]
        if len(stalling) < len(self._viewers):
            for viewer in stalling:
                self._viewers.remove(viewer)
                viewer.end(TRY_AGAIN_LATER, "You took no output while others waited for it.")
            self._go_on()
        if not self._is_reading:
            self._stalled = self._loop.call_later(PATIENCE, self._look_who_stalls)

    # -- input and size ----------------------------------------------------------------

    async def _until_there_is_room(self) -> None:
        self._room = self._loop.create_future()
        self._loop.add_writer(self.shell.fd, self._give_way)
        try:
            await self._room
        finally:
            self._give_way()

    def _give_way(self) -> None:
        if self._room is not None:
            self._loop.remove_writer(self.shell.fd)
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    def _fit(self) -> None:
        """As large as the smallest client, in both directions: then everybody sees everything."""
        sizes = [viewer.size for viewer in self._viewers if viewer.size is not None]
        if sizes:
            rows, columns = zip(*sizes, strict=True)
            self.shell.resize(min(rows), min(columns))

    def _touch(self) -> None:
        self.last_activity = datetime.now(UTC)
