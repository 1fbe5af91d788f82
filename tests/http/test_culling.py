"""Idle kernels are shut down when the settings say so, and with them their sessions."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Server, StartServer
from tests.kernel_client import connected, eventually, kernel_model, start_kernel

TIMEOUT = 0.4  # seconds
QUICK = {"cull_idle_timeout": TIMEOUT, "cull_interval": 0.05}
SLEEP = "import time; print('asleep'); time.sleep(1000)"


async def is_gone(server: Server, kernel: str) -> bool:
    return (await server.fetch("GET", f"/api/kernels/{kernel}")).status == 404


async def culled(server: Server, kernel: str) -> None:
    async def look() -> bool:
        return await is_gone(server, kernel)

    await eventually(look)


async def outlive_a_culling(server: Server, *kept: str) -> None:
    """Another kernel is started, and culled; those that are kept have been idle for longer."""
    await culled(server, await start_kernel(server))
    for kernel in kept:
        assert (await kernel_model(server, kernel))["id"] == kernel


async def test_an_idle_kernel_goes_and_its_session_with_it(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = await start_server(**QUICK)
    body = {"path": "a.ipynb", "type": "notebook", "name": "a", "kernel": {"name": "python3"}}
    session = (await server.fetch("POST", "/api/sessions", json=body)).json()
    kernel = session["kernel"]["id"]
    async with connected(server, kernel) as client:
        assert await client.run("print('up')") == "up\n"
        await outlive_a_culling(server, kernel)
    await culled(server, kernel)
    assert (await server.fetch("GET", "/api/sessions")).json() == []
    assert (await server.fetch("GET", f"/api/sessions/{session['id']}")).status == 404
    [line] = [one for one in caplog.records if "is culled" in one.getMessage() and kernel in one.getMessage()]
    assert line.levelno == logging.INFO
    assert re.search(
        r"\(python3\) is culled: idle, 0 connections, no activity for \d+ seconds", line.getMessage()
    )
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_busy_one_is_kept_until_it_is_done(start_server: StartServer) -> None:
    server = await start_server(**QUICK)
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        await client.execute(SLEEP)
        await client.until(lambda message: "asleep" in message.text)
    await outlive_a_culling(server, kernel)
    await server.fetch("POST", f"/api/kernels/{kernel}/interrupt")
    await culled(server, kernel)


async def test_busy_ones_too(start_server: StartServer) -> None:
    server = await start_server(**QUICK, cull_busy=True)
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        await client.execute(SLEEP)
        await client.until(lambda message: "asleep" in message.text)
        await outlive_a_culling(server, kernel)
    await culled(server, kernel)


async def test_connected_ones_too(start_server: StartServer) -> None:
    server = await start_server(**QUICK, cull_connected=True)
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        assert await client.closed() == 1000
    assert await is_gone(server, kernel)


async def test_nothing_is_culled_unless_it_is_asked_for(start_server: StartServer, install: Any) -> None:
    server = await start_server(cull_interval=0.05)
    kernels = [await start_kernel(server), await start_kernel(server, name=install("own", 0.1))]
    other = await start_server(**QUICK)
    await outlive_a_culling(other)
    for kernel in kernels:
        assert not await is_gone(server, kernel)


async def test_a_kernelspec_may_say_otherwise(start_server: StartServer, install: Any) -> None:
    server = await start_server(**QUICK)
    kept = [
        await start_kernel(server, name=install(f"kept-{number}", timeout))
        for number, timeout in enumerate((0, -1, 3600))
    ]
    garbage = await start_kernel(server, name=install("garbage", "never"))
    await culled(server, garbage)
    await outlive_a_culling(server, *kept)


async def test_a_limit_below_the_general_one(start_server: StartServer, install: Any) -> None:
    server = await start_server(cull_idle_timeout=3600, cull_interval=0.05)
    usual = await start_kernel(server)
    await culled(server, await start_kernel(server, name=install("short", 0.1)))
    assert not await is_gone(server, usual)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a kernel with a limit of its own; returns its name."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))

    def install(name: str, timeout: object) -> str:
        folder = tmp_path / "data" / "kernels" / name
        folder.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": name, "metadata": {"cull_idle_timeout": timeout}}
        (folder / "kernel.json").write_text(json.dumps(spec))
        return name

    return install
