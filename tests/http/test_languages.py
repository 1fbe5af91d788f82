"""Kernels of another language than the server's: bash, which knows nothing of ipykernel's Python.

Its kernel.json has a field that Jupyter does not know (`codemirror_mode`).
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress

import psutil
import pytest

from tests.helpers import Server
from tests.kernel_client import KernelClient, connected, eventually, kernel_model, start_kernel


@pytest.fixture
async def kernel(server: Server) -> str:
    return await start_kernel(server, name="bash")


@pytest.fixture(params=[True, False], ids=["v1", "default framing"])
async def client(server: Server, kernel: str, request: pytest.FixtureRequest) -> AsyncIterator[KernelClient]:
    async with connected(server, kernel, v1=request.param) as client:
        yield client


async def idle(server: Server, kernel: str) -> None:
    async def look() -> bool:
        return (await kernel_model(server, kernel))["execution_state"] == "idle"

    await eventually(look)


async def test_its_kernelspec(server: Server) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        specs = (await server.fetch("GET", "/api/kernelspecs")).json()["kernelspecs"]
        reply = await server.fetch("GET", "/api/kernelspecs/Bash")
    assert [str(one.message) for one in caught] == []
    assert specs["bash"] == reply.json()
    spec = reply.json()["spec"]
    assert (spec["display_name"], spec["language"], spec["env"]) == ("Bash", "bash", {"PS1": "$"})


async def test_run(client: KernelClient, server: Server, kernel: str) -> None:
    assert await client.run("echo hello; echo $((6 * 7))") == "hello\n42\n"
    request = await client.execute("x=kept; cd /; pwd; ls /nonexistent")
    messages = await client.done(request)
    assert "/\n" in "".join(message.text for message in messages)
    [reply] = [message for message in messages if message.type == "execute_reply"]
    assert (reply.content["status"], reply.content["execution_count"]) == ("error", 2)
    assert await client.run("echo $x") == "kept\n"
    assert (await kernel_model(server, kernel))["name"] == "bash"


async def test_what_it_knows(client: KernelClient) -> None:
    request = await client.request("kernel_info_request", {})
    messages = await client.until(
        lambda one: one.type == "kernel_info_reply" and one.parent["msg_id"] == request
    )
    assert messages[-1].content["implementation"] == "bash_kernel"
    await client.request("complete_request", {"code": "ech", "cursor_pos": 3})
    messages = await client.until(lambda one: one.type == "complete_reply")
    assert "echo" in messages[-1].content["matches"]


async def test_all_of_much_output(client: KernelClient) -> None:
    # bash_kernel sometimes leaves the \r of a terminal's line in its text, also for a bare client
    assert (await client.run("seq 500")).split() == [str(number) for number in range(1, 501)]


async def is_asleep() -> bool:
    """Whether a program that was started from here does nothing but sleep."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if process.cmdline() == ["sleep", "1000"]:
                return True
    return False


async def test_interrupt(client: KernelClient, server: Server, kernel: str) -> None:
    request = await client.execute("echo going; sleep 1000")
    await client.until(lambda message: "going" in message.text)
    assert (await kernel_model(server, kernel))["execution_state"] == "busy"
    await eventually(is_asleep)  # what bash gets in between, it forgets
    assert (await server.fetch("POST", f"/api/kernels/{kernel}/interrupt")).status == 204
    messages = await client.done(request)
    assert [one.content["status"] for one in messages if one.type == "execute_reply"] in (
        ["abort"],
        ["error"],
    )
    assert "again\n" in await client.run("echo again")


async def test_restart(client: KernelClient, server: Server, kernel: str) -> None:
    assert await client.run("x=kept; echo $x") == "kept\n"
    reply = await server.fetch("POST", f"/api/kernels/{kernel}/restart")
    assert (reply.status, reply.json()["id"], reply.json()["name"]) == (200, kernel, "bash")
    assert await client.run('echo "[$x]"') == "[]\n"


async def test_death(
    client: KernelClient, server: Server, kernel: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await client.run("x=kept; echo $x") == "kept\n"
    await client.execute("kill -9 $PPID; sleep 1000")  # the kernel that runs this shell
    await client.until(lambda message: message.state == "restarting")
    await client.until(lambda message: message.state == "idle")
    assert await client.run('echo "[$x]"') == "[]\n"
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith(f"Kernel {kernel} (bash) died with exit code -9 and is started again")


async def test_two_languages_at_once(server: Server, kernel: str) -> None:
    python = await start_kernel(server, name="python3")
    async with connected(server, kernel) as one, connected(server, python) as other:
        printed = await asyncio.gather(one.run("echo $((1 + 1))"), other.run("print(1 + 1)"))
    assert printed == ["2\n", "2\n"]
    assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204
    await idle(server, python)


async def test_a_session_of_it(server: Server) -> None:
    body = {"path": "a.ipynb", "type": "notebook", "name": "a.ipynb", "kernel": {"name": "bash"}}
    session = (await server.fetch("POST", "/api/sessions", json=body)).json()
    folder = server.services.config.folder.resolve()
    async with connected(server, session["kernel"]["id"]) as client:
        assert await client.run("pwd; echo $JPY_SESSION_NAME") == f"{folder}\n{folder}/a.ipynb\n"
    reply = await server.fetch(
        "PATCH", f"/api/sessions/{session['id']}", json={"kernel": {"name": "python3"}}
    )
    assert reply.json()["kernel"]["name"] == "python3"
    assert [one["name"] for one in (await server.fetch("GET", "/api/kernels")).json()] == ["python3"]
