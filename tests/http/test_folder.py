"""The working folder over HTTP: what is saved is on the disk, what happens on the disk is in the log."""

from __future__ import annotations

import os

import pytest

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


@pytest.mark.parametrize("directory", ["versioned", "ignored"])
async def test_a_save_may_bring_its_date_and_be_a_program(server: Server, directory: str) -> None:
    folder = server.services.config.folder
    (folder / ".evstoreignore").write_text("ignored/\n")
    (folder / directory).mkdir()
    place, path = folder / directory / "run.sh", f"/api/contents/{directory}/run.sh"
    model = {"type": "file", "format": "text", "content": "#!/bin/sh\n"}
    extras = {"modified": "2001-02-03T04:05:06.789123+01:00", "executable": True}
    reply = await server.fetch("PUT", path, json=model | {"evstore": extras})
    assert (reply.status, reply.json()["last_modified"]) == (201, "2001-02-03T03:05:06.789123Z")
    assert reply.json().get("versioned", True) == (directory == "versioned")
    assert (place.stat().st_mtime_ns, place.stat().st_mode & 0o100) == (981169506_789123000, 0o100)
    await server.fetch("PUT", path, json=model | {"content": "new", "evstore": None})
    assert (place.read_text(), place.stat().st_mode & 0o100) == ("new", 0o100)
    last = {"chunk": -1, "evstore": {"modified": "2105-06-07T23:59:59-12:00"}}
    for more in ({"chunk": 1}, last):
        reply = await server.fetch("PUT", path, json=model | more)
    assert reply.json()["last_modified"] == "2105-06-08T11:59:59.000000Z"
    assert (place.read_text(), place.stat().st_mode & 0o100) == ("#!/bin/sh\n" * 2, 0o100)
