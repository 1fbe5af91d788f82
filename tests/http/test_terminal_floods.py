"""Terminals that print more than anybody can take: nothing is lost, kept without bound, or held up for ever."""

from __future__ import annotations

import asyncio
import hashlib

import aiohttp
import pytest

from evstore.processes.terminals import terminal as terminal_module
from evstore.processes.terminals.replay import SIZE
from evstore.processes.terminals.terminal import BURST, Terminal
from evstore.processes.terminals.viewer import FULL
from tests.helpers import Server, StartServer
from tests.http.terminal_client import BASH, PATIENCE, looking_at, opened, until

MB = 1_000_000


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(terminal_shell=BASH)


def of(server: Server, name: str = "1") -> Terminal:
    return server.services.terminals.get(name)


def waiting(terminal: Terminal) -> list[int]:
    """How much waits for each client."""
    return [viewer._waiting for viewer in terminal._viewers]  # pyright: ignore


async def test_a_large_file_arrives_whole(server: Server):
    text = "".join(f"line {number}, é and 😀 and more\n" for number in range(200_000))
    (server.services.config.folder / "large.txt").write_text(text)
    async with opened(server) as client:
        printed = await client.run("cat large.txt")
        assert hashlib.sha256(printed.encode()).digest() == hashlib.sha256(text.encode()).digest()


async def test_what_is_not_utf8_is_shown_as_such(server: Server):
    (server.services.config.folder / "bytes").write_bytes(b"\xff\xc3" + "é".encode() + b"\xe2\x82" + b"\n")
    async with opened(server) as client:
        assert await client.run("cat bytes") == "��é�\n"


async def test_a_client_that_takes_nothing_stops_the_program_and_not_the_server(server: Server):
    async with opened(server) as client:
        await client.type("yes\n")
        await until(lambda: max(waiting(of(server))) >= FULL)
        for _ in range(20):
            assert (await server.fetch("GET", "/api/terminals")).status == 200
            # It is read only while less than FULL waits, and then one BURST at the most
            assert max(waiting(of(server))) < FULL + BURST, "what waits is bounded"
        client.screen = ""
        await client.sees("y\r\ny\r\n")  # it takes some again
        await client.type("\x03")
        assert (await client.run("echo stopped")).endswith("stopped\n")


async def test_a_client_that_takes_nothing_does_not_keep_the_others_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(terminal_module, "PATIENCE", 0.5)
    async with opened(server) as client, looking_at(server, "1") as lazy:
        await client.type("head -c 40000000 /dev/zero | tr '\\0' x; echo fin''ished\n")
        async with asyncio.timeout(PATIENCE):
            while "finished" not in client.screen[-100:]:
                assert await client.next()
        assert client.screen.count("x") >= 40 * MB, "and it has lost nothing"
        assert await lazy.close_code() == 1013
        assert ["disconnect", 1] not in lazy.others
        assert len(lazy.screen) < 20 * MB
        async with looking_at(server, "1") as again:
            await again.sees("finished")


async def test_without_clients_programs_go_on_and_the_end_is_kept(server: Server):
    async with opened(server) as client:
        await client.type("echo go''es; sleep 0.3; seq 1000000; touch finished; echo fin''ished\n")
        await client.sees("goes")
    await until((server.services.config.folder / "finished").exists)
    async with looking_at(server, "1") as later:
        await later.sees("finished")
        assert "999999\r\n1000000\r\nfinished\r\n" in later.screen
        assert len(later.screen) <= SIZE


async def test_a_flooding_terminal_ends(server: Server):
    async with opened(server) as client:
        await client.type("yes\n")
        await until(lambda: max(waiting(of(server))) >= FULL)
        assert (await server.fetch("DELETE", "/api/terminals/1")).status == 204
        assert await client.close_code() == 1000
        assert client.others[-1] == ["disconnect", 1]


async def test_a_client_that_vanishes_in_a_flood(server: Server):
    async with opened(server) as client:
        await client.type("yes\n")
        await until(lambda: max(waiting(of(server))) >= FULL)
        connection = client.socket._response.connection  # pyright: ignore
        assert connection is not None and connection.transport is not None
        connection.transport.abort()
        await until(lambda: waiting(of(server)) == [])
    async with looking_at(server, "1") as again:
        await again.sees("y\r\ny\r\n")
        await again.type("\x03echo still''-here\n")
        await again.sees("still-here")


async def test_a_client_that_never_says_goodbye_does_not_keep_the_end(server: Server):
    """It neither reads nor answers the closing handshake: the server hangs up."""
    async with opened(server) as client:
        await client.type("yes\n")
        await until(lambda: max(waiting(of(server))) >= FULL)
        assert (await server.fetch("DELETE", "/api/terminals/1")).status == 204
        async with asyncio.timeout(PATIENCE):
            while server.services.terminals.all():
                await asyncio.sleep(0.02)
        async with asyncio.timeout(PATIENCE):
            while (await client.socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
