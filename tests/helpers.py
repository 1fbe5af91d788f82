"""What tests of several folders share: services with settings for tests, and a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDictProxy
from yarl import URL

from evstore.cli.composition import open_services
from evstore.config import Config
from evstore.http.app import ROUTES, make_app
from evstore.http.routing import Route
from evstore.http.server import serving
from evstore.http.services import Services
from evstore.services.auth import Authorizer
from evstore.store.store import Store

TOKEN = "test-token"
SECRET = b"s" * 32
Headers = dict[str, str] | None
StartServer = Callable[..., Awaitable["Server"]]


@asynccontextmanager
async def make_services(
    tmp_path: Path, *, authorizer: Authorizer | None = None, **config: Any
) -> AsyncIterator[Services]:
    """Services for a test: a folder in `tmp_path`, the token TOKEN, any free port; `config` as in Config."""
    folder = tmp_path / "folder"
    folder.mkdir(exist_ok=True)
    defaults: dict[str, Any] = {
        "folder": folder,
        "db": tmp_path / "log.db",
        "port": 0,
        "token": TOKEN,
        "settings_dir": tmp_path / "settings",
    }
    settings = Config(**(defaults | config))
    store = await Store.open(settings.db)
    try:
        secret = settings.db.with_name("cookie_secret")
        secret.write_bytes(SECRET)
        secret.chmod(0o600)
        async with open_services(settings, store, authorizer=authorizer) as services:
            yield services
    finally:
        await store.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def cookies(self) -> dict[str, str]:
        """What Set-Cookie headers set, by name; use `headers.getall` for their attributes."""
        pairs = (line.partition(";")[0].partition("=") for line in self.headers.getall("Set-Cookie", []))
        return {name: value for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. Cookies are not kept between requests: tests send the ones that they mean."""

    services: Services
    port: int
    session: aiohttp.ClientSession

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The server's base URL, with a slash at its end."""
        return f"http://{self.host}{self.services.config.base_url}"

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        stranger: bool = False,
        headers: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> Reply:
        """Ask for `path` (below the base URL, sent exactly as given), with the token unless a `stranger`.

        Redirects are not followed; `kwargs` are aiohttp's (`json`, `data`, ...).
        """
        given = ({} if stranger else {"Authorization": f"token {TOKEN}"}) | (headers or {})
        url = URL(self.url + path.removeprefix("/"), encoded=True)
        async with self.session.request(method, url, headers=given, allow_redirects=False, **kwargs) as reply:
            return Reply(reply.status, reply.headers, await reply.read())

    async def connect(
        self, path: str, *, stranger: bool = False, headers: Headers = None, **kwargs: Any
    ) -> aiohttp.ClientWebSocketResponse:
        """Open the websocket at `path`. Raises aiohttp.WSServerHandshakeError when refused."""
        given = ({} if stranger else {"Authorization": f"token {TOKEN}"}) | (headers or {})
        return await self.session.ws_connect(self.url + path.removeprefix("/"), headers=given, **kwargs)

    async def log_in(self) -> dict[str, str]:
        """The Cookie header of a browser that came in with the token, and its XSRF header."""
        reply = await self.fetch("GET", f"/?token={TOKEN}", stranger=True)
        cookies = "; ".join(f"{name}={value}" for name, value in reply.cookies.items())
        return {"Cookie": f"{cookies}; _xsrf=secret", "X-XSRFToken": "secret"}


@asynccontextmanager
async def run_test_server(services: Services, routes: Sequence[Route] = ROUTES) -> AsyncIterator[Server]:
    """Serve `services` on a free port while the block runs."""
    async with (
        serving(services, make_app(services, routes)) as port,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield Server(services, port, session)
