"""A gateway that is away, leaves in the middle, or refuses: what clients and the log are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from evstore.processes.gateway import api, connection
from tests.gateway import Cable, RealGateway, refused
from tests.helpers import Server, StartServer
from tests.kernel_client import KernelClient, connected, eventually, kernel_model, start_kernel

pytestmark = pytest.mark.usefixtures("no_secrets")

LINES = "import time\nfor i in range({}): print(i, flush=True); time.sleep(0.01)"


@pytest.fixture
async def cable(gateway: RealGateway) -> AsyncIterator[Cable]:
    async with Cable(gateway.port) as cable:
        yield cable


@pytest.fixture
async def server(gateway: RealGateway, cable: Cable, start_server: StartServer) -> Server:
    return await start_server(gateway=gateway.config(url=cable.url))


async def begun(client: KernelClient, code: str) -> str:
    """Execute something that prints; returns its id when it has begun to."""
    request = await client.execute(code)
    await client.until(lambda one: one.text != "" and one.parent["msg_id"] == request)
    return request


async def test_a_connection_that_breaks_in_the_middle(
    server: Server, cable: Cable, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(server, await start_kernel(server)) as client:
        request = await begun(client, LINES.format(200))
        cable.cut()
        messages = await client.done(request)
        printed = "".join(one.text for one in client.seen if one.parent.get("msg_id") == request)
        assert printed.count("evstore: the connection to the gateway was broken for ") == 1
        lines = [line for line in printed.split("\n") if line.isdecimal()]
        assert lines[-1] == "199" and lines == sorted(set(lines), key=int)  # in order, none twice
        [reply] = [one for one in messages if one.channel == "shell"]
        assert reply.content["status"] == "ok"
        assert await client.run("print('still', i)") == "still 199\n"
    assert caplog.text.count("at its gateway broke: ") == caplog.text.count(" is back after ") == 1


async def test_an_answer_that_was_lost(server: Server, cable: Cable) -> None:
    async with connected(server, await start_kernel(server)) as client:
        request = await begun(client, LINES.format(30))
        cable.loses_answers = True
        await asyncio.sleep(2)  # in which the cell ends, and says so to nobody
        cable.loses_answers = False
        cable.cut()
        messages = await client.done(request)
        [reply] = [one for one in messages if one.channel == "shell"]
        assert (reply.content["status"], reply.content["ename"]) == ("error", "ConnectionLost")
        assert "It may or may not have run." in "".join(one.text for one in messages)
        assert await client.run("print(i)") == "29\n"


async def test_what_is_asked_while_the_gateway_is_away_waits(
    server: Server, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.1)
    async with connected(server, kernel := await start_kernel(server)) as client:
        request = await begun(client, LINES.format(100))
        cable.is_open = False
        cable.cut()
        await client.until(lambda one: "evstore: the gateway is away" in one.text)
        later = await client.execute("print('later')")
        for action in ("interrupt", "restart"):
            status, words = await refused(server, "POST", f"/api/kernels/{kernel}/{action}")
            assert (status, "broke the connection off" in words) == (503, True)
        assert (await refused(server, "DELETE", f"/api/kernels/{kernel}"))[0] == 503
        assert (await refused(server, "POST", "/api/kernels", json={"name": "python3"}))[0] == 503
        cable.is_open = True
        await client.done(request)
        await client.done(later)
        assert "later\n" in "".join(one.text for one in client.seen)
        assert (await kernel_model(server, kernel))["execution_state"] == "idle"
        assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204


async def test_a_gateway_that_is_killed_and_started_again(
    gateway: RealGateway, start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start_server(gateway=gateway.config())
    body = {"path": "n.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    session = (await server.fetch("POST", "/api/sessions", json=body)).json()
    async with connected(server, session["kernel"]["id"]) as client:
        await begun(client, LINES.format(100_000))
        gateway.kill()
        try:
            for path in (
                "/api/kernelspecs",
                "/api/kernelspecs/python3",
                "/kernelspecs/python3/logo-64x64.png",
            ):
                status, words = await refused(server, "GET", path)
                assert status == 503
                assert words.startswith(f"The gateway at {gateway.url}")
                assert words.endswith("Is it running, and is --gateway-url right?")
            status, words = await refused(
                server, "POST", "/api/sessions", json=body | {"path": "other.ipynb"}
            )
            assert (status, "can't be reached" in words) == (503, True)
            assert len((await server.fetch("GET", "/api/sessions")).json()) == 1  # nobody knows better yet
        finally:
            gateway.start()
        assert await client.closed() == 1000
        assert client.seen[-1].state == "dead"
    assert (await server.fetch("GET", "/api/sessions")).json() == []
    assert "is gone from its gateway" in caplog.text
    async with connected(server, await start_kernel(server)) as client:  # and all is well again
        assert await client.run("print(1)") == "1\n"


async def test_a_server_stops_without_its_gateway(
    gateway: RealGateway, cable: Cable, start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start_server(gateway=gateway.config(url=cable.url))
    async with connected(server, await start_kernel(server)) as client:
        await client.run("1")
        cable.is_open = False
        cable.cut()
        await server.services.kernels.close()
        assert await client.closed() == 1012
    assert "could not be stopped: The gateway at" in caplog.text


async def test_websockets_by_another_way(
    gateway: RealGateway, cable: Cable, start_server: StartServer
) -> None:
    server = await start_server(gateway=gateway.config(ws_url=f"ws://127.0.0.1:{cable.port}"))
    kernel = await start_kernel(server)
    assert cable.connections <= 1  # that of the kernel, if it is so quick
    async with connected(server, kernel) as client:
        assert await client.run("print(1)") == "1\n"
    assert cable.connections == 1


async def test_a_gateway_that_comes_later(gateway: RealGateway, start_server: StartServer) -> None:
    async with Cable(gateway.port) as cable:
        cable.is_open = False
        server = await start_server(gateway=gateway.config(url=cable.url))
        assert (await server.fetch("GET", "/api/status")).status == 200
        assert (await refused(server, "GET", "/api/kernelspecs"))[0] == 503
        cable.is_open = True
        assert "python3" in (await server.fetch("GET", "/api/kernelspecs")).json()["kernelspecs"]


async def test_a_wrong_token(gateway: RealGateway, start_server: StartServer) -> None:
    server = await start_server(gateway=gateway.config(token="wrong-secret"))
    for method, path in (("GET", "/api/kernelspecs"), ("POST", "/api/kernels")):
        status, words = await refused(server, method, path)
        assert status == 502
        assert "does not accept the token (401" in words
        assert "--gateway-token" in words
        assert "wrong-secret" not in words
    page = await server.fetch("GET", "/api/status")
    assert page.status == 200  # nobody is logged out of evstore by that


async def test_a_kernel_that_the_gateway_does_not_have(server: Server) -> None:
    reply = await server.fetch("POST", "/api/kernels", json={"name": "nothing"})
    assert reply.status == 501
    assert reply.json()["short_message"] == "nothing not found"


async def test_a_start_that_nobody_waits_for_any_more(
    gateway: RealGateway, cable: Cable, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shut down while the gateway still starts it: it must not run on there."""
    monkeypatch.setattr(api, "GOODBYE", 10.0)
    server = await start_server(gateway=gateway.config())
    before = len(gateway.kernels)
    starting = asyncio.create_task(server.services.kernels.start("python3", kernel_id="mine"))

    async def is_asked() -> bool:
        kernel = server.services.kernels.find("mine")
        return kernel is not None  # and it may even be quicker than we look

    await eventually(is_asked)
    await asyncio.sleep(0.01)
    kernel = server.services.kernels.get("mine")
    await kernel.stop()
    await asyncio.gather(starting, return_exceptions=True)

    async def is_gone() -> bool:
        return len(gateway.kernels) == before

    await eventually(is_gone)
