"""The websocket to one remote kernel, which is made anew when it breaks.

While it is broken, what clients send waits here and in their queues, and the gateway keeps what the
kernel says for the next websocket of the same session. Whether that is all of it nobody can know: what
was on its way is lost without a trace. `losses.py` finds out what matters, and tells those who wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import ClientConnectionError, ClientWebSocketResponse, WSMessage, WSMsgType

from evstore.core.errors import GatewayError, NotFound
from evstore.core.units import MIB
from evstore.processes.gateway.api import Gateway, acknowledge
from evstore.processes.gateway.reconnect_fence import STATUS, ReconnectFence
from evstore.processes.gateway.requests import Request, Requests
from evstore.processes.kernels import wire
from evstore.processes.kernels.endpoint import AllReceived, Ended, Published, Replied
from evstore.processes.kernels.messages import BadMessage
from evstore.processes.kernels.wire import CLIENT_CHANNELS, BadFrame, Message

logger = logging.getLogger(__name__)

QUEUE = 16 * MIB  # bytes that wait for the websocket; more waits with the clients
FIRST_RETRY = 0.1  # seconds; twice as many each time,
LAST_RETRY = 10.0  # and not more than these; a connection that has stood longer was a good one
LOOK = 10.0  # seconds between looks whether the kernel is still there: no gateway says that it was culled
PATIENCE = 3.0  # seconds until the running cell is told that the gateway is away
LOST = Ended(
    "is gone from its gateway: culled or shut down there, or the gateway was started again", for_good=True
)
DIED = Ended("died at the gateway")
DEATHS = (b'"restarting"', b'"dead"')  # what a gateway says, in a kernel's name, when its process has ended


@dataclass(frozen=True, slots=True)
class RemoteChannels:
    """One client's channels: a share of the connection."""

    connection: Connection
    replied: Replied

    def send(self, message: Message) -> bool:
        return self.connection.send(message, self.replied)

    def drain(self) -> None: ...

    def close(self) -> None:
        self.connection.forget(self.replied)


