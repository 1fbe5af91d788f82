"""One client of a terminal: what it has not been sent yet, and how much of the terminal it can show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

FULL = 128 * 1024  # characters that may wait for a client; then the terminal is not read for a while


class Viewer:
    """Output waits here until the client has taken what came before it."""

    def __init__(self, taken: Callable[[], None]) -> None:
        self.size: tuple[int, int] | None = None  # rows and columns, when it has told
        self.taken_at = 0.0  # on the event loop's clock
        self.over: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._taken = taken
        self._pieces: list[str] = []
        self._waiting = 0
        self._wake = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return self._waiting >= FULL

    def put(self, text: str) -> None:
        """There is more output."""
        self._pieces.append(text)
        self._waiting += len(text)
        self._wake.set()

    def end(self, code: int, reason: str) -> None:
        """After what waits comes no more; the connection is to be closed with this code."""
        if not self.over.done():
            self.over.set_result((code, reason))
            self._wake.set()

    async def take(self) -> str:
        """All that waits, as soon as there is something; "" when it is over."""
        self.taken_at = asyncio.get_running_loop().time()
        while not self._pieces and not self.over.done():
            self._wake.clear()
            await self._wake.wait()
        text = "".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        self._taken()
        return text
