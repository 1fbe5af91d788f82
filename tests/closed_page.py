"""A page that is closed in the middle of a cell, and what is in the document then: verbs for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nbformat
import pytest

from evstore.processes.kernels import execution
from evstore.services import detached_output
from tests.helpers import Server
from tests.kernel_client import connected, eventually, nobody_is_connected

PATH = "/api/contents/a.ipynb"

# Waits for a file of that name in the kernel's folder, a hidden one, for it is none of the log's business
WAIT = "import os, time\nwhile not os.path.exists('.' + {name!r}): time.sleep(0.02)\n"
HALVES = "print('first')\n" + WAIT.format(name="go on") + "print('second')\n"


def accept_unstable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are given up, and looked after, within moments."""
    monkeypatch.setattr(detached_output, "GRACE", 0.3)
    monkeypatch.setattr(detached_output, "TICK", 0.1)
    monkeypatch.setattr(detached_output, "INTERVAL", 0.2)
    monkeypatch.setattr(detached_output, "REREAD", 0.0)
    monkeypatch.setattr(execution, "PRESENCE", 1.0)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written by itself."""
    monkeypatch.setattr(detached_output, "GRACE", 3600.0)


@pytest.fixture
async def kernel(server: Server) -> str:
    """The kernel of a.ipynb, which has a cell `c` and a cell `d`."""
    await save(server, "c", "d")
    return (await session(server))["kernel"]["id"]


async def save(server: Server, *cells: str, path: str = PATH, **outputs: Any) -> None:
    """A notebook with code cells of these ids."""
    content = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(id=cell, source=cell) for cell in cells]
    )
    reply = await server.fetch("PUT", path, json={"type": "notebook", "content": content})
    assert reply.status in (200, 201), reply.text


async def session(server: Server, path: str = "a.ipynb") -> dict[str, Any]:
    body = {"path": path, "type": "notebook", "name": path, "kernel": {"name": "python3"}}
    reply = await server.fetch("POST", "/api/sessions", json=body)
    assert reply.status == 201, reply.text
    return reply.json()


async def cell(server: Server, at: int = 0, path: str = PATH) -> dict[str, Any]:
    """A cell, as a page that is opened now gets it."""
    reply = await server.fetch("GET", path)
    assert reply.status == 200, reply.text
    return reply.json()["content"]["cells"][at]


async def stored(server: Server, at: int = 0, path: str = PATH) -> dict[str, Any]:
    """A cell, as it is in the log: nobody asks for what waits."""
    reply = await server.fetch("GET", f"{path}?at={server.services.store.offset}")
    return reply.json()["content"]["cells"][at]


def printed(cell: dict[str, Any]) -> str:
    return "".join(output.get("text", "") for output in cell["outputs"])


async def actors(server: Server, path: str = "a.ipynb") -> list[str]:
    """Who has written the notebook, the last one first."""
    reply = await server.fetch("GET", f"/api/history/versions/{path}")
    return [one["actor"] for one in reply.json()["versions"]]


async def go_on(server: Server, name: str = "go on") -> None:
    (server.services.config.folder / f".{name}").touch()


@asynccontextmanager
async def left(server: Server, kernel: str, code: str, *, cell: str = "c") -> AsyncIterator[str]:
    """A page runs `code` in a cell, sees its first output, and is closed. Yields the request's id."""
    async with connected(server, kernel) as page:
        request = await page.execute(code, cell=cell)
        await page.until(lambda one: bool(one.text))
    await nobody_is_connected(server, kernel)
    yield request


async def written(server: Server, text: str, at: int = 0, path: str = PATH) -> None:
    """Wait until this has been put into the document, with nobody asking for it."""

    async def is_there() -> bool:
        return text in printed(await stored(server, at, path))

    await eventually(is_there)


async def executions(server: Server, kernel: str) -> list[dict[str, Any]]:
    return (await server.fetch("GET", f"/api/kernels/{kernel}/executions")).json()


async def follow(
    server: Server, kernel: str, request: str, after: str = "", wait: float = 5
) -> dict[str, Any]:
    reply = await server.fetch("GET", f"/api/kernels/{kernel}/executions/{request}?after={after}&wait={wait}")
    assert reply.status == 200, reply.text
    return reply.json()


def is_waiting(server: Server) -> bool:
    """Whether any output is to be put into a notebook."""
    services = server.services
    return bool(services.kernel_output._left) or any(
        kernel.executions.unsettled() for kernel in services.kernels.all()
    )


async def eventually_settled(server: Server) -> None:
    async def is_settled() -> bool:
        return not is_waiting(server)

    await eventually(is_settled)
