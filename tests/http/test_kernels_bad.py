"""Kernels that misbehave and clients that do, over HTTP: the right answer, and nothing left running."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from evstore.processes.kernels import kernel as life
from evstore.processes.kernels import process
from tests.helpers import Server, StartServer
from tests.kernel_client import connected, eventually, start_kernel

SILENT = "import time; time.sleep(1000)"
MANY = 50


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Install a kernel that runs Python code; returns its name."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))

    def install(code: str, **spec: Any) -> str:
        folder = tmp_path / "data" / "kernels" / "made"
        folder.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-S", "-c", code, "{connection_file}"]
        made = {"argv": argv, "display_name": "Made", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(made | spec))
        return "made"

    return install


def running() -> list[psutil.Process]:
    """The processes below this one that run kernels."""
    found: list[psutil.Process] = []
    for one in psutil.Process().children(recursive=True):
        try:
            if one.status() != psutil.STATUS_ZOMBIE and "evstore-kernels-" in " ".join(one.cmdline()):
                found.append(one)
        except psutil.NoSuchProcess:
            pass
    return found


async def kernel_ids(server: Server) -> list[str]:
    return [kernel["id"] for kernel in (await server.fetch("GET", "/api/kernels")).json()]


IDS = ["%2F", "a%2Fb", "..%2F..", "%C3%A9", "%F0%9F%A6%86", "a%00b", "%0A", "x" * 10_000, "%3Cimg%3E"]


@pytest.mark.parametrize("given", IDS)
@pytest.mark.parametrize("what", ["kernels", "sessions"])
async def test_ids_that_can_not_be(server: Server, given: str, what: str) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("PATCH", ""),
        ("POST", "/restart"),
        ("POST", "/interrupt"),
    ):
        reply = await server.fetch(method, f"/api/{what}/{given}{path}", json={})
        assert reply.status in (404, 405), (method, path)
        assert reply.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"null", b'"x"', b'{"path": "\\ud800"}'])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_sessions_of_no_object(server: Server, body: bytes, method: str) -> None:
    path = "/api/sessions" if method == "POST" else "/api/sessions/1-1-1-1-1"
    reply = await server.fetch(method, path, data=body)
    assert reply.status == 400
    assert reply.json()["message"]


async def test_a_body_that_is_too_large(server: Server) -> None:
    for path in ("/api/kernels", "/api/sessions"):
        reply = await server.fetch("POST", path, json={"path": "x" * 5_000_000})
        assert reply.status == 413
    assert await kernel_ids(server) == []


async def test_two_deletions_at_once(server: Server) -> None:
    kernel = await start_kernel(server)
    replies = await asyncio.gather(*(server.fetch("DELETE", f"/api/kernels/{kernel}") for _ in range(3)))
    assert sorted(reply.status for reply in replies) == [204, 404, 404]
    assert running() == []


async def test_a_restart_and_a_deletion_at_once(server: Server) -> None:
    for _ in range(3):
        kernel = await start_kernel(server)
        replies = await asyncio.gather(
            server.fetch("POST", f"/api/kernels/{kernel}/restart"),
            server.fetch("DELETE", f"/api/kernels/{kernel}"),
            server.fetch("POST", f"/api/kernels/{kernel}/restart"),
            server.fetch("POST", f"/api/kernels/{kernel}/interrupt"),
        )
        assert replies[1].status == 204
        assert all(reply.status in (200, 204, 404) for reply in replies), [one.text for one in replies]
        assert await kernel_ids(server) == []
    assert running() == []


async def test_one_id_for_several_at_once(server: Server) -> None:
    wanted = "11111111-2222-3333-4444-555555555555"
    kernels = await asyncio.gather(*(start_kernel(server, kernel_id=wanted) for _ in range(4)))
    assert kernels == [wanted] * 4
    assert await kernel_ids(server) == [wanted]
    assert len(running()) == 1
    # the name is not looked at
    assert await start_kernel(server, kernel_id=wanted, name="not installed") == wanted


async def test_one_id_while_its_kernel_ends(server: Server) -> None:
    wanted = await start_kernel(server)
    before = server.services.kernels.get(wanted)
    deleting = asyncio.create_task(server.fetch("DELETE", f"/api/kernels/{wanted}"))
    while not before.is_ending:
        await asyncio.sleep(0)
    assert await start_kernel(server, kernel_id=wanted) == wanted
    assert (await deleting).status == 204
    assert server.services.kernels.get(wanted) is not before
    async with connected(server, wanted) as client:
        assert await client.run("print('new')") == "new\n"


async def test_kernels_that_never_answer(server: Server, install: Callable[..., str]) -> None:
    kernel = await start_kernel(server, name=install(SILENT))
    assert (await server.fetch("POST", f"/api/kernels/{kernel}/interrupt")).status == 204
    async with connected(server, kernel) as client:
        await client.execute("print('nobody hears this')")
        model = (await server.fetch("GET", f"/api/kernels/{kernel}")).json()
        assert (model["execution_state"], model["connections"]) == ("starting", 1)
        assert (await server.fetch("POST", f"/api/kernels/{kernel}/restart")).status == 200
        assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204
        assert await client.closed() == 1000
    assert running() == []


async def test_kernels_that_die_at_once(
    server: Server,
    install: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The start itself went well; a page learns the rest by its websocket, the operator by the log."""
    monkeypatch.setattr(life, "POLL", 0.05)
    body = {
        "path": "a.ipynb",
        "type": "notebook",
        "kernel": {"name": install("raise SystemExit('no module xyz')")},
    }
    reply = await server.fetch("POST", "/api/sessions", json=body)
    kernel = reply.json()["kernel"]["id"]
    assert reply.status == 201
    async with connected(server, kernel) as client:
        await client.until(lambda message: message.state == "restarting")
        await client.until(lambda message: message.state == "dead")
        assert await client.closed() == 1000
    assert (await server.fetch("GET", f"/api/kernels/{kernel}")).status == 404
    assert (await server.fetch("POST", f"/api/kernels/{kernel}/interrupt")).status == 404
    assert (await server.fetch("POST", f"/api/kernels/{kernel}/restart")).status == 404
    assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 404
    assert (await server.fetch("GET", "/api/sessions")).json() == []
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert (
        lines[0]
        == f"Kernel {kernel} (made) died with exit code 1 and is started again; it said: no module xyz"
    )
    assert lines[-1].startswith(f"Kernel {kernel} (made) keeps dying and is given up; it said: no module xyz")
    assert running() == []


