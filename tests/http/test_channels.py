"""The kernel's websocket with a real kernel, in both framings."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.helpers import Server
from tests.kernel_client import (
    V1,
    KernelClient,
    connected,
    eventually,
    kernel_model,
    start_kernel,
)

MIB = 1024 * 1024
ECHO = """
from ipykernel.comm import Comm
def opened(comm, message):
    comm.on_msg(lambda message: comm.send(message["content"]["data"], buffers=[bytes(b)[::-1] for b in message["buffers"]]))
get_ipython().kernel.comm_manager.register_target("echo", opened)
"""


@pytest.fixture
async def kernel(server: Server) -> str:
    return await start_kernel(server)


@pytest.fixture(params=[True, False], ids=["v1", "default"])
async def client(request: pytest.FixtureRequest, server: Server, kernel: str) -> AsyncIterator[KernelClient]:
    async with connected(server, kernel, v1=request.param) as client:
        assert client.socket.protocol == (V1 if request.param else None)
        yield client


async def test_run(client: KernelClient) -> None:
    request = await client.execute("print('hello'); 6 * 7")
    messages = [one for one in await client.done(request) if one.parent.get("msg_id") == request]
    on_iopub = [one.type for one in messages if one.channel == "iopub"]
    assert on_iopub == ["status", "execute_input", "stream", "execute_result", "status"]
    [reply] = [one for one in messages if one.channel == "shell"]
    assert reply.content["status"] == "ok"
    [result] = [one for one in messages if one.type == "execute_result"]
    assert result.content["data"]["text/plain"] == "42"
    assert "".join(one.text for one in messages) == "hello\n"


async def test_an_error_is_told(client: KernelClient) -> None:
    messages = await client.done(await client.execute("1 / 0"))
    [error] = [one for one in messages if one.type == "error"]
    assert error.content["ename"] == "ZeroDivisionError"
    assert error.content["traceback"]


async def test_a_kernel_asks_for_input(client: KernelClient) -> None:
    request = await client.execute("print('Hello', input('Who? '))", allow_stdin=True)
    *_, question = await client.until(lambda one: one.type == "input_request")
    assert (question.channel, question.content["prompt"]) == ("stdin", "Who? ")
    await client.request("input_reply", {"value": "Ada"}, channel="stdin", parent=question.header)
    assert "Hello Ada\n" in "".join(one.text for one in await client.done(request))


async def test_a_comm_carries_buffers_both_ways(client: KernelClient) -> None:
    await client.run(ECHO)
    await client.request("comm_open", {"comm_id": "c1", "target_name": "echo", "data": {}})
    buffers = [bytes(range(256)), b"", b"x" * MIB]
    await client.request("comm_msg", {"comm_id": "c1", "data": {"n": 1.5, "big": 2**70}}, buffers=buffers)
    *_, answer = await client.until(lambda one: one.type == "comm_msg")
    assert answer.content["data"] == {"n": 1.5, "big": 2**70}
    assert answer.buffers == [buffer[::-1] for buffer in buffers]


async def test_the_first_outputs_are_there(server: Server) -> None:
    for _ in range(3):
        kernel = await start_kernel(server)
        async with connected(server, kernel) as client:
            assert await client.run("print('at once')") == "at once\n"


async def test_the_subprotocol_is_chosen_only_when_it_was_offered(server: Server, kernel: str) -> None:
    path = f"/api/kernels/{kernel}/channels"
    for offered, chosen in (([], None), (["v2.kernel"], None), (["v2.kernel", V1], V1)):
        async with await server.connect(path, protocols=offered) as ws:
            assert ws.protocol == chosen


async def test_no_compression_and_no_delay(
    server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[socket.socket] = []
    accept = socket.socket.accept

    def recording(listening: socket.socket) -> tuple[socket.socket, object]:
        connection, address = accept(listening)
        accepted.append(connection)
        return connection, address

    monkeypatch.setattr(socket.socket, "accept", recording)
    async with aiohttp.ClientSession() as fresh:
        url = f"{server.url}api/kernels/{kernel}/channels?token=test-token"
        async with fresh.ws_connect(url, compress=15) as ws:  # it offers permessage-deflate
            assert not ws.compress
            assert accepted[-1].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_20000_lines_all_arrive(client: KernelClient) -> None:
    printed = await client.run("for i in range(20000): print(i, flush=True)")
    assert printed.split() == [str(i) for i in range(20000)]


async def test_an_output_of_40_mib(client: KernelClient) -> None:
    printed = await client.run("print('x' * (40 << 20))")
    assert len(printed) == 40 * MIB + 1


async def test_a_message_of_20_mib_to_the_kernel(client: KernelClient) -> None:
    code = f"text = '{'x' * (20 * MIB)}'"
    await client.run(code)
    assert await client.run("print(len(text))") == f"{20 * MIB}\n"


async def test_every_client_sees_the_output_and_one_the_reply(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as one, connected(server, kernel, v1=False) as other:
        assert (await kernel_model(server, kernel))["connections"] == 2
        request = await one.execute("print('for all')")
        await one.done(request)
        seen = await other.until(lambda message: message.state == "idle" and bool(message.parent))
        assert "".join(message.text for message in seen) == "for all\n"
        assert await other.run("print('again')") == "again\n"
        assert not [m for m in other.seen if m.channel == "shell" and m.parent["msg_id"] == request]


async def test_interrupt(server: Server, kernel: str, client: KernelClient) -> None:
    request = await client.execute("print('begun', flush=True)\nimport time\ntime.sleep(1000)")
    await client.until(lambda one: one.text == "begun\n")
    assert (await kernel_model(server, kernel))["execution_state"] == "busy"
    reply = await server.fetch("POST", f"/api/kernels/{kernel}/interrupt")
    assert (reply.status, reply.body) == (204, b"")
    [error] = [one for one in await client.done(request) if one.type == "error"]
    assert error.content["ename"] == "KeyboardInterrupt"
    assert (await kernel_model(server, kernel))["execution_state"] == "idle"


async def test_restart(server: Server, kernel: str, client: KernelClient) -> None:
    await client.run("x = 1")
    pid = await client.run("import os; print(os.getpid())")
    reply = await server.fetch("POST", f"/api/kernels/{kernel}/restart")
    assert (reply.status, reply.json()["id"]) == (200, kernel)
    assert await client.run("print('x' in globals())") == "False\n"
    assert await client.run("import os; print(os.getpid())") != pid
    assert (await kernel_model(server, kernel))["connections"] == 1
    assert not [one for one in client.seen if one.state == "restarting"]  # that is for deaths


async def test_what_was_asked_before_a_restart_is_not_done_after_it(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as client:
        await client.execute("print('begun', flush=True)\nimport time\ntime.sleep(1000)")
        await client.until(lambda one: one.text == "begun\n")
        await client.execute("print('queued')")
        await server.fetch("POST", f"/api/kernels/{kernel}/restart")
        assert await client.run("print('new')") == "new\n"
        assert "queued\n" not in [one.text for one in client.seen]


async def test_a_page_comes_back_to_idle_after_a_death(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as client:
        await client.run("x = 1")
        await client.execute("import os, time; print('last words', flush=True); time.sleep(1); os._exit(1)")
        messages = await client.until(lambda one: one.state == "idle")
        states = [one.state for one in messages if one.state]
        assert states == ["busy", "restarting", "starting", "idle"]
        words = [one.text == "last words\n" for one in messages]
        restarting = [one.state == "restarting" for one in messages]
        assert words.index(True) < restarting.index(True)
        # JupyterLab ignores statuses that answer a kernel_info_request, and flips on a foreign session
        starting, idle = [one for one in messages if one.state in ("starting", "idle")]
        assert idle.parent == {}
        assert idle.header["session"] == starting.header["session"]
        assert await client.run("print('x' in globals())") == "False\n"
        assert (await kernel_model(server, kernel))["execution_state"] == "idle"


async def test_a_page_that_connects_is_told_the_state(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as one:
        await one.run("pass")
        await one.execute("import time; time.sleep(1000)")
        await one.until(lambda message: message.type == "execute_input")
        async with connected(server, kernel) as other:
            first = await other.receive()
            assert (first.state, first.parent, first.header["session"]) == (
                "busy",
                {},
                one.seen[-1].header["session"],
            )
    await server.fetch("POST", f"/api/kernels/{kernel}/interrupt")


async def test_deleting_a_kernel_ends_its_websockets_for_good(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as client:
        await client.run("pass")
        assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204
        assert await client.closed() == 1000
        assert "dead" not in [one.state for one in client.seen]


async def test_connections_are_counted(server: Server, kernel: str) -> None:
    assert (await kernel_model(server, kernel))["connections"] == 0
    async with connected(server, kernel):
        assert (await kernel_model(server, kernel))["connections"] == 1

    async def nobody() -> bool:
        return (await kernel_model(server, kernel))["connections"] == 0

    await eventually(nobody)


async def test_a_newer_websocket_of_the_same_session_replaces_the_older(server: Server, kernel: str) -> None:
    async with connected(server, kernel, "same") as old, connected(server, kernel, "same") as new:
        assert await old.closed() == 4001  # neither 1000 nor 1001: JupyterLab would stay away
        assert await new.run("print('here')") == "here\n"
        assert (await kernel_model(server, kernel))["connections"] == 1


async def test_execution_state_stays_busy_while_the_debugger_answers(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as client:
        request = await client.execute("import time\nwhile True: time.sleep(0.1)")
        await client.until(lambda one: one.type == "execute_input")
        ask = {"type": "request", "command": "debugInfo"}
        question = await client.request("debug_request", ask, channel="control")
        await client.until(lambda one: one.parent.get("msg_id") == question and one.state == "idle")
        assert (await kernel_model(server, kernel))["execution_state"] == "busy"
        await server.fetch("POST", f"/api/kernels/{kernel}/interrupt")
        await client.done(request)
        assert (await kernel_model(server, kernel))["execution_state"] == "idle"


async def test_what_front_ends_ask_by_themselves_is_no_activity(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as client:
        await client.run("pass")
        before = (await kernel_model(server, kernel))["last_activity"]
        for msg_type in ("kernel_info_request", "comm_info_request"):
            request = await client.request(msg_type, {})
            await client.until(
                lambda one, request=request: one.parent.get("msg_id") == request and one.state == "idle"
            )
        assert (await kernel_model(server, kernel))["last_activity"] == before
        await client.run("pass")
        assert (await kernel_model(server, kernel))["last_activity"] > before


async def test_the_servers_own_questions_are_not_shown(server: Server, kernel: str) -> None:
    async with connected(server, kernel, "mine") as client:
        await client.run("pass")
        assert {one.parent.get("session") for one in client.seen} == {"mine", None}
        assert "iopub_welcome" not in [one.type for one in client.seen]


@pytest.mark.parametrize("kernel_id", ["no-such-kernel", "..", "%2e%2e", "x" * 300])
async def test_an_unknown_kernel_is_404_before_the_upgrade(server: Server, kernel_id: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await server.connect(f"/api/kernels/{kernel_id}/channels")
    assert refused.value.status == 404


async def test_a_plain_get_is_told_what_is_missing(server: Server, kernel: str) -> None:
    reply = await server.fetch("GET", f"/api/kernels/{kernel}/channels")
    assert reply.status == 400
    assert "websocket" in reply.json()["message"]


async def test_it_is_pinged_and_dropped_when_it_does_not_answer(
    server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evstore.http.kernel_websocket.PING", 0.05)
    monkeypatch.setattr("evstore.http.kernel_websocket.SILENCE", 0.3)
    async with connected(server, kernel) as lively, connected(server, kernel, autoping=False) as silent:
        await lively.run("import time; time.sleep(1)")
        assert (await kernel_model(server, kernel))["connections"] == 1
        frames = [await silent.socket.receive()]
        while frames[-1].type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
            frames.append(await silent.socket.receive())
        assert aiohttp.WSMsgType.PING in [frame.type for frame in frames]


async def test_a_ping_is_answered(server: Server, kernel: str) -> None:
    async with connected(server, kernel, autoping=False) as client:
        await client.socket.ping(b"there?")
        frame = await client.socket.receive()
        while frame.type is not aiohttp.WSMsgType.PONG:
            frame = await client.socket.receive()
        assert frame.data == b"there?"


async def test_a_stopping_server_says_that_it_comes_back(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as client:
        await client.run("pass")
        stopping = asyncio.create_task(server.services.kernels.close())
        assert await client.closed() == 1012
        await stopping
