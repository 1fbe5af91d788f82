"""Kernels at a real Jupyter Kernel Gateway, through our own API and websocket."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.gateway import TOKEN, RealGateway
from tests.helpers import Server, StartServer
from tests.kernel_client import V1, KernelClient, connected, start_kernel


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealGateway]:
    gateway = RealGateway(tmp_path_factory.mktemp("gateway"))
    gateway.start()
    yield gateway
    gateway.stop()


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


async def remote_ids(gateway: RealGateway) -> int:
    return len(gateway.kernels)


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
