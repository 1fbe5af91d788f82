"""A client of a folder that is served: what tests ask it for."""

from __future__ import annotations

import asyncio

from tests.helpers import Reply, Server

SECRET = "what only stands outside"

HANGS = 60  # seconds

TEXT = {"type": "file", "format": "text", "content": "from the browser"}


async def ask(server: Server, method: str, path: str, **more: object) -> Reply:
    return await asyncio.wait_for(server.fetch(method, path, **more), HANGS)


async def save(server: Server, path: str, text: str = "saved") -> Reply:
    return await ask(server, "PUT", f"/api/contents/{path}", json=TEXT | {"content": text})


async def listing(server: Server, path: str = "") -> dict[str, str]:
    reply = await ask(server, "GET", f"/api/contents/{path}")
    assert reply.status == 200, reply.text
    return {one["name"]: one["type"] for one in reply.json()["content"]}


async def text_of(server: Server, path: str) -> str:
    reply = await ask(server, "GET", f"/api/contents/{path}")
    assert reply.status == 200, reply.text
    return reply.json()["content"]


async def until_listed(server: Server, *names: str) -> dict[str, str]:
    """Wait until the watcher has told of these."""
    while not set(names) <= (found := await listing(server)).keys():
        await asyncio.sleep(0.05)
    return found


async def try_everything(server: Server, path: str) -> list[Reply]:
    """What a client can do with a path, reading before writing before deleting."""
    requests: list[tuple[str, str, dict[str, object]]] = [
        ("GET", f"/api/contents/{path}", {}),
        ("GET", f"/api/contents/{path}?type=directory", {}),
        ("GET", f"/files/{path}", {"headers": {"Range": "bytes=0-99"}}),
        ("GET", f"/nbconvert/html/{path}", {}),
        ("GET", f"/api/contents/{path}/checkpoints", {}),
        ("GET", f"/api/history/versions/{path}", {}),
        ("POST", "/api/contents/copies", {"json": {"copy_from": path}}),
        ("POST", f"/api/contents/{path}", {"json": {"type": "file"}}),
        ("POST", f"/api/contents/{path}/checkpoints", {}),
        ("PATCH", "/api/contents/moving", {"json": {"path": f"{path}/moved"}}),
        ("PUT", f"/api/contents/{path}/below", {"json": TEXT}),
        ("PUT", f"/api/contents/{path}", {"json": TEXT}),
        ("DELETE", f"/api/contents/{path}", {}),
    ]
    return [await ask(server, method, where, **more) for method, where, more in requests]
