"""Changing the tree over HTTP, and reading it as of any moment: verbs for tests."""

from __future__ import annotations

from typing import Any

from tests.helpers import Server


async def save(server: Server, path: str, content: str) -> int:
    model = {"type": "file", "format": "text", "content": content}
    answer = await server.fetch("PUT", f"api/contents/{path}", json=model)
    assert answer.status in (200, 201), answer.text
    return int(answer.headers["Evstore-Offset"])


async def mkdir(server: Server, path: str) -> int:
    answer = await server.fetch("PUT", f"api/contents/{path}", json={"type": "directory"})
    return int(answer.headers["Evstore-Offset"])


async def move(server: Server, path: str, to: str) -> None:
    answer = await server.fetch("PATCH", f"api/contents/{path}", json={"path": to})
    assert answer.status == 200, answer.text


async def delete(server: Server, path: str) -> None:
    assert (await server.fetch("DELETE", f"api/contents/{path}")).status == 204


async def tree(server: Server, path: str = "", at: int | None = None) -> dict[str, str | None]:
    """Every path below `path` with its text, None for a directory."""
    query = f"?at={at}" if at else ""
    model = (await server.fetch("GET", f"api/contents/{path}{query}")).json()
    if model["type"] != "directory":
        return {model["path"]: model["content"]}
    found: dict[str, str | None] = {path: None} if path else {}
    for member in model["content"]:
        found |= await tree(server, member["path"], at)
    return found


async def restore(server: Server, path: str, at: Any, **extra: Any) -> Any:
    return await server.fetch("POST", f"api/history/restore/{path}", json={"at": at} | extra)
