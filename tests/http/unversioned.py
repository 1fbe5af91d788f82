"""A folder with things that have no versions, served: what the tests of it do and look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Reply, Server, StartServer

KIB = 1024
LIMIT = 100 * KIB  # bytes above which files have no versions, in these tests
KEYS = {
    "name",
    "path",
    "type",
    "writable",
    "created",
    "last_modified",
    "mimetype",
    "content",
    "format",
    "size",
    "hash",
    "hash_algorithm",
}


async def model(server: Server, path: str, query: str = "") -> Any:
    reply = await server.fetch("GET", f"/api/contents/{path}{query}")
    assert reply.status == 200, (path, reply.body)
    return reply.json()


async def listed(server: Server, path: str = "") -> dict[str, bool]:
    """The names in a directory, and whether they have versions."""
    return {one["name"]: one.get("versioned", True) for one in (await model(server, path))["content"]}


async def put(server: Server, path: str, text: str, **headers: str) -> Reply:
    data = {"type": "file", "format": "text", "content": text}
    return await server.fetch("PUT", f"/api/contents/{path}", json=data, headers=headers)


async def send(server: Server, method: str, address: str, /, **data: Any) -> Reply:
    return await server.fetch(method, f"/api/contents/{address}", json=data)


async def events(server: Server) -> int:
    return (await server.fetch("GET", "/api/history/log")).json()["head"]


def fill(folder: Path) -> None:
    """Something of each kind."""
    (folder / ".evstoreignore").write_text("data/\n*.secret\n")
    (folder / "a.py").write_text("x = 1\n")
    (folder / "kept").mkdir()
    (folder / "kept" / "b.py").write_text("y = 2\n")
    for name in ("node_modules", "data", "__pycache__", ".hidden"):
        (folder / name).mkdir()
        (folder / name / "x.txt").write_text(f"in {name}")
    (folder / "data" / "deep").mkdir()
    (folder / "data" / "deep" / "y.csv").write_text("1,2\n")
    (folder / "data" / ".hidden").write_text("no")
    (folder / "key.secret").write_text("s")
    (folder / "a.pyc").write_bytes(b"\0")
    (folder / "old~").write_text("o")
    (folder / "large.bin").write_bytes(b"\xff" * (LIMIT + 1))


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(max_versioned_size=LIMIT, max_body_size=1024 * KIB)


@pytest.fixture
def folder(server: Server) -> Path:
    return server.services.config.folder
