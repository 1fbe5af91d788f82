"""What waits for somebody, and the link that takes it there, as fast as it can."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Generic, Protocol, TypeVar

from evstore.processes.kernels.outbox import Outbox

BATCH = 256 * 1024  # bytes of frames that are handed to the link at a time
FAREWELL = 2  # seconds that a client gets for its last messages


class Link(Protocol):
    """The way to a connected client: its websocket."""

    def write(self, frames: list[bytes]) -> bool:
        """Send v1 frames, in order. Returns whether there is room for more at once.

        Raises ConnectionError, with nothing sent, when the client is gone.
        """
        ...

    async def drain(self) -> None:
        """Wait until there is room. Raises ConnectionError when the client is gone."""
        ...

    def undelivered(self) -> list[bytes]:
        """The frames that were written and may not have arrived, when the link is lost."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begin to close the websocket."""
        ...


L = TypeVar("L", bound=Link)


class Delivery(Generic[L]):
    """An outbox, which outlives the links that it is emptied into one after the other."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.link: L | None = None
        self._draining: asyncio.Task[None] | None = None  # while the link is backed up

    def connect(self, link: L) -> L | None:
        """Use this link from now on. Returns the link that it replaces, if that was still there."""
        replaced = self.disconnect(self.link)
        self.link = link
        self.flush()
        return replaced

    def disconnect(self, link: L | None) -> L | None:
        """The link is gone; what may not have arrived waits for the next one.

        Returns it, or None when another one has replaced it already.
        """
        if link is None or link is not self.link:
            return None
        if self._draining is not None:
            self._draining.cancel()
        self._draining = self.link = None
        self.outbox.put_back(link.undelivered())
        return link

    def put(self, frame: bytes, *, is_output: bool = False) -> None:
        """A v1 frame, to be sent with the next `flush`."""
        self.outbox.put(frame, is_output=is_output)

    def flush(self) -> None:
        """Send what is in the outbox, as much as the link takes; the rest follows by itself."""
        link = self.link
        if link is None or self._draining is not None:
            return
        while frames := self.outbox.take(BATCH):
            try:
                has_room = link.write(frames)
            except ConnectionError:  # its handler will notice, too
                self.outbox.put_back(frames)
                return
            if not has_room:
                self._draining = asyncio.create_task(self._drain(link))
                return

    async def finish(self, code: int, reason: str) -> None:
        """Bring the last messages to the client, for a while, and close the link."""
        link = self.link
        if link is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while self._draining is not None and not self._draining.done():
                    await asyncio.wait((self._draining,))
        link.close(code, reason)

    async def _drain(self, link: L) -> None:
        """Wait until the link has room again, and go on."""
        try:
            await link.drain()
        except ConnectionError:
            return  # and leave it so: nothing more can be sent
        self._draining = None
        self.flush()
