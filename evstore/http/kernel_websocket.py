"""A kernel client's websocket, as the pump sees it: framing, writing, and what has surely arrived.

A connection that breaks without a word (a laptop goes to sleep, a proxy gives up) takes what is
written to it for a minute or more, and loses it. So what was sent is kept until the client has
confirmed it: a ping is sent after it, and the pong says that all before has been received
(RFC 6455, 5.5.3). What is unconfirmed when the connection breaks is sent again to the client that
comes back; only what arrived in the last moments before is then there twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from aiohttp import WSMsgType, web

from evstore.core.units import MIB
from evstore.http.sockets import MAX_MESSAGE, PING
from evstore.processes.kernels import wire
from evstore.processes.ws_close_codes import FINAL, UNSUPPORTED

logger = logging.getLogger(__name__)

SILENCE = 3 * PING  # seconds after which a client that answers no ping is gone
CONFIRM = 0.05  # seconds until a confirmation of what was sent is asked for
MAX_UNCONFIRMED = 16 * MIB  # bytes; what is more is taken to have arrived
CLOSING = 2  # seconds that a client has to say goodbye
TEXT, BINARY, ASK = 0x81, 0x82, 0x89  # a whole message in one frame; a ping (RFC 6455, 5.2)


class SocketLink:
    """One websocket, from its opening to its end."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        assert request.transport is not None
        self._transport = request.transport
        self._protocol = request.protocol
        self._socket = socket
        self._is_v1 = socket.ws_protocol == wire.V1
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._unconfirmed: deque[bytes] = deque()
        self._unconfirmed_size = 0
        self._sent = 0  # frames
        self._asked = 0  # of how many frames confirmation was last asked for; 0: it was given
        self._asking: asyncio.TimerHandle | None = None
        self.has_left = False  # the client itself has closed, and wants no more
        self.closing: asyncio.Future[tuple[int, str]] = self._loop.create_future()  # code and reason

    def decode(self, data: str | bytes) -> wire.Message:
        """The message in what the client sent. Raises BadFrame."""
        if not self._is_v1:
            return wire.from_default(data)
        if isinstance(data, str):
            raise wire.BadFrame(f"{wire.V1} has no text frames.", code=UNSUPPORTED)
        return wire.from_v1(data)

    def encode(self, frame: bytes) -> str | bytes:
        """A v1 frame as the client reads it."""
        return frame if self._is_v1 else wire.to_default(frame)

    def write(self, frames: list[bytes]) -> bool:
        """Send v1 frames, translated for a client that does not speak it: one websocket message each.

        All in one write, for a write is a system call and a packet, and wakes up the other side;
        and at once, without aiohttp's coroutine for each message.
        """
        if self._transport.is_closing() or self._socket.closed:
            raise ConnectionResetError("The client is gone")
        messages = (self.encode(frame) for frame in frames)
        self._transport.write(b"".join(piece for message in messages for piece in _framed(message)))
        self._remember(frames)
        return not self._protocol.writing_paused

    async def drain(self) -> None:
        """Wait until the connection is not backed up any more.

        aiohttp waits for that after a frame of its own only, so this sends the smallest one: a
        pong that nobody asked for, which clients must ignore (RFC 6455, 5.5.3).
        """
        await self._socket.pong()

    def undelivered(self) -> list[bytes]:
        """The frames that were sent and may not have arrived, when the connection has broken."""
        return [] if self.has_left else list(self._unconfirmed)

    def close(self, code: int, reason: str) -> None:
        """Let the websocket be closed: the handler does it, in `say_goodbye`."""
        if not self.closing.done():
            self.closing.set_result((code, reason))

    async def say_goodbye(self) -> None:
        """Send our close frame and wait for the client's, for a while.

        Only whoever receives may do this: aiohttp hangs up at once when another task closes.
        """
        if self._asking is not None:
            self._asking.cancel()
        code, reason = self.closing.result() if self.closing.done() else (FINAL, "")
        try:
            async with asyncio.timeout(CLOSING):
                await self._socket.close(code=code, message=_short(reason))
        except TimeoutError:
            self._transport.abort()

    def heard(self) -> None:
        """The client is alive."""
        self._heard_at = self._loop.time()

    async def keep_alive(self) -> None:
        """Ping the client; proxies close connections on which nothing happens."""
        while self._loop.time() - self._heard_at < SILENCE:
            await asyncio.sleep(PING)
            with contextlib.suppress(ConnectionError):
                await self._socket.ping()
        self._transport.abort()

    def confirmed(self, payload: bytes) -> None:
        """A pong has come. Others than the one that was asked for mean nothing."""
        if not self._asked or payload != b"%d" % self._asked:
            return
        while len(self._unconfirmed) > self._sent - self._asked:
            self._unconfirmed_size -= len(self._unconfirmed.popleft())
        self._asked = 0
        self._ask_soon()

    def _remember(self, frames: list[bytes]) -> None:
        self._sent += len(frames)
        self._unconfirmed.extend(frames)
        self._unconfirmed_size += sum(map(len, frames))
        while self._unconfirmed_size > MAX_UNCONFIRMED:
            self._unconfirmed_size -= len(self._unconfirmed.popleft())
        self._ask_soon()

    def _ask_soon(self) -> None:
        if self._unconfirmed and not self._asked and self._asking is None:
            self._asking = self._loop.call_later(CONFIRM, self._ask)

    def _ask(self) -> None:
        self._asking = None
        if not self._transport.is_closing():
            self._asked = self._sent
            payload = b"%d" % self._asked
            self._transport.write(bytes((ASK, len(payload))) + payload)


