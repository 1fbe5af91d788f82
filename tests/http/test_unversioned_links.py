"""Links are shown as what they lead to within the folder, and nothing is written through them; others, and pipes, are not there."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from tests.helpers import Server
from tests.http.unversioned import events, fill, folder, listed, model, put, send, server

__all__ = ["folder", "server"]


def link(folder: Path) -> None:
    """Links of every kind, besides what `fill` makes."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    for name, target in (
        ("to_file", "kept/b.py"),
        ("to_data", "data/deep/y.csv"),
        ("to_dir", "kept"),
        ("absolute", str(folder / "kept")),
        ("chain", "to_dir/../chain2"),
        ("chain2", "./kept//b.py"),
        ("top", "."),
        ("out", str(outside)),
        ("out_file", "../outside/secret.txt"),
        ("out_and_in", "../folder/a.py"),
        ("beside", f"{folder}-evil/x"),
        ("broken", "nothing"),
        ("loop", "loop2"),
        ("loop2", "loop"),
        ("own", ".evstore"),
        ("own_file", ".evstore/folder"),
        ("hidden", ".hidden/x.txt"),
        ("device", "/dev/zero"),
        ("through_file", "a.py/../a.py"),
    ):
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "data" / "pipe")
    (folder / "to_pipe").symlink_to("pipe")


GOOD = {"to_file", "to_data", "to_dir", "absolute", "chain", "chain2", "top"}
BAD = {
    "out",
    "out_file",
    "out_and_in",
    "beside",
    "broken",
    "loop",
    "loop2",
    "own",
    "own_file",
    "hidden",
    "device",
    "through_file",
    "to_pipe",
    "pipe",
    "data/pipe",
}


async def test_links_are_listed_as_what_they_lead_to(server: Server, folder: Path) -> None:
    fill(folder)
    link(folder)
    seen = await listed(server)
    assert {name for name in GOOD if seen.get(name) is False} == GOOD
    assert not BAD & seen.keys() and "pipe" not in await listed(server, "data")
    for name in ("to_dir", "absolute", "top/kept", "top/top/kept"):
        assert await listed(server, name) == {"b.py": False}
        found = await model(server, f"{name}/b.py")
        assert (found["content"], found["versioned"], found["writable"]) == ("y = 2\n", False, False)
        assert found["path"] == f"{name}/b.py"
    for name in ("to_file", "chain", "chain2"):
        assert (await model(server, name))["content"] == "y = 2\n"
        assert (await server.fetch("GET", f"/files/{name}")).text == "y = 2\n"
    assert (await model(server, "to_data"))["content"] == "1,2\n"
    (folder / "kept" / "b.py").write_text("changed")
    assert (await model(server, "to_file"))["content"] == "changed"
    assert (await model(server, "to_dir/b.py?hash=1"))["hash"] == hashlib.sha256(b"changed").hexdigest()


async def test_other_links_and_pipes_are_not_there(server: Server, folder: Path) -> None:
    fill(folder)
    link(folder)
    for name in BAD:
        for path in (name, f"{name}/secret.txt", f"{name}/folder"):
            reply = await asyncio.wait_for(server.fetch("GET", f"/api/contents/{path}"), 5)
            assert reply.status == 404, (path, reply.body)
            assert (await asyncio.wait_for(server.fetch("GET", f"/files/{path}"), 5)).status == 404
            assert str(folder) not in reply.text
    async with asyncio.timeout(5):
        assert (await put(server, "pipe", "x")).status == 409
        assert (await put(server, "data/pipe", "x")).status == 409


async def test_nothing_is_written_through_a_link(server: Server, folder: Path) -> None:
    fill(folder)
    link(folder)
    await listed(server)
    head = await events(server)
    for path in (
        "to_file",
        "to_dir/b.py",
        "to_dir/new.py",
        "chain",
        "out_file",
        "broken",
        "top/a.py",
    ):
        reply = await put(server, path, "evil")
        assert reply.status == 403 and "symbolic link" in reply.json()["message"], (path, reply.body)
    assert (await put(server, "out/new.txt", "evil")).status == 404
    assert "kept/b.py" in (await put(server, "to_file", "x")).json()["message"]
    for method, path, data in (
        ("PUT", "to_dir/sub", {"type": "directory"}),
        ("POST", "to_dir", {"type": "file"}),
        ("POST", "to_dir", {"copy_from": "a.py"}),
        ("PATCH", "to_dir/b.py", {"path": "to_dir/c.py"}),
        ("PATCH", "a.py", {"path": "to_dir/a.py"}),
        ("PATCH", "a.py", {"path": "out/a.py"}),
        ("DELETE", "to_dir/b.py", {}),
    ):
        reply = await send(server, method, path, **data)
        assert reply.status == 403 and "symbolic link" in reply.json()["message"], (method, path, reply.body)
    assert os.listdir(folder.parent / "outside") == ["secret.txt"]
    assert os.listdir(folder / "kept") == ["b.py"] and (folder / "kept" / "b.py").read_text() == "y = 2\n"
    assert await events(server) == head


async def test_a_link_itself_is_renamed_and_deleted(server: Server, folder: Path) -> None:
    fill(folder)
    link(folder)
    for path, to, target in (("to_dir", "link", "kept"), ("absolute", "kept/link", f"{folder}/kept")):
        moved = await send(server, "PATCH", path, path=to)
        assert (moved.status, moved.json()["type"], moved.json()["versioned"]) == (200, "directory", False)
        assert os.readlink(folder / to) == target and not (folder / path).is_symlink()
    assert (await send(server, "PATCH", "chain2", path="kept/chain")).status == 422  # it is relative
    assert (await server.fetch("DELETE", "/api/contents/to_file")).status == 204
    assert not (folder / "to_file").is_symlink() and (folder / "kept" / "b.py").exists()
    assert [os.readlink(one) for one in (folder / ".evstore" / "trash").iterdir()] == ["kept/b.py"]


async def test_a_link_that_is_swapped_all_the_time_shows_nothing_from_outside(
    server: Server, folder: Path
) -> None:
    fill(folder)
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "x.txt").write_text("secret")
    (folder / "kept" / "x.txt").write_text("fine")
    stop = asyncio.Event()

    def swap() -> None:
        for target in ("kept", str(outside), "data/deep", "kept"):
            (folder / "new").symlink_to(target)
            os.replace(folder / "new", folder / "data" / "swapped")

    async def go_on() -> None:
        while not stop.is_set():
            await asyncio.to_thread(swap)

    swapping = asyncio.create_task(go_on())
    try:
        seen: set[int] = set()
        for _ in range(100):
            for address in ("/api/contents/data/swapped/x.txt", "/files/data/swapped/x.txt"):
                reply = await server.fetch("GET", address)
                assert b"secret" not in reply.body
                seen.add(reply.status)
            assert (await server.fetch("GET", "/api/contents/data")).status == 200
            assert (await put(server, "data/swapped/x.txt", "evil")).status in (403, 404, 409)
        assert seen <= {200, 404, 409}
    finally:
        stop.set()
        await swapping
    assert (outside / "x.txt").read_text() == "secret" and (folder / "kept" / "x.txt").read_text() == "fine"
