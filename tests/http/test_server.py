"""Starting and stopping the site, and its access log."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from evstore.errors import Unavailable
from evstore.http.app import make_app
from evstore.http.routing import Access, Route
from evstore.http.server import serving
from tests.helpers import TOKEN, Server, make_services, run_test_server


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
