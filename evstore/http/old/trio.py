"""The websockets of one old client at one kernel, which the pump sees as one link.

A client of IPython 2 opens three: it sends on `shell`, hears output on `iopub`, and is asked for input on `stdin`.
They belong together when they name the same session; the kernel's answers go by channel. What comes for a
channel that is not open (yet, or again) waits for it, `ROOM` bytes of it; then the oldest goes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

import orjson
from aiohttp import web

from evstore.http.link import SocketLink
from evstore.kernels import dialect
from evstore.kernels.client import FINAL, REPLACED, Client
from evstore.kernels.kernel import Kernel
from evstore.kernels.wire import Message, from_v1, to_v1

GRACE = 1.0  # seconds in which a client says its session, and opens the rest of its websockets
ROOM = 1024 * 1024  # bytes for each channel that is not open
DEAD = to_v1("iopub", [b'{"msg_type":"status"}', b"{}", b"{}", orjson.dumps({"execution_state": "dead"})])


class OldLink(SocketLink):
    """One of the three websockets: JSON texts in the protocol that the client speaks."""

    version = 4

    def encode(self, frame: bytes) -> str | bytes:
        return dialect.to_old(frame, version=self.version)


class Waiting:
    """Frames for a channel that is not open, the latest of them."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._size = 0

    def put(self, frames: Sequence[bytes]) -> None:
        self._frames.extend(frames)
        self._size += sum(map(len, frames))
        while self._size > ROOM and len(self._frames) > 1:
            self._size -= len(self._frames.popleft())

    def take(self) -> list[bytes]:
        frames = list(self._frames)
        self._frames.clear()
        self._size = 0
        return frames


class Trio:
    """Up to three websockets of one session, and its client at the kernel (a Link of evstore/kernels/client.py)."""

    def __init__(self, kernel: Kernel, session: str, ended: Callable[[], None]) -> None:
        self.session = session
        self._kernel = kernel
        self._ended = ended  # called when the last websocket has gone
        self._links: dict[str, OldLink] = {}
        self._waiting = {channel: Waiting() for channel in dialect.CHANNELS}
        self._client: Client | None = None
        self._early: list[Message] = []  # what the client sends before it is connected
        self._timer: asyncio.TimerHandle | None = None
        self._version = OldLink.version

    # the websockets' side

    def join(self, channel: str, link: OldLink) -> None:
        """A websocket has been opened. The kernel is connected when output can be heard, or nobody waits for it."""
        if replaced := self._links.get(channel):
            self._waiting[channel].put(replaced.undelivered())
            replaced.close(REPLACED, "Replaced by a newer connection of the same session.")
        self._links[channel] = link
        link.version = self._version
        self._send(channel, self._waiting[channel].take())
        if channel == "iopub":
            self._connect()
        elif self._client is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GRACE, self._connect)

    def leave(self, channel: str, link: OldLink) -> None:
        """A websocket is gone, perhaps because a newer one has its place."""
        if self._links.get(channel) is not link:
            return
        del self._links[channel]
        self._waiting[channel].put(link.undelivered())
        if self._links:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._client is not None:
            self._kernel.disconnect(self._client, self)
        self._ended()

    def receive(self, message: Message, version: int) -> None:
        """A message from the client, which shows what it speaks."""
        self._version = version
        for link in self._links.values():
            link.version = version
        if self._client is None:
            self._early.append(message)
        else:
            self._client.receive(message)

    def _connect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._client is not None or not self._links:
            return
        self._client = self._kernel.connect(self.session, self)
        for message in self._early:
            self._client.receive(message)
        self._early.clear()

    # the pump's side

    def write(self, frames: list[bytes]) -> bool:
        """Send v1 frames, each on its channel. Returns whether all of them have room for more."""
        if not self._links:
            raise ConnectionResetError("The client is gone")
        by_channel: dict[str, list[bytes]] = {}
        for frame in frames:
            by_channel.setdefault(from_v1(frame).channel, []).append(frame)
        rooms = [self._send(channel, some) for channel, some in by_channel.items()]
        return all(rooms)

    async def drain(self) -> None:
        """Wait until every websocket has room."""
        for link in list(self._links.values()):
            with contextlib.suppress(ConnectionError):
                await link.drain()

    def undelivered(self) -> list[bytes]:
        """What may not have arrived, when all are gone."""
        return [frame for waiting in self._waiting.values() for frame in waiting.take()]

    def close(self, code: int, reason: str) -> None:
        """Close all. A kernel that is gone for good is said to be dead, as clients of that time expect."""
        if code == FINAL and (iopub := self._links.get("iopub")) is not None:
            with contextlib.suppress(ConnectionError):
                iopub.write([DEAD])
        for link in self._links.values():
            link.close(code, reason)

    def _send(self, channel: str, frames: list[bytes]) -> bool:
        """Returns whether there is room for more. What can't be sent waits for the next websocket."""
        link, waiting = self._links.get(channel), self._waiting.get(channel)
        if waiting is None or not frames:  # old clients know no control channel, and ask nothing there
            return True
        if link is not None:
            with contextlib.suppress(ConnectionError):
                return link.write(frames)
        waiting.put(frames)
        return True


TRIOS: web.AppKey[dict[tuple[str, str], Trio]] = web.AppKey("trios")
