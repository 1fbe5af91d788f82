"""A running server, spoken to over its API: how the command line changes what the server is writing."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from evstore.core.errors import EvstoreError, NotFound, NotLetIn, Unavailable
from evstore.core.events import format_time
from evstore.core.paths import ContentPath
from evstore.core.units import MIB
from evstore.http.errors import STATUS
from evstore.http.models import Model
from evstore.services.uploads import LAST

PIECE = 4 * MIB  # bytes of a file in one request
UNKNOWN = ("You are not signed in", "'_xsrf' argument", "XSRF cookie")  # as `guard.py` says it
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)  # seconds; a rebuild may take long

ERRORS: dict[int, type[EvstoreError]] = {status: error for error, status in reversed(STATUS.items())}


class Client:
    """The API of one server. Every method raises what the server refused with, as the Store would."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self, method: str, path: str, data: Any = None) -> Any:
        """The JSON answer to a request for `path`, which is quoted already; None when there is none."""
        body = None if data is None else orjson.dumps(data)
        try:
            async with self._session.request(method, URL(self._url + path, encoded=True), data=body) as reply:
                raw = await reply.read()
        except aiohttp.ClientError as error:
            raise Unavailable(f"The server at {self._url} does not answer ({error}).") from None
        answer: Any = orjson.loads(raw or b"null")
        if reply.status == 403 and answer["message"].startswith(UNKNOWN):
            raise NotLetIn(
                f"The server at {self._url} does not let this command in: it was started with --token ''."
            )
        if reply.status >= 400:
            raise ERRORS.get(reply.status, Unavailable)(answer["message"])
        return answer

    async def look(self, path: ContentPath) -> Model | None:
        """What is at `path`, with its hash and without its content; None when nothing is."""
        try:
            return await self.ask("GET", f"api/contents/{quote(path)}?content=0&hash=1")
        except NotFound:
            return None

    async def make_directory(self, path: ContentPath) -> None:
        """A directory at `path`; nothing happens when there is one."""
        await self.ask("PUT", f"api/contents/{quote(path)}", {"type": "directory"})

    async def upload(
        self, path: ContentPath, pieces: AsyncIterator[bytes], *, modified: int, executable: bool
    ) -> None:
        """Save a file with exactly the bytes of `pieces`, in one request or many, all of it at the end.

        It was changed at `modified` (µs since 1970), and is a program or not.
        """
        extras = {"modified": format_time(modified), "executable": executable}
        number, held = 0, b""
        async for piece in pieces:
            if held:
                number += 1
                await self._put(path, held, number, extras)
            held = piece
        await self._put(path, held, LAST if number else None, extras)

    async def _put(self, path: ContentPath, data: bytes, number: int | None, extras: Model) -> Model:
        content = base64.b64encode(data).decode()
        model: Model = {"type": "file", "format": "base64", "content": content, "evstore": extras}
        if number is not None:
            model["chunk"] = number
        return await self.ask("PUT", f"api/contents/{quote(path)}", model)


@asynccontextmanager
async def connect(url: str, token: str) -> AsyncGenerator[Client]:
    """A client for the server at `url`, which ends with a slash."""
    headers = {"Authorization": f"token {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers, timeout=TIMEOUT) as session:
        yield Client(session, url)
