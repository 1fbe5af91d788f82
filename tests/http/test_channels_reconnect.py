"""What a kernel prints while nobody listens, or somebody too slowly, is not lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from evstore.core.units import MIB
from evstore.processes.kernels import outbox, pump
from tests.helpers import TOKEN, Server
from tests.kernel_client import (
    KernelClient,
    connected,
    eventually,
    kernel_model,
    nobody_is_connected,
    start_kernel,
)

# Prints 0, 1, 2, ... in a thread of its own, until `stop` is set; it shows when ENOUGH are printed
COUNT = """
import threading, time, pathlib
stop = threading.Event()
def count():
    for number in range(100_000):
        print(number, flush=True)
        if number == ENOUGH: pathlib.Path('.enough').touch()
        if stop.wait(0.01): break
threading.Thread(target=count).start()
"""
ENOUGH = 50
# Prints when nobody is connected any more
LATER = """
import threading, time, pathlib
def later():
    while not pathlib.Path('.alone').exists(): time.sleep(0.02)
    print('later', flush=True)
    pathlib.Path('.printed').touch()
threading.Thread(target=later).start()
"""


@pytest.fixture
async def kernel(server: Server) -> str:
    """A kernel that runs in the folder."""
    return await start_kernel(server, path="")


def numbers(client: KernelClient) -> list[int]:
    """The numbers that a client has seen."""
    return [int(word) for one in client.seen for word in one.text.split() if word.isdecimal()]


async def stop(client: KernelClient) -> None:
    await client.run("stop.set()")
    await client.run("time.sleep(0.1); print('the end')")


async def has_made(server: Server, name: str) -> None:
    """Wait until the kernel has made a hidden file of that name."""

    async def is_there() -> bool:
        return (server.services.config.folder / f".{name}").exists()

    await eventually(is_there)


@pytest.mark.parametrize("session", ["the same", "another"])
@pytest.mark.parametrize("v1", [True, False], ids=["v1", "default"])
async def test_a_client_that_comes_back_gets_what_it_missed(
    server: Server, kernel: str, session: str, v1: bool
) -> None:
    """Invariant 13."""
    async with connected(server, kernel, "the same") as before:
        await before.run("pass")
        await before.execute(COUNT.replace("ENOUGH", str(ENOUGH)))
        await before.until(lambda _: 3 in numbers(before))
        await before.leave()
    await nobody_is_connected(server, kernel)
    await has_made(server, "enough")
    async with connected(server, kernel, session, v1=v1) as after:
        await after.until(lambda one: bool(one.text))
        await stop(after)
    seen = numbers(before) + numbers(after)
    assert seen == list(range(len(seen)))  # all, in order, each once
    assert ENOUGH in numbers(after)


async def test_what_was_replayed_is_not_replayed_again(server: Server, kernel: str) -> None:
    async with connected(server, kernel, "a") as client:
        await client.run(LATER)
    await nobody_is_connected(server, kernel)
    (server.services.config.folder / ".alone").touch()
    await has_made(server, "printed")
    async with connected(server, kernel, "b") as first:
        assert "later" in await everything(first)
    await nobody_is_connected(server, kernel)
    for session in ("a", "b", "c"):
        async with connected(server, kernel, session) as later:
            assert "later" not in await everything(later)


async def test_a_reply_finds_the_client_that_comes_back(server: Server, kernel: str) -> None:
    async with connected(server, kernel, "same") as client:
        request = await client.execute(
            "import pathlib, time\nwhile not pathlib.Path('.alone').exists(): time.sleep(0.02)\nprint('done')"
        )
    await nobody_is_connected(server, kernel)
    (server.services.config.folder / ".alone").touch()

    async def is_done() -> bool:
        return (await kernel_model(server, kernel))["execution_state"] == "idle"

    await eventually(is_done)
    async with connected(server, kernel, "same") as again:
        messages = await again.done(request)
        assert "".join(one.text for one in messages) == "done\n"


async def test_a_client_that_loses_the_network_while_others_look_on(server: Server, kernel: str) -> None:
    async with connected(server, kernel, "stays") as stays:
        async with connected(server, kernel, "leaves") as leaves:
            await leaves.run("pass")
        await stays.run("print('meanwhile')")
        async with connected(server, kernel, "leaves") as back:
            assert "meanwhile" in await everything(back)
        async with connected(server, kernel, "new") as new:
            assert "meanwhile" not in await everything(new)  # it did not miss anything


async def test_nobody_waits_for_ever_for_a_client_that_left(
    server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "AWAY", 0)
    async with connected(server, kernel, "stays") as stays:
        async with connected(server, kernel, "leaves") as leaves:
            await leaves.run("pass")
        clients = server.services.kernels.get(kernel)._pump._clients

        async def is_given_up() -> bool:
            return "leaves" not in clients

        await eventually(is_given_up)
        await stays.run("print('meanwhile')")
        async with connected(server, kernel, "leaves") as back:
            assert "meanwhile" not in await everything(back)


async def test_what_is_printed_before_the_first_page(server: Server) -> None:
    kernel = await start_kernel(server)
    kernel_service = server.services.kernels.get(kernel)

    async def is_up() -> bool:
        return kernel_service.state == "idle"

    await eventually(is_up)
    async with connected(server, kernel) as client:
        assert (await client.receive()).state == "starting"


async def test_memory_stays_bounded_while_nobody_reads(server: Server, kernel: str) -> None:
    """Invariant 13."""
    async with connected(server, kernel, "same") as client:
        await client.run("import threading, time")
        await client.run("def flood():\n for i in range(2000): print(f'{i:<50000}', flush=True)")
        await client.run("threading.Timer(0.5, flood).start()")
    await nobody_is_connected(server, kernel)
    waiting = server.services.kernels.get(kernel)._pump._clients["same"].outbox
    highest = 0

    async def all_printed() -> bool:
        nonlocal highest
        highest = max(highest, waiting.in_memory)
        return waiting.on_disk > 80 * MIB

    await eventually(all_printed)
    assert highest < server.services.config.kept_output_memory + 2 * outbox.PAGE
    async with connected(server, kernel, "same") as back:
        await back.until(lambda one: "1999" in one.text)
        assert numbers(back) == list(range(2000))


async def test_a_connection_that_breaks_without_a_word_loses_nothing(server: Server, kernel: str) -> None:
    """A laptop goes to sleep, and comes back with a new connection before the old one is missed."""
    async with connected(server, kernel, "same") as client:
        await client.execute(
            "import time\n"
            "for i in range(10): print(i, flush=True)\n"
            "time.sleep(2)\n"
            "for i in range(10, 20): print(i, flush=True)"
        )
        await client.until(lambda one: "9\n" in one.text)
        with pytest.raises(TimeoutError):  # awake: the client confirms what it has received
            await asyncio.wait_for(client.socket.receive(), 1)
        await asyncio.sleep(2)  # asleep: what is sent now is in nobody's hands
        async with connected(server, kernel, "same") as back:
            await back.until(lambda one: "19\n" in one.text)
        assert numbers(client) == list(range(10))
        assert numbers(back) == list(range(10, 20))


async def test_what_nobody_confirmed_is_sent_again(server: Server, kernel: str) -> None:
    async with connected(server, kernel, "same", autoping=False) as silent:
        await silent.socket.receive()  # the first pings go unanswered
        async with connected(server, kernel, "witness") as witness:
            await witness.run("print('important')")
        transport = silent.socket.get_extra_info("socket")
        transport.shutdown(socket.SHUT_RDWR)  # no close frame
    await nobody_is_connected(server, kernel)
    async with connected(server, kernel, "same") as back:
        assert (await everything(back)).count("important") == 1


@pytest.fixture
async def raw(server: Server, kernel: str) -> AsyncIterator[socket.socket]:
    """A client's bare connection, with a small buffer, upgraded, of which nothing is read."""
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", server.port))
        head = (
            f"GET /api/kernels/{kernel}/channels?session_id=slow&token={TOKEN} HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        await loop.sock_sendall(connection, ("\r\n".join(head) + "\r\n\r\n").encode())
        assert b"101 Switching" in await loop.sock_recv(connection, 100)
        yield connection


async def test_a_client_that_does_not_read_slows_nobody(
    server: Server, kernel: str, raw: socket.socket
) -> None:
    """Invariant 13."""
    async with connected(server, kernel) as client:
        printed = await client.run("for i in range(20000): print(f'{i:<1000}', flush=True)")
        assert printed.split() == [str(i) for i in range(20000)]
    slow = server.services.kernels.get(kernel)._pump._clients["slow"]
    assert slow.link is not None
    assert slow.outbox  # it waits there,
    # and mostly on disk
    assert slow.outbox.in_memory <= server.services.config.kept_output_memory + outbox.PAGE


async def everything(client: KernelClient) -> str:
    """All text that the client gets until an execution of its own is done."""
    await client.run("pass")
    return "".join(one.text for one in client.seen)
