"""A client of a terminal, for tests: it types, and waits for what it should see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from tests.helpers import Server

BASH = ("/bin/bash", "--norc", "--noprofile")
PATIENCE = 60.0  # seconds for a shell to answer, on a machine that has others to serve


class TerminalClient:
    """What came over the websocket of a terminal, and what goes there."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.screen = ""  # all that was printed
        self.others: list[Any] = []  # frames but for stdout

    async def say(self, *frame: Any) -> None:
        await self.socket.send_bytes(orjson.dumps(frame))

    async def type(self, text: str) -> None:
        await self.say("stdin", text)

    async def sees(self, text: str) -> None:
        """Wait until this has been printed."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.screen:
                assert await self.next(), f"closed before {text!r} came: {self.screen[-500:]!r}"

    async def run(self, command: str) -> str:
        """What a command prints. The shell must be at its prompt, and not echo."""
        start = len(self.screen)
        await self.type(f"{command}; echo 'do''ne'\n")
        async with asyncio.timeout(PATIENCE):
            while "done\r\n" not in self.screen[start:]:
                assert await self.next()
        return self.screen[start:].partition("done\r\n")[0].replace("\r\n", "\n")

    async def next(self) -> bool:
        """Take one frame. False when the connection is closed."""
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return False
        frame = orjson.loads(message.data)
        if frame[0] == "stdout":
            assert isinstance(frame[1], str) and len(frame) == 2
            self.screen += frame[1]
        else:
            self.others.append(frame)
        return True

    async def close_code(self) -> int | None:
        """Wait until the server closes."""
        async with asyncio.timeout(PATIENCE):
            while await self.next():
                pass
        return self.socket.close_code


@asynccontextmanager
async def looking_at(server: Server, name: str, **kwargs: Any) -> AsyncIterator[TerminalClient]:
    """A client of the terminal `name`."""
    socket = await server.connect(f"/terminals/websocket/{name}", **kwargs)
    try:
        yield TerminalClient(socket)
    finally:
        await socket.close()


@asynccontextmanager
async def opened(server: Server, **body: Any) -> AsyncIterator[TerminalClient]:
    """A client of a new terminal, whose shell is ready and does not echo."""
    reply = await server.fetch("POST", "/api/terminals", json=body)
    assert reply.status == 200, reply.text
    async with looking_at(server, reply.json()["name"]) as client:
        await client.type("stty -echo; PS1=; bind 'set enable-bracketed-paste off'; echo rea''dy\n")
        await client.sees("ready\r\n")
        yield client


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)
