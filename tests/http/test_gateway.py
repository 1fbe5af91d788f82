"""Kernels at a real Jupyter Kernel Gateway, through our own API and websocket."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from evstore.processes.gateway import connection
from tests.gateway import TOKEN, RealGateway
from tests.helpers import Server, StartServer, make_services, run_test_server
from tests.kernel_client import V1, KernelClient, Message, connected, kernel_model, start_kernel


@pytest.fixture
async def server(gateway: RealGateway, start_server: StartServer) -> Server:
    return await start_server(gateway=gateway.config())


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is logged as a warning, unless a test says that it is about trouble; never is the token."""
    yield
    assert TOKEN not in caplog.text
    if request.node.get_closest_marker("trouble") is None:
        assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


@pytest.fixture(params=[True, False], ids=["v1", "default"])
async def client(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[KernelClient]:
    async with connected(server, await start_kernel(server), v1=request.param) as client:
        assert client.socket.protocol == (V1 if request.param else None)
        yield client


async def test_kernelspecs_are_the_gateways(server: Server) -> None:
    listing = (await server.fetch("GET", "/api/kernelspecs")).json()
    assert listing["default"] == "python3"
    python = listing["kernelspecs"]["python3"]
    assert python["spec"]["language"] == "python"
    assert python["resources"]["logo-64x64"] == "/kernelspecs/python3/logo-64x64.png"
    one = await server.fetch("GET", "/api/kernelspecs/python3")
    assert one.json() == python
    logo = await server.fetch("GET", python["resources"]["logo-64x64"])
    assert (logo.status, logo.headers["Content-Type"]) == (200, "image/png")
    assert logo.body.startswith(b"\x89PNG")
    for path in (
        "/api/kernelspecs/nothing",
        "/kernelspecs/python3/nothing.png",
        "/kernelspecs/python3/%2e%2e",
    ):
        assert (await server.fetch("GET", path)).status == 404


async def test_run(client: KernelClient, gateway: RealGateway) -> None:
    assert await client.run("import os; print(os.environ['KERNEL_GATEWAY'], os.getppid())") != ""
    request = await client.execute("print('hello'); 6 * 7")
    messages = [one for one in await client.done(request) if one.parent.get("msg_id") == request]
    on_iopub = [one.type for one in messages if one.channel == "iopub"]
    assert on_iopub == ["status", "execute_input", "stream", "execute_result", "status"]
    [reply] = [one for one in messages if one.channel == "shell"]
    assert reply.content["status"] == "ok"


async def test_a_kernel_asks_for_input(client: KernelClient) -> None:
    request = await client.execute("print('Hello', input('Who? '))", allow_stdin=True)
    *_, question = await client.until(lambda one: one.type == "input_request")
    await client.request("input_reply", {"value": "Ada"}, channel="stdin", parent=question.header)
    assert "Hello Ada\n" in "".join(one.text for one in await client.done(request))


async def test_20_000_lines(client: KernelClient) -> None:
    printed = await client.run("for i in range(20_000): print(i, flush=True)")
    assert printed == "".join(f"{i}\n" for i in range(20_000))


async def test_an_interrupt(client: KernelClient, server: Server) -> None:
    request = await client.execute("print('sleeping')\nimport time\nfor _ in range(600): time.sleep(0.1)")
    await client.until(lambda one: one.text == "sleeping\n")
    [kernel] = (await server.fetch("GET", "/api/kernels")).json()
    assert (await server.fetch("POST", f"/api/kernels/{kernel['id']}/interrupt")).status == 204
    [error] = [one for one in await client.done(request) if one.type == "error"]
    assert error.content["ename"] == "KeyboardInterrupt"


async def test_a_restart(client: KernelClient, server: Server) -> None:
    await client.run("kept = 1")
    [kernel] = (await server.fetch("GET", "/api/kernels")).json()
    reply = await server.fetch("POST", f"/api/kernels/{kernel['id']}/restart")
    assert (reply.status, reply.json()["id"]) == (200, kernel["id"])
    assert await client.run("print('kept' in globals())") == "False\n"
    assert (await kernel_model(server, kernel["id"]))["execution_state"] == "idle"


async def test_output_waits_while_nobody_is_there(server: Server) -> None:
    kernel = await start_kernel(server)
    async with connected(server, kernel) as first:
        code = "import time; time.sleep(0.5)\nfor i in range(200): print(i, flush=True)"
        request = await first.execute(code)
        await first.until(lambda one: one.type == "execute_input" and one.parent["msg_id"] == request)
    async with connected(server, kernel) as second:
        messages = await second.until(lambda one: one.text.endswith("199\n"))
    assert "".join(one.text for one in messages) == "".join(f"{i}\n" for i in range(200))


async def test_two_clients_get_their_own_answers(server: Server) -> None:
    kernel = await start_kernel(server)
    async with connected(server, kernel) as one, connected(server, kernel) as other:
        requests = [await one.execute("print('one')"), await other.execute("print('other')")]
        for client, request, foreign in ((one, *requests), (other, *reversed(requests))):
            await client.done(request)
            if not any(is_end(message, foreign) for message in client.seen):
                await client.until(lambda message, foreign=foreign: is_end(message, foreign))
            replies = [message.parent["msg_id"] for message in client.seen if message.channel == "shell"]
            assert replies == [request]
            assert "".join(message.text for message in client.seen) == "one\nother\n"


async def test_sessions_and_shutting_down(server: Server, gateway: RealGateway) -> None:
    before = len(gateway.kernels)
    body = {"path": "a/n.ipynb", "type": "notebook", "name": "n", "kernel": {"name": "python3"}}
    session = (await server.fetch("POST", "/api/sessions", json=body)).json()
    assert len(gateway.kernels) == before + 1
    async with connected(server, session["kernel"]["id"]) as client:
        assert await client.run("print(1)") == "1\n"
        assert (await server.fetch("DELETE", f"/api/sessions/{session['id']}")).status == 204
        assert await client.closed() == 1000
    assert len(gateway.kernels) == before
    assert (await server.fetch("GET", "/api/kernels")).json() == []


async def test_the_gateway_is_told_who_and_where(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNEL_EXTRA", "more")
    async with connected(server, await start_kernel(server)) as client:
        names = "KERNEL_EXTRA", "KERNEL_WORKING_DIR", "EVSTORE_GATEWAY_TOKEN", "KG_AUTH_TOKEN"
        told = await client.run(f"import os; print(*[os.environ.get(name) for name in {names}])")
    assert told.split() == ["more", os.getcwd(), "None", "None"]


async def test_kernels_end_with_the_server(
    gateway: RealGateway, start_server: StartServer, tmp_path: Path
) -> None:
    before = len(gateway.kernels)
    async with (
        make_services(tmp_path, gateway=gateway.config()) as services,
        run_test_server(services) as server,
        connected(server, await start_kernel(server)) as client,
    ):
        await client.run("1")
        assert len(gateway.kernels) == before + 1
    assert len(gateway.kernels) == before


async def test_no_path_is_looked_up_for_a_kernel_elsewhere(server: Server) -> None:
    kernel = await start_kernel(server)
    reply = (await server.fetch("GET", f"/api/resolvePath?path=/etc/passwd&kernel={kernel}")).json()
    assert reply["resolved"] == []
    assert "runs at a gateway" in reply["unresolved"][0]["reason"]


@pytest.mark.trouble
async def test_a_kernel_that_dies_is_started_again(
    client: KernelClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.run("kept = 1")
    await client.execute("import os; os._exit(1)")
    await client.until(lambda one: one.state == "restarting")
    await client.until(lambda one: one.state == "idle")
    assert await client.run("print('kept' in globals())") == "False\n"
    assert "died at the gateway and is started again" in caplog.text


@pytest.mark.trouble
async def test_a_kernel_that_is_gone_from_the_gateway(
    server: Server, gateway: RealGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "LOOK", 0.2)
    caplog.set_level(logging.INFO, "evstore.processes.gateway")
    body = {"path": "n.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    session = (await server.fetch("POST", "/api/sessions", json=body)).json()
    async with connected(server, session["kernel"]["id"]) as client:
        await client.run("1")
        await gateway.delete(remote_id(caplog))
        assert await client.closed() == 1000
        assert client.seen[-1].state == "dead"
    assert (await server.fetch("GET", "/api/sessions")).json() == []
    assert "is gone from its gateway" in caplog.text


def remote_id(caplog: pytest.LogCaptureFixture) -> str:
    [found] = re.findall(r"is (\S+) at its gateway", caplog.text)
    return found


def is_end(message: Message, request: str) -> bool:
    return message.parent.get("msg_id") == request and message.state == "idle"