def kernel_socket(*protocols: str) -> web.WebSocketResponse:
    """A websocket for `SocketLink`: frames wait for room whatever their size, and pongs are seen by the link."""
    return web.WebSocketResponse(
        protocols=protocols, compress=False, max_msg_size=MAX_MESSAGE, autoping=False, writer_limit=0
    )


async def attend(
    socket: web.WebSocketResponse,
    link: SocketLink,
    take: Callable[[str | bytes], None],
    leave: Callable[[], None],
) -> None:
    """Give `take` what the client sends, until it leaves or the link is to be closed; then `leave`, and close."""
    receiving = asyncio.create_task(_receive(socket, link, take))
    pinging = asyncio.create_task(link.keep_alive())
    try:
        await asyncio.wait((receiving, link.closing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        leave()
        pinging.cancel()
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await receiving
        await link.say_goodbye()


async def _receive(
    socket: web.WebSocketResponse, link: SocketLink, take: Callable[[str | bytes], None]
) -> None:
    while not link.closing.done():
        frame = await socket.receive()
        link.heard()
        match frame.type:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                _pass_on(frame.data, link, take)
            case WSMsgType.PING:
                with contextlib.suppress(ConnectionError):
                    await socket.pong(frame.data)
            case WSMsgType.PONG:
                link.confirmed(bytes(frame.data))
            case WSMsgType.CLOSE:
                link.has_left = True
                return
            case _:  # the connection is gone, or what came was no websocket frame
                return


def _pass_on(data: str | bytes, link: SocketLink, take: Callable[[str | bytes], None]) -> None:
    try:
        take(data)
    except wire.BadFrame as error:
        logger.warning("Bad frame on a kernel's websocket: %s", ascii(error.message)[1:300])
        if error.code is not None:
            link.close(error.code, error.message)


def _framed(message: str | bytes) -> tuple[bytes, bytes]:
    """A server's websocket frame for `message`: head and payload (RFC 6455, 5.2)."""
    kind, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
    size = len(payload)
    if size < 126:
        head = bytes((kind, size))
    elif size < 65536:
        head = bytes((kind, 126)) + size.to_bytes(2)
    else:
        head = bytes((kind, 127)) + size.to_bytes(8)
    return head, payload


def _short(reason: str) -> bytes:
    """A close frame has room for 123 bytes of reason."""
    return reason.encode()[:123].decode(errors="ignore").encode()