class Connection:
    """An `Endpoint` of a remote kernel, and its one `Subscription`."""

    def __init__(self, gateway: Gateway, remote_id: str, kernel_id: str) -> None:
        self._gateway = gateway
        self._remote_id = remote_id
        self._kernel_id = kernel_id  # ours
        self._session = uuid.uuid4().hex  # another one would be told what the process before has said
        self._requests = Requests()
        self._losses = ReconnectFence(kernel_id, self._requests, self._enqueue, self._put_out)
        self._queue: deque[tuple[Message, Request | None]] = deque()
        self._queued = 0  # bytes
        self._wake = asyncio.Event()  # there is something to send
        self._socket: ClientWebSocketResponse | None = None
        self._published: Published = lambda _parts: None
        self._listeners: dict[object, AllReceived] = {}
        self._flushing = False
        self._task: asyncio.Task[None] | None = None
        self.ended: Ended | None = None

    # for the pump and its clients

    def subscribe(self, published: Published, all_received: AllReceived) -> Connection:
        """An `Endpoint`'s: connect, and stay connected."""
        self._published = published
        self._listeners[self] = all_received
        self._task = asyncio.create_task(self._stay_connected())
        return self

    def open(self, replied: Replied, all_received: AllReceived) -> RemoteChannels:
        """An `Endpoint`'s."""
        self._listeners[replied] = all_received
        return RemoteChannels(self, replied)

    def send(self, message: Message, replied: Replied) -> bool:
        """Queue a message for the gateway; False while that is away, or slow."""
        if self._socket is None or self._queued > QUEUE:
            return False
        self._enqueue(message, replied)
        return True

    def _enqueue(self, message: Message, replied: Replied) -> None:
        self._queue.append((message, self._requests.add(message, replied)))
        self._queued += _size(message)
        self._wake.set()

    def forget(self, replied: Replied) -> None:
        """A client's channels are closed."""
        self._listeners.pop(replied, None)
        self._requests.forget(replied)

    def drain(self) -> None: ...

    def close(self) -> None:
        """Hang up, for good."""
        if self._task is not None:
            self._task.cancel()
        self._task = self._socket = None
        self._losses.stop()
        self._listeners.clear()

    # connecting

    async def _stay_connected(self) -> None:
        broken_at: float | None = None
        retry = FIRST_RETRY
        loop = asyncio.get_running_loop()
        notice: asyncio.TimerHandle | None = None
        while self.ended is None:
            why = ""
            try:
                if broken_at is not None:
                    await self._gateway.look_at(self._remote_id)
                async with self._gateway.channels(self._remote_id, self._session) as socket:
                    if notice is not None:
                        notice.cancel()
                    self._connected(socket, None if broken_at is None else loop.time() - broken_at)
                    broken_at, connected_at = None, loop.time()
                    why = await self._exchange(socket)
                    if loop.time() - connected_at > LAST_RETRY:
                        retry = FIRST_RETRY
            except NotFound:
                self.ended = LOST
            except GatewayError as error:
                why = error.message
            finally:
                self._socket = None
                self._losses.stop()
            if self.ended is not None:
                return
            if broken_at is None:
                broken_at = loop.time()
                logger.warning("The connection to kernel %s at its gateway broke: %s", self._kernel_id, why)
                notice = loop.call_later(
                    PATIENCE, self._losses.tell_cell, "the gateway is away; waiting for it."
                )
            await asyncio.sleep(retry * random.uniform(0.8, 1.2))
            retry = min(2 * retry, LAST_RETRY)

    def _connected(self, socket: ClientWebSocketResponse, away: float | None) -> None:
        self._socket = socket
        self._wake.set()
        if away is None:
            return
        logger.warning("The connection to kernel %s is back after %.1f s", self._kernel_id, away)
        self._losses.came_back(away)

    async def _exchange(self, socket: ClientWebSocketResponse) -> str:
        """Send and receive until the websocket is closed. Returns why it was."""
        helpers = (
            asyncio.create_task(self._write(socket)),
            asyncio.create_task(self._look_now_and_then(socket)),
        )
        try:
            while self.ended is None:
                frame = await socket.receive()
                if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    return _reason(frame, socket)
                self._take(frame.data, is_v1=socket.protocol == wire.V1)
            return ""
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _write(self, socket: ClientWebSocketResponse) -> None:
        """Send what is queued, as long as the connection stands."""
        is_v1 = socket.protocol == wire.V1
        with suppress(ClientConnectionError):  # whoever receives notices it, too
            while True:
                while self._queue:
                    message, request = self._queue[0]
                    frame = wire.to_v1(message.channel, message.parts)
                    if is_v1:
                        await socket.send_bytes(frame)
                    elif isinstance(text := wire.to_default(frame), str):
                        await socket.send_str(text)
                    else:
                        await socket.send_bytes(text)
                    if request is not None:
                        request.is_sent = True
                    self._queue.popleft()
                    self._queued -= _size(message)
                self._wake.clear()
                await self._wake.wait()

    async def _look_now_and_then(self, socket: ClientWebSocketResponse) -> None:
        while self.ended is None:
            await asyncio.sleep(LOOK)
            try:
                await self._gateway.look_at(self._remote_id)
            except NotFound:
                self._end(LOST)
                await socket.close()
            except GatewayError as error:
                logger.debug("Kernel %s could not be looked at: %s", self._kernel_id, error.message)

    # receiving

    def _take(self, data: str | bytes, *, is_v1: bool) -> None:
        """A frame came from the gateway."""
        try:
            message = wire.from_v1(data) if is_v1 and isinstance(data, bytes) else wire.from_default(data)
            if message.channel == "iopub":
                self._take_output(message.parts)
            elif message.channel in CLIENT_CHANNELS:
                self._requests.route(message)
        except (BadFrame, BadMessage) as error:
            logger.warning("%s It came from the gateway for kernel %s", error, self._kernel_id)
            return
        self._flush_soon()

    def _take_output(self, parts: list[bytes]) -> None:
        is_status = len(parts[3]) < STATUS and parts[1] == b"{}"
        if is_status and any(death in parts[3] for death in DEATHS):
            self._end(DIED)
            return
        self._losses.heard(parts)
        self._published(parts)

    def _put_out(self, parts: list[bytes]) -> None:
        """Publish something that the kernel has not said."""
        self._published(parts)
        self._flush_soon()

    def _end(self, ended: Ended) -> None:
        """The process has ended, as the kernel's `poll` will tell."""
        self.ended = ended
        self._socket = None

    def _flush_soon(self) -> None:
        """Let the clients write when all that has arrived was taken."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._socket is not None:
            acknowledge(self._socket)
        for all_received in list(self._listeners.values()):
            all_received()


def _size(message: Message) -> int:
    return sum(map(len, message.parts))


def _reason(frame: WSMessage, socket: ClientWebSocketResponse) -> str:
    if frame.type == WSMsgType.ERROR:
        return f"{type(frame.data).__name__}"
    return f"closed with code {socket.close_code}"
