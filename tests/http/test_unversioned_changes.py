"""What has no versions is saved, renamed, copied and deleted all the same, on the disk alone."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from tests.helpers import Reply, Server, StartServer
from tests.http.unversioned import LIMIT, events, fill, folder, listed, model, put, send, server

__all__ = ["folder", "server"]


async def test_saves_go_to_the_disk_alone(server: Server, folder: Path) -> None:
    fill(folder)
    await listed(server)
    head = await events(server)
    saved = await put(server, "data/x.txt", "new")
    assert (saved.status, saved.json()["versioned"], saved.json()["size"]) == (200, False, 3)
    made = await put(server, "data/z.txt", "z")
    assert (made.status, made.json()["versioned"]) == (201, False)
    assert made.headers["Location"].endswith("/api/contents/data/z.txt")
    named = await put(server, "kept/other.secret", "s")
    assert (named.status, named.json()["versioned"]) == (201, False)
    assert (await send(server, "PUT", "data/more", type="directory")).json()["versioned"] is False
    assert (await send(server, "PUT", "node_modules/more", type="directory")).status == 201
    assert (folder / "data" / "x.txt").read_text() == "new"
    assert (folder / "kept" / "other.secret").read_text() == "s"
    assert (folder / "data" / "more").is_dir() and (folder / "node_modules" / "more").is_dir()
    assert (await model(server, "data/z.txt"))["content"] == "z"
    assert await listed(server, "kept") == {"b.py": True, "other.secret": False}
    assert await events(server) == head
    assert (await put(server, "data/none/x", "x")).status == 404
    assert (await put(server, "data/deep", "x")).status == 409


async def test_what_the_log_has_not_is_synced_to_the_disk_before_the_answer(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder)
    await listed(server)
    synced: list[tuple[int, bytes]] = []
    fsync = os.fsync

    def noticed(descriptor: int) -> None:
        found = os.fstat(descriptor)
        is_file = stat.S_ISREG(found.st_mode)
        synced.append((found.st_ino, os.pread(descriptor, 100, 0) if is_file else b""))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noticed)
    assert (await put(server, "data/x.txt", "precious")).status == 200
    file, directory = folder / "data" / "x.txt", folder / "data"
    assert synced == [(file.stat().st_ino, b"precious"), (directory.stat().st_ino, b"")]


async def test_untitled_ones(server: Server, folder: Path) -> None:
    fill(folder)
    await listed(server)
    head = await events(server)
    paths = [(await send(server, "POST", "data", type="notebook")).json()["path"] for _ in range(2)]
    paths += [(await send(server, "POST", "data", type="directory")).json()["path"] for _ in range(2)]
    paths += [(await send(server, "POST", "", type="file", ext=".secret")).json()["path"] for _ in range(2)]
    assert paths == [
        "data/Untitled.ipynb",
        "data/Untitled1.ipynb",
        "data/Untitled Folder",
        "data/Untitled Folder 1",
        "untitled.secret",
        "untitled1.secret",
    ]
    assert (await model(server, "data/Untitled1.ipynb"))["content"]["nbformat"] == 4
    assert await events(server) == head


async def test_a_save_can_be_made_conditional(server: Server, folder: Path) -> None:
    fill(folder)
    tag = (await server.fetch("GET", "/api/contents/data/x.txt")).headers["ETag"]
    assert (await put(server, "data/x.txt", "1", **{"If-Match": '"00"'})).status == 412
    assert (await put(server, "data/x.txt", "1", **{"If-None-Match": "*"})).status == 412
    saved = await put(server, "data/x.txt", "1", **{"If-Match": tag})
    assert saved.status == 200
    assert (await put(server, "data/x.txt", "2", **{"If-Match": tag})).status == 412
    assert (await put(server, "data/x.txt", "2", **{"If-Match": saved.headers["ETag"]})).status == 200
    assert (await put(server, "data/new", "2", **{"If-None-Match": "*"})).status == 201
    assert (folder / "data" / "x.txt").read_text() == "2"


async def test_what_becomes_too_large_keeps_its_old_versions(server: Server, folder: Path) -> None:
    await put(server, "a.txt", "small")
    large = "x" * (LIMIT + 1)
    saved = await put(server, "a.txt", large)
    assert (saved.status, saved.json()["versioned"], saved.json()["size"]) == (200, False, LIMIT + 1)
    assert (folder / "a.txt").read_text() == large
    assert await listed(server) == {"a.txt": False}
    versions = (await server.fetch("GET", "/api/history/versions/a.txt")).json()["versions"]
    assert [one["event"] for one in versions] == ["EntryDeleted", "FileSaved", "EntryCreated"]
    old = await server.fetch("GET", f"/files/a.txt?at={versions[1]['offset']}")
    assert old.text == "small"
    back = await put(server, "a.txt", "small again")
    assert (back.status, "versioned" in back.json()) == (200, False)
    assert (await model(server, "a.txt"))["content"] == "small again"
    versions = (await server.fetch("GET", "/api/history/versions/a.txt")).json()["versions"]
    assert len(versions) == 5
    new = await put(server, "b.txt", large)
    assert (new.status, new.json()["versioned"]) == (201, False)


async def test_uploads_in_pieces(server: Server, folder: Path) -> None:
    fill(folder)
    await listed(server)
    head = await events(server)

    async def upload(path: str, *pieces: str) -> Reply:
        for number, piece in enumerate(pieces, 1):
            last = -1 if number == len(pieces) else number
            reply = await send(server, "PUT", path, type="file", format="text", content=piece, chunk=last)
            assert reply.status in (200, 201), reply.body
        return reply

    stored = (await server.services.store.read(lambda tx: tx.row("select count(*) from chunks")))[0]
    assert (await upload("data/up.txt", "one ", "two ", "three")).json()["versioned"] is False
    assert (folder / "data" / "up.txt").read_text() == "one two three"
    assert (await upload("up.bin", "x" * LIMIT, "y")).json()["versioned"] is False
    assert (folder / "up.bin").stat().st_size == LIMIT + 1
    assert await events(server) == head
    assert (await server.services.store.read(lambda tx: tx.row("select count(*) from chunks")))[0] == stored
    assert "versioned" not in (await upload("kept/up.txt", "a", "b")).json()
    assert (await model(server, "kept/up.txt"))["content"] == "ab"


async def test_renames(server: Server, folder: Path) -> None:
    fill(folder)
    await listed(server)
    head = await events(server)
    done = await send(server, "PATCH", "data/x.txt", path="data/deep/w.txt")
    assert (done.status, done.json()["path"], done.json()["versioned"]) == (200, "data/deep/w.txt", False)
    assert (folder / "data" / "deep" / "w.txt").read_text() == "in data"
    assert (await send(server, "PATCH", "large.bin", path="kept/larger.bin")).status == 200
    assert (await send(server, "PATCH", "data/deep", path="node_modules/deep")).status == 200
    assert (await send(server, "PATCH", "data/none", path="data/some")).status == 404
    assert (await send(server, "PATCH", "key.secret", path="data/none/key.secret")).status == 404
    assert (await send(server, "PATCH", "key.secret", path="node_modules/x.txt")).status == 409
    for path, to in (
        ("a.py", "data/a.py"),
        ("a.py", "a.secret"),
        ("kept", "node_modules/kept"),
        ("key.secret", "key.txt"),
        ("node_modules", "modules"),
    ):
        refused = await send(server, "PATCH", path, path=to)
        assert refused.status == 409 and "versions" in refused.json()["message"], (path, to)
        assert (folder / path).exists() and not (folder / to).exists()
    assert await events(server) == head


async def test_copies(server: Server, folder: Path) -> None:
    fill(folder)
    await listed(server)
    copied = [
        (await send(server, "POST", directory, copy_from=source))
        for directory, source in (
            ("data", "data/x.txt"),
            ("data", "a.py"),
            ("kept", "data/x.txt"),
            ("", "large.bin"),
        )
    ]
    assert [(one.status, one.json().get("path"), one.json().get("versioned")) for one in copied] == [
        (201, "data/x-Copy1.txt", False),
        (201, "data/a.py", False),
        (201, "kept/x.txt", None),
        (201, "large-Copy1.bin", False),
    ]
    assert (folder / "data" / "a.py").read_text() == "x = 1\n"
    assert (await model(server, "kept/x.txt"))["content"] == "in data"
    exact = await send(server, "PUT", "data/exact.txt", copy_from="a.py")
    assert (exact.status, (folder / "data" / "exact.txt").read_text()) == (201, "x = 1\n")
    assert (await send(server, "PUT", "data/exact.txt", copy_from="a.py")).status == 409
    for directory, source in (("", "node_modules"), ("data", "kept")):
        refused = await send(server, "POST", directory, copy_from=source)
        assert refused.status == 409 and "only files" in refused.json()["message"]


async def test_copies_of_programs_are_programs(server: Server, folder: Path) -> None:
    """From what has versions to what has none, the other way, and among what has none."""
    fill(folder)
    (folder / "data/run.sh").write_text("#!/bin/sh\n")
    (folder / "data/run.sh").chmod(0o755)
    for source, copy in (("data/run.sh", "a.sh"), ("a.sh", "data/b.sh"), ("data/b.sh", "data/c.sh")):
        assert (await send(server, "PUT", copy, copy_from=source)).status == 201
        assert (folder / copy).stat().st_mode & 0o100, copy
    versions = (await server.fetch("GET", "/api/history/versions/a.sh")).json()["versions"]
    assert [one["event"] for one in versions] == ["ExecutableChanged", "FileSaved", "EntryCreated"]


async def test_what_is_deleted_is_in_the_trash(
    server: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(folder)
    long = "n" * 255
    (folder / "data" / long).write_text("long")
    await listed(server)
    head = await events(server)
    caplog.set_level(logging.INFO, "evstore")
    for path in ("data/x.txt", "node_modules", "large.bin", f"data/{long}"):
        assert (await server.fetch("DELETE", f"/api/contents/{path}")).status == 204
        assert not (folder / path).exists()
        assert (await server.fetch("GET", f"/api/contents/{path}")).status == 404
        assert [one for one in caplog.messages if one.startswith(f"{path} had no versions")]
    trash = sorted(one.partition("-")[2] for one in os.listdir(folder / ".evstore" / "trash"))
    assert trash == sorted(["x.txt", "node_modules", "large.bin", long[:200]])
    (thrown,) = (folder / ".evstore" / "trash").glob("*-node_modules")
    assert (thrown / "x.txt").read_text() == "in node_modules"
    assert await events(server) == head
    assert (await server.fetch("DELETE", "/api/contents/data/none")).status == 404


async def test_checkpoints_and_history(server: Server, folder: Path) -> None:
    fill(folder)
    await listed(server)
    head = await events(server)
    made = await server.fetch("POST", "/api/contents/data/x.txt/checkpoints")
    assert (made.status, made.json()["id"]) == (201, "0")
    assert (await server.fetch("GET", "/api/contents/data/x.txt/checkpoints")).json() == []
    for method, path in (
        ("POST", "/api/contents/data/x.txt/checkpoints/0"),
        ("DELETE", "/api/contents/data/x.txt/checkpoints/0"),
        ("GET", "/api/history/versions/data/x.txt"),
        ("GET", "/api/history/diff/data/x.txt?from=1"),
        ("GET", f"/files/data/x.txt?at={head}"),
    ):
        reply = await server.fetch(method, path)
        assert reply.status == 404 and "data/x.txt has no versions" in reply.text, (path, reply.text)
    for path, data in (
        ("/api/history/restore/data/x.txt", {"at": head}),
        ("/api/contents/data/x.txt/trust", None),
    ):
        reply = await server.fetch("POST", path, json=data)
        assert reply.status == 409 and "data/x.txt has no versions" in reply.text, (path, reply.text)
    assert (await server.fetch("POST", "/api/contents/data/none/checkpoints")).status == 404
    assert (await server.fetch("POST", "/api/contents/data/checkpoints")).status == 404
    assert await events(server) == head


async def test_evstores_own_files_are_nobodys(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    (folder / ".evstoreignore").write_text("data/\n")
    (folder / "link").symlink_to("data/log.db")
    server = await start_server(db=folder / "data" / "log.db")
    (folder / "data" / "x").write_text("x")
    assert await listed(server, "data") == {"x": False}
    assert await listed(server) == {"data": False}
    for path in ("data/log.db", "data/cookie_secret", "link"):
        assert (await server.fetch("GET", f"/api/contents/{path}")).status == 404
        assert (await server.fetch("GET", f"/files/{path}")).status == 404
        assert (await put(server, path, "x")).status == 403
        assert (await server.fetch("DELETE", f"/api/contents/{path}")).status == 404
    assert (await send(server, "PATCH", "data/x", path="data/log.db-wal")).status in (403, 409)
    assert (folder / "data" / "log.db").read_bytes().startswith(b"SQLite")
