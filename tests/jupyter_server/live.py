"""A live evstore for a test: a real server on a port, in a thread of its own, over a real folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import tornado.httpclient
from tornado.httpclient import HTTPResponse

from evstore.http.services import Services
from tests.helpers import TOKEN, Server, make_services, run_test_server

T = TypeVar("T")
STOP = 30.0  # seconds that a server may take to start or to stop


class LiveServer:
    """A running evstore."""

    def __init__(self, home: Path, folder: Path, base_url: str = "/", **config: Any) -> None:
        self.base_url = base_url
        self.folder = folder
        self.requests = 0  # that tests have sent
        self._home = home
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="evstore", daemon=True)
        self._thread.start()
        self.start(**config)

    def start(self, **config: Any) -> None:
        """Start over the same log; `config` are further settings."""
        self._stack = AsyncExitStack()
        self._server = self._wait(self._start(config))

    def stop(self) -> None:
        """Stop serving; `start` may follow."""
        self._wait(self._stack.aclose())

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def services(self) -> Services:
        return self._server.services

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def auth_header(self) -> dict[str, str]:
        return {"Authorization": f"token {TOKEN}"}

    def on_loop(self, work: Callable[[], T]) -> T:
        """Do `work` where the server does its own: in its thread, on its event loop."""

        async def run() -> T:
            return work()

        return self._wait(run())

    @property
    def events(self) -> Any:
        """jupyter_events' logger, for use on the loop."""
        return self._wait(self.services.announcer.events())

    async def fetch(self, path: str, **kwargs: Any) -> HTTPResponse:
        """Ask for `path`, which begins with a slash. Raises tornado's HTTPClientError, as jp_fetch does."""
        self.requests += 1
        client = tornado.httpclient.AsyncHTTPClient(force_instance=True)
        try:
            return await client.fetch(f"http://{self.address}{path}", **kwargs)
        finally:
            client.close()

    async def _start(self, config: dict[str, Any]) -> Server:
        settings = {"folder": self.folder, "db": self._home / "log.db", "base_url": self.base_url} | config
        services = await self._stack.enter_async_context(make_services(self._home, **settings))
        return await self._stack.enter_async_context(run_test_server(services))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP)
