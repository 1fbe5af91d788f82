"""The websocket of a kernel: its four channels, in both framings, for one client.

Everything that is no websocket is in `evstore/kernels/pump.py`. Close codes: 1000 when the kernel
is gone for good, 1012 when the server stops, 4001 when the same session has connected again,
1003 and 1007 for frames that no kernel client sends, 1013 for a client that sends too much.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid

from aiohttp import WSMsgType, web

from evstore.errors import Invalid
from evstore.http.services import SERVICES, services
from evstore.http.sockets import MAX_MESSAGE, PING
from evstore.kernels import wire
from evstore.kernels.client import FINAL, Client

logger = logging.getLogger(__name__)

SILENCE = 3 * PING  # seconds after which a client that answers no ping is gone
CLOSING = 2  # seconds that a client has to say goodbye
UNSUPPORTED = 1003
TEXT, BINARY = 0x81, 0x82  # a whole message in one frame (RFC 6455, 5.2)


async def channels(request: web.Request) -> web.StreamResponse:
    """GET /api/kernels/{id}/channels: until the client leaves, the kernel ends or the server stops."""
    kernel = services(request).kernels.get(request.match_info["kernel_id"])
    # Frames wait for room whatever their size (writer_limit), and pongs are seen by us, not by aiohttp
    socket = web.WebSocketResponse(
        protocols=(wire.V1,), compress=False, max_msg_size=MAX_MESSAGE, autoping=False, writer_limit=0
    )
    if not socket.can_prepare(request):
        raise Invalid("This address is for websockets.")
    await socket.prepare(request)
    link = SocketLink(request, socket)
    client = kernel.connect(request.query.get("session_id") or uuid.uuid4().hex, link)
    receiving = asyncio.create_task(_receive(socket, link, client))
    pinging = asyncio.create_task(link.keep_alive())
    try:
        await asyncio.wait((receiving, link.closing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        kernel.disconnect(client, link)
        pinging.cancel()
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await receiving
        await link.say_goodbye()
    return socket


async def close_kernels(app: web.Application) -> None:
    """The server stops: stop the kernels, and tell their pages to come back later."""
    await app[SERVICES].kernels.close()


async def _receive(socket: web.WebSocketResponse, link: SocketLink, client: Client) -> None:
    """Pass on what the client sends, until it leaves."""
    async for frame in socket:
        link.heard()
        match frame.type:
            case WSMsgType.PING:
                with contextlib.suppress(ConnectionError):
                    await socket.pong(frame.data)
            case WSMsgType.TEXT | WSMsgType.BINARY:
                try:
                    message = link.decode(frame.data)
                    wire.check(message)
                except wire.BadFrame as error:
                    logger.warning("Bad frame on a kernel's websocket: %s", ascii(error.message)[1:300])
                    if error.code is not None:
                        link.close(error.code, error.message)
                else:
                    client.receive(message)
            case _:
                pass
        if link.closing.done():
            break


class SocketLink:
    """A websocket as the pump sees it."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        assert request.transport is not None
        self._transport = request.transport
        self._protocol = request.protocol
        self._socket = socket
        self._is_v1 = socket.ws_protocol == wire.V1
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self.closing: asyncio.Future[tuple[int, str]] = self._loop.create_future()  # code and reason

    def decode(self, data: str | bytes) -> wire.Message:
        """The message in what the client sent. Raises BadFrame."""
        if not self._is_v1:
            return wire.from_default(data)
        if isinstance(data, str):
            raise wire.BadFrame(f"{wire.V1} has no text frames.", code=UNSUPPORTED)
        return wire.from_v1(data)

    def write(self, frames: list[bytes]) -> bool:
        """Send v1 frames, translated for a client that does not speak it: one websocket message each.

        All in one write, for a write is a system call and a packet, and wakes up the other side;
        and at once, without aiohttp's coroutine for each message.
        """
        if self._transport.is_closing() or self._socket.closed:
            raise ConnectionResetError("The client is gone")
        messages = frames if self._is_v1 else [wire.to_default(frame) for frame in frames]
        self._transport.write(b"".join(piece for message in messages for piece in _framed(message)))
        return not self._protocol.writing_paused

    async def drain(self) -> None:
        """Wait until the connection is not backed up any more.

        aiohttp waits for that after a frame of its own only, so this sends the smallest one: a
        pong that nobody asked for, which clients must ignore (RFC 6455, 5.5.3).
        """
        await self._socket.pong()

    def close(self, code: int, reason: str) -> None:
        """Let the websocket be closed: the handler does it, in `say_goodbye`."""
        if not self.closing.done():
            self.closing.set_result((code, reason))

    async def say_goodbye(self) -> None:
        """Send our close frame and wait for the client's, for a while.

        Only whoever receives may do this: aiohttp hangs up at once when another task closes.
        """
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
