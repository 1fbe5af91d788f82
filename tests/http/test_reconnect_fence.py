"""What the connection to a gateway loses when it breaks, and how those who wait for it are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from evstore.processes.gateway import reconnect_fence
from tests.gateway import RealGateway, Relay
from tests.helpers import Server, StartServer
from tests.kernel_client import connected, eventually, kernel_model, start_kernel

CUT = "evstore: the connection to the gateway broke"


@pytest.fixture
async def relay(gateway: RealGateway) -> AsyncIterator[Relay]:
    async with Relay(gateway.port) as relay:
        yield relay


@pytest.fixture
async def server(gateway: RealGateway, relay: Relay, start_server: StartServer) -> Server:
    return await start_server(gateway=gateway.config(url=relay.url))


def is_idle(frame: bytes) -> bool:
    return b'"idle"' in frame


def is_output(frame: bytes) -> bool:
    return any(word in frame for word in (b'"status"', b'"execute_input"', b'"stream"')) and not is_reply(
        frame
    )


def is_reply(frame: bytes) -> bool:
    return b'_reply"' in frame


def nothing(_frame: bytes) -> bool:
    return False


async def test_an_idle_that_was_lost(server: Server, relay: Relay) -> None:
    """The answer has arrived before the connection broke, and the end of the output has not."""
    async with connected(server, kernel := await start_kernel(server)) as client:
        assert await client.run("print(1)") == "1\n"
        relay.loses = is_idle
        request = await client.execute("print('mine')")
        await client.until(lambda one: one.type == "execute_reply")

        async def is_busy() -> bool:  # the answer may overtake the output
            return (await kernel_model(server, kernel))["execution_state"] == "busy"

        await eventually(is_busy)
        relay.loses = nothing
        relay.cut()
        messages = await client.done(request)
        assert [one.state for one in messages if one.parent.get("msg_id") == request][-1] == "idle"
        assert CUT in "".join(one.text for one in messages)
        assert (await kernel_model(server, kernel))["execution_state"] == "idle"
        assert await client.run("print(2)") == "2\n"
        assert sum(one.state == "idle" and one.parent.get("msg_id") == request for one in client.seen) == 1


async def test_nothing_was_lost(server: Server, relay: Relay) -> None:
    """Nobody is told of what did not happen."""
    async with connected(server, await start_kernel(server)) as client:
        assert await client.run("print(1)") == "1\n"
        relay.cut()

        async def is_back() -> bool:
            return relay.connected == 2

        await eventually(is_back)
        assert await client.run("print(2)") == "2\n"
        await asyncio.sleep(1.5)  # in which a question would be asked again
        assert await client.run("print(3)") == "3\n"
        assert "evstore" not in "".join(one.text for one in client.seen)


async def test_a_subscription_that_comes_late(server: Server, relay: Relay) -> None:
    """The kernel is not heard for a while after the connection is back, and a cell ends in that time."""
    async with connected(server, kernel := await start_kernel(server)) as client:
        assert await client.run("print(1)") == "1\n"
        relay.loses = is_output
        relay.cut()
        request = await client.execute("print('mine')")
        await client.until(lambda one: one.type == "execute_reply")
        relay.loses = nothing
        await client.done(request)
        about = [one.state for one in client.seen if one.parent.get("msg_id") == request]
        assert [state for state in about if state] == ["idle"]
        assert (await kernel_model(server, kernel))["execution_state"] == "idle"


async def test_an_answer_and_its_output_are_lost(server: Server, relay: Relay) -> None:
    async with connected(server, await start_kernel(server)) as client:
        assert await client.run("print(1)") == "1\n"
        relay.loses = lambda _frame: True
        request = await client.execute("print('mine')")

        async def is_over() -> bool:
            about = [frame for frame in relay.lost if request.encode() in frame]
            return any(map(is_idle, about)) and any(map(is_reply, about))

        await eventually(is_over)
        relay.loses = nothing
        relay.cut()
        messages = await client.done(request)
        [reply] = [one for one in messages if one.channel == "shell"]
        assert (reply.content["status"], reply.content["ename"]) == ("error", "ConnectionLost")
        assert "".join(one.text for one in messages).count("evstore: ") == 1
        assert await client.run("print(2)") == "2\n"


async def test_a_kernel_that_is_never_heard_again(
    server: Server, relay: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not keep anybody waiting all the same."""
    monkeypatch.setattr(reconnect_fence, "UNHEARD", 0.1)
    async with connected(server, await start_kernel(server)) as client:
        assert await client.run("print(1)") == "1\n"
        relay.loses = is_output
        relay.cut()
        messages = await client.done(await client.execute("print('mine')"))
        assert CUT in "".join(one.text for one in messages)
    assert "answers and is not heard on iopub" in caplog.text