async def test_a_program_that_goes_away_before_a_restart(
    server: Server, install: Callable[..., str], tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -c "{SILENT}" "$@"\n')
    program.chmod(0o755)
    kernel = await start_kernel(server, name=install("", argv=[str(program), "{connection_file}"]))
    program.unlink()
    reply = await server.fetch("POST", f"/api/kernels/{kernel}/restart")
    assert reply.status == 500
    assert reply.json()["message"].startswith("The 'made' kernel could not be started")
    assert await kernel_ids(server) == []


async def test_fifty_at_once(
    server: Server,
    install: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They start, the server answers meanwhile, and they go; none of these ever says a word."""
    monkeypatch.setattr(process, "GRACE", 1.0)
    name = install(SILENT)
    starting = [asyncio.create_task(start_kernel(server, name=name)) for _ in range(MANY)]
    longest = 0.0
    while not all(task.done() for task in starting):
        began = time.monotonic()
        assert (await server.fetch("GET", "/api/status")).status == 200
        longest = max(longest, time.monotonic() - began)
    print(f"longest answer while {MANY} kernels start: {longest:.3f} s")
    kernels = [task.result() for task in starting]
    assert sorted(await kernel_ids(server)) == sorted(kernels)
    assert len(running()) == MANY
    replies = await asyncio.gather(*(server.fetch("DELETE", f"/api/kernels/{kernel}") for kernel in kernels))
    assert [reply.status for reply in replies] == [204] * MANY

    async def none() -> bool:
        return not running()

    await eventually(none)
    assert await kernel_ids(server) == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_no_more_than_the_settings_allow(
    start_server: StartServer, install: Callable[..., str]
) -> None:
    server = await start_server(max_kernels=2)
    name = install(SILENT)
    replies = await asyncio.gather(
        *(server.fetch("POST", "/api/kernels", json={"name": name}) for _ in range(5))
    )
    assert sorted(reply.status for reply in replies) == [201, 201, 403, 403, 403]
    refused = next(reply for reply in replies if reply.status == 403)
    assert refused.json()["message"] == "2 kernels run already, and no more may: shut one down first."
    session = await server.fetch("POST", "/api/sessions", json={"path": "x", "type": "console"})
    assert session.status == 403
    assert (await server.fetch("GET", "/api/sessions")).json() == []
    first, _ = await kernel_ids(server)
    assert await start_kernel(server, kernel_id=first) == first  # it is none more
    await server.fetch("DELETE", f"/api/kernels/{first}")
    assert await start_kernel(server, name=name)
