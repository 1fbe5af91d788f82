"""A kernel client for tests: jupyter_server's own framing over aiohttp's websocket client."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from jupyter_server.services.kernels.connection import base as reference

from tests.helpers import Server

V1 = "v1.kernel.websocket.jupyter.org"
PATIENCE = 60  # seconds until a message that does not come fails the test


@dataclass(frozen=True, slots=True)
class Message:
    """What came from the kernel."""

    channel: str
    header: dict[str, Any]
    parent: dict[str, Any]
    content: dict[str, Any]
    buffers: list[bytes]

    @property
    def type(self) -> str:
        return self.header["msg_type"]

    @property
    def text(self) -> str:
        """What a stream message prints."""
        return self.content["text"] if self.type == "stream" else ""

    @property
    def state(self) -> str:
        return self.content["execution_state"] if self.type == "status" else ""


class Closed(Exception):
    """The server has closed the websocket."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


@dataclass(slots=True)
class KernelClient:
    """A session at a kernel. `seen` keeps what was received."""

    socket: aiohttp.ClientWebSocketResponse
    session: str
    seen: list[Message] = field(default_factory=list)

    async def request(
        self,
        msg_type: str,
        content: dict[str, Any],
        *,
        channel: str = "shell",
        parent: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        buffers: Sequence[bytes] = (),
    ) -> str:
        """Send a message; returns its id."""
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": msg_type,
            "session": self.session,
            "username": "test",
            "date": datetime.now(UTC).isoformat(),
            "version": "5.3",
        }
        message = {"header": header, "parent_header": parent or {}, "metadata": metadata or {}}
        message["content"] = content
        if self.socket.protocol == V1:
            names = ("header", "parent_header", "metadata", "content")
            parts = [json.dumps(message[name]).encode() for name in names]
            await self.socket.send_bytes(reference.serialize_msg_to_ws_v1([*parts, *buffers], channel))
        elif buffers:
            binary = message | {"channel": channel, "buffers": list(buffers)}
            await self.socket.send_bytes(reference.serialize_binary_message(binary))
        else:
            await self.socket.send_json(message | {"channel": channel, "buffers": []})
        return header["msg_id"]

    async def execute(self, code: str, *, cell: str = "", **options: Any) -> str:
        """Ask for an execution, of a `cell` as JupyterLab names it; returns the request's id."""
        defaults = {"silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        content = defaults | {"code": code, "stop_on_error": True} | options
        metadata = {"cellId": cell, "deletedCells": [], "recordTiming": False} if cell else {}
        return await self.request("execute_request", content, metadata=metadata)

    async def receive(self) -> Message:
        """The next message. Raises Closed when the server closes."""
        frame = await asyncio.wait_for(self.socket.receive(), PATIENCE)
        match frame.type:
            case aiohttp.WSMsgType.TEXT:
                message = _read_default(json.loads(frame.data))
            case aiohttp.WSMsgType.BINARY if self.socket.protocol == V1:
                message = _read_v1(frame.data)
            case aiohttp.WSMsgType.BINARY:
                message = _read_default(reference.deserialize_binary_message(frame.data))
            case _:
                raise Closed(self.socket.close_code)
        self.seen.append(message)
        return message

    async def until(self, wanted: Callable[[Message], bool]) -> list[Message]:
        """All messages up to the first that is wanted."""
        messages = [await self.receive()]
        while not wanted(messages[-1]):
            messages.append(await self.receive())
        return messages

    async def done(self, request: str) -> list[Message]:
        """All messages until this execution's reply and its idle have come.

        Either may have come already, while something else was waited for: replies and output overtake each other.
        """
        missing = {"status", "execute_reply"}

        def is_last(message: Message) -> bool:
            if message.parent.get("msg_id") == request and message.state in ("", "idle"):
                missing.discard(message.type)
            return not missing

        if any(is_last(message) for message in self.seen):
            return []
        return await self.until(is_last)

    async def run(self, code: str, **options: Any) -> str:
        """What an execution prints."""
        request = await self.execute(code, **options)
        messages = await self.done(request)
        return "".join(one.text for one in messages if one.parent.get("msg_id") == request)

    async def leave(self) -> None:
        """Say goodbye, and read what was on the way until the server has heard it: `socket.close()` would throw that away."""
        await self.socket.send_frame((1000).to_bytes(2), aiohttp.WSMsgType.CLOSE)
        await self.closed()

    async def closed(self) -> int | None:
        """Read to the end; returns the close code."""
        try:
            while True:
                await self.receive()
        except Closed as end:
            return end.code


def _read_v1(frame: bytes) -> Message:
    channel, parts = reference.deserialize_msg_from_ws_v1(frame)
    header, parent, _, content = map(json.loads, parts[:4])
    return Message(channel, header, parent, content, parts[4:])


def _read_default(data: dict[str, Any]) -> Message:
    return Message(data["channel"], data["header"], data["parent_header"], data["content"], data["buffers"])


async def start_kernel(server: Server, **body: Any) -> str:
    """Start a kernel; returns its id."""
    reply = await server.fetch("POST", "/api/kernels", json=body)
    assert reply.status == 201, reply.text
    return reply.json()["id"]


@asynccontextmanager
async def connected(
    server: Server, kernel_id: str, session: str = "", *, v1: bool = True, **options: Any
) -> AsyncIterator[KernelClient]:
    """A client of the kernel while the block runs, with a session id of its own unless one is given."""
    session = session or uuid.uuid4().hex
    path = f"/api/kernels/{kernel_id}/channels?session_id={session}"
    socket = await server.connect(path, protocols=[V1] if v1 else [], max_msg_size=0, **options)
    async with socket:
        yield KernelClient(socket, session)


async def kernel_model(server: Server, kernel_id: str) -> dict[str, Any]:
    reply = await server.fetch("GET", f"/api/kernels/{kernel_id}")
    assert reply.status == 200, reply.text
    return reply.json()


async def eventually(check: Callable[[], Any], *, patience: float = 20) -> None:
    """Wait until an async check gives something true; fail when it does not."""
    async with asyncio.timeout(patience):
        while not await check():
            await asyncio.sleep(0.02)


async def nobody_is_connected(server: Server, kernel: str) -> None:
    """Wait until the kernel has no clients."""

    async def nobody() -> bool:
        return (await kernel_model(server, kernel))["connections"] == 0

    await eventually(nobody)
