"""Starting and stopping the site, and its access log."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from evstore.core.errors import Unavailable
from evstore.http.app import make_app
from evstore.http.routing import Access, Route
from evstore.http.server import serving
from evstore.services.event_publisher import CONTENTS
from tests.helpers import TOKEN, Server, make_services, run_test_server

UPGRADE = (
    b"GET /api/events/subscribe HTTP/1.1\r\nHost: %s\r\nAuthorization: token " + TOKEN.encode() + b"\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_requests_that_run_are_answered_before_the_server_stops(tmp_path: Path):
    began, may_end = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        began.set()
        await may_end.wait()
        return web.Response(text="done")

    async with make_services(tmp_path) as services, aiohttp.ClientSession() as session:
        async with serving(
            services, make_app(services, [Route("GET", "/slow", slow, access=Access.PUBLIC)])
        ) as port:
            url = f"http://127.0.0.1:{port}/slow"
            answer = asyncio.create_task(fetch_text(session, url))
            await began.wait()
            asyncio.get_running_loop().call_later(0.1, may_end.set)
        assert await answer == "done"
        with pytest.raises(aiohttp.ClientConnectionError):
            await fetch_text(session, url)


async def fetch_text(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as reply:
        return await reply.text()


async def test_a_port_that_is_taken_is_told_in_plain_words(tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        async with make_services(tmp_path, port=port) as services:
            with pytest.raises(Unavailable, match=f"{port} is taken.*--port"):
                async with serving(services):
                    pass


async def test_a_host_that_is_not_ours_is_told_in_plain_words(tmp_path: Path):
    async with make_services(tmp_path, host="192.0.2.1") as services:
        with pytest.raises(Unavailable, match=r"192\.0\.2\.1"):
            async with serving(services):
                pass


async def test_sockets_get_a_goodbye_after_which_jupyterlab_comes_back(tmp_path: Path):
    """After 1000 and 1001 it would stay disconnected (jupyter-surface.md 6.1)."""
    async with make_services(tmp_path) as services, aiohttp.ClientSession() as session:
        async with serving(services) as port:
            url = f"http://127.0.0.1:{port}/api/events/subscribe?token={TOKEN}"
            opened = await session.ws_connect(url)
            closing = asyncio.create_task(opened.receive())
        message = await asyncio.wait_for(closing, 5)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)


async def test_a_listener_that_takes_nothing_does_not_keep_the_server_from_stopping(tmp_path: Path):
    data = {"action": "get", "path": "a" * 200_000}
    event = {"schema_id": CONTENTS, "version": "1", "data": data}
    async with make_services(tmp_path) as services, asyncio.timeout(60):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            async with run_test_server(services) as server:
                listener.connect(("127.0.0.1", server.port))
                listener.sendall(UPGRADE % server.host.encode())
                assert await asyncio.to_thread(listener.recv, 12) == b"HTTP/1.1 101"
                for _ in range(60):  # more than the system's buffers hold
                    assert (await server.fetch("POST", "api/events", json=event)).status == 204
        assert services.announcer.listeners == 0


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
async def test_the_access_log_is_for_debugging_and_has_no_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, level: int
):
    """S14."""
    caplog.set_level(level, "evstore.access")
    async with make_services(tmp_path) as services, run_test_server(services) as server:
        await fetch_with_secrets(server)
    lines = [record.getMessage() for record in caplog.records if record.name == "evstore.access"]
    assert len(lines) == (2 if level == logging.DEBUG else 0)
    text = "\n".join(lines)
    assert TOKEN not in text
    assert "SECRET" not in text
    if lines:
        assert lines[0].startswith("302 GET /lab?token=[secret]&a=b 127.0.0.1 ")
        assert lines[1].startswith("404 GET /nowhere?state=[secret] ")
        assert lines[1].endswith("referer=http://x/?code=[secret]")


async def fetch_with_secrets(server: Server) -> None:
    await server.fetch("GET", f"/lab?token={TOKEN}&a=b", stranger=True)
    await server.fetch("GET", "/nowhere?state=SECRET", headers={"Referer": "http://x/?code=SECRET"})
