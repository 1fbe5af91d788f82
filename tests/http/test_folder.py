"""The working folder over HTTP: what is saved is on the disk, what happens on the disk is in the log."""

from __future__ import annotations

import os

from tests.helpers import Reply, Server


async def tree(server: Server, path: str = "") -> dict[str, str]:
    """The names in a directory, and what they are."""
    reply = await server.fetch("GET", f"/api/contents/{path}")
    return {one["name"]: one["type"] for one in reply.json()["content"]}


async def put(server: Server, path: str, text: str) -> Reply:
    model = {"type": "file", "format": "text", "content": text}
    return await server.fetch("PUT", f"/api/contents/{path}", json=model)


async def test_what_is_saved_is_on_the_disk(server: Server) -> None:
    """Invariant 17."""
    folder = server.services.config.folder
    await put(server, "a.py", "x = 1\n")
    assert (folder / "a.py").read_text() == "x = 1\n"
    await server.fetch("PATCH", "/api/contents/a.py", json={"path": "b.py"})
    assert sorted(os.listdir(folder)) == [".evstore", "b.py"]
    await server.fetch("DELETE", "/api/contents/b.py")
    assert sorted(os.listdir(folder)) == [".evstore"]


async def test_what_happens_on_the_disk_is_in_the_log(server: Server) -> None:
    folder = server.services.config.folder
    (folder / "data").mkdir()
    (folder / "data" / "x.csv").write_text("1,2\n")
    reply = await server.fetch("GET", "/api/contents/data/x.csv")
    assert reply.json()["content"] == "1,2\n"
    (folder / "data" / "x.csv").write_text("1,2,3\n")
    reply = await server.fetch("GET", "/api/contents/data/x.csv")
    assert reply.json()["content"] == "1,2,3\n"
    os.rename(folder / "data" / "x.csv", folder / "data" / "y.csv")
    assert await tree(server, "data") == {"y.csv": "file"}
    reply = await server.fetch("GET", "/api/history/versions/data/y.csv")
    assert [one["event"] for one in reply.json()["versions"]][::-1] == [
        "EntryCreated",
        "FileSaved",
        "FileSaved",
        "EntryMoved",
    ]
