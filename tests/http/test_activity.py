"""What counts as use of the server, in /api/status and when it stops by itself."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.helpers import Server, StartServer
from tests.kernel_client import connected, eventually, start_kernel


async def last_activity(server: Server) -> str:
    return (await server.fetch("GET", "/api/status")).json()["last_activity"]


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/api/me", True),
        ("/api/contents", True),
        ("/api/kernels", True),
        ("/api/me?x=no_track_activity", True),
        ("/api/nowhere", False),
        ("/api", False),
        ("/api/status", False),
        ("/api/resolvePath?path=x", False),
        ("/api/me?no_track_activity=1", False),
        ("/api/me?no_track_activity", False),
        # pages and files are no use of the API
        ("/", False),
        ("/lab", False),
        ("/login", False),
        ("/files/x", False),
        ("/kernelspecs/python3/logo-svg.svg", False),
    ],
)
async def test_requests(server: Server, path: str, counts: bool) -> None:
    before = await last_activity(server)
    await server.fetch("GET", path)
    assert (await last_activity(server) > before) == counts


async def test_strangers_do_not_use_it(server: Server) -> None:
    before = await last_activity(server)
    assert (await server.fetch("GET", "/api/me", stranger=True)).status == 403
    assert await last_activity(server) == before


async def test_kernels(server: Server) -> None:
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        await client.run("pass")
        before = await last_activity(server)
        await client.request("kernel_info_request", {})
        await client.until(lambda message: message.type == "kernel_info_reply")
        await client.request("comm_info_request", {})
        await client.until(lambda message: message.type == "comm_info_reply")
        assert await last_activity(server) == before  # the page asked, not its user
        await client.run("pass")
        after = await last_activity(server)
        assert after > before
        status = (await server.fetch("GET", "/api/status")).json()
        assert (status["kernels"], status["connections"]) == (1, 1)
        model = (await server.fetch("GET", f"/api/kernels/{kernel}?no_track_activity=1")).json()
        assert model["last_activity"] == after
    await server.fetch("DELETE", f"/api/kernels/{kernel}?no_track_activity=1")
    status = (await server.fetch("GET", "/api/status")).json()
    assert (status["kernels"], status["connections"]) == (0, 0)
    assert status["last_activity"] == after  # it does not go back when a kernel has ended


async def test_a_server_that_nobody_uses_stops(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = await start_server(shutdown_no_activity_timeout=0.3)
    kernel = await start_kernel(server)
    await asyncio.sleep(0.7)  # at least two looks
    assert not server.services.stop.is_set()  # a kernel runs, though nobody uses it
    await server.fetch("DELETE", f"/api/kernels/{kernel}")

    async def stops() -> bool:
        return server.services.stop.is_set()

    await eventually(stops)
    assert "there was no activity for 0 seconds: the server stops" in caplog.text


async def test_a_server_that_is_used_goes_on(start_server: StartServer) -> None:
    server = await start_server(shutdown_no_activity_timeout=1.0)
    for _ in range(15):
        await server.fetch("GET", "/api/me")
        await asyncio.sleep(0.1)
    assert not server.services.stop.is_set()


async def test_which_messages_count_is_a_setting(start_server: StartServer) -> None:
    server = await start_server(untracked_message_types=("execute_request", "status", "execute_input"))
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        await client.run("pass")
        before = await last_activity(server)
        await client.run("pass")
        assert await last_activity(server) == before
        await client.request("kernel_info_request", {})
        await client.until(lambda message: message.type == "status" and message.state == "idle")
        assert await last_activity(server) > before
    page = (await server.fetch("GET", "/lab")).text
    assert '"untracked_message_types": ["execute_input", "execute_request", "status"]' in page
