"""What has no versions is listed, read and changed all the same: what is ignored, too large, or behind a link."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import os
import resource
import stat
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from evstore import naming, notebooks
from evstore.disk.disk import Disk
from evstore.folder.ignoring import Ignore
from evstore.folder.unversioned import SETTLED
from evstore.paths import ContentPath
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


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(max_versioned_size=LIMIT, max_body_size=1024 * KIB)


@pytest.fixture
def folder(server: Server) -> Path:
    return server.services.config.folder


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


# -- listing ---------------------------------------------------------------------------


async def test_listings_show_what_has_no_versions(server: Server, folder: Path) -> None:
    fill(folder)
    assert await listed(server) == {
        "a.py": True,
        "data": False,
        "kept": True,
        "key.secret": False,
        "large.bin": False,
        "node_modules": False,
    }
    assert await listed(server, "kept") == {"b.py": True}
    assert await listed(server, "data") == {"deep": False, "x.txt": False}
    assert await listed(server, "data/deep") == {"y.csv": False}
    assert await listed(server, "__pycache__") == {"x.txt": False}


async def test_only_their_models_have_another_key(server: Server, folder: Path) -> None:
    fill(folder)
    for one in (await model(server, ""))["content"]:
        assert set(one) == KEYS | (set() if one["name"] in ("a.py", "kept") else {"versioned"})
    found = await model(server, "data/deep/y.csv")
    assert (found["versioned"], found["writable"], found["size"], found["type"]) == (False, True, 4, "file")
    assert found["last_modified"] >= "20" and found["path"] == "data/deep/y.csv"
    assert set(await model(server, "a.py")) == KEYS


async def test_a_listing_is_never_stale(server: Server, folder: Path) -> None:
    fill(folder)
    (folder / "kept" / "b.py").write_text("z")
    await asyncio.sleep(0.2)
    assert await listed(server, "kept") == {"b.py": True}
    assert await listed(server, "kept") == {"b.py": True}
    (folder / "kept" / "new.secret").write_text("1")
    assert await listed(server, "kept") == {"b.py": True, "new.secret": False}
    (folder / "kept" / "new.secret").write_text("123")
    assert [one["size"] for one in (await model(server, "kept"))["content"]] == [1, 3]
    (folder / "kept" / "new.secret").unlink()
    assert await listed(server, "kept") == {"b.py": True}
    (folder / "data" / "z.txt").write_text("z")
    assert "z.txt" in await listed(server, "data")


async def test_a_listing_of_versioned_files_is_kept(server: Server, folder: Path) -> None:
    (folder / "kept").mkdir()
    (folder / "kept" / "b.py").write_text("y = 2\n")
    (folder / "kept" / "__pycache__").mkdir()
    assert await listed(server, "kept") == {"b.py": True}
    await asyncio.sleep(0.2)
    before = server.services.replies.size
    await listed(server, "kept")
    assert server.services.replies.size > before


async def test_a_file_that_grows_too_large_and_shrinks_again(server: Server, folder: Path) -> None:
    await put(server, "log.txt", "small")
    (folder / "log.txt").write_text("x" * (LIMIT + 1))
    assert await listed(server) == {"log.txt": False}
    assert (await model(server, "log.txt"))["content"] == "x" * (LIMIT + 1)
    (folder / "log.txt").write_text("small again")
    found = await model(server, "log.txt")
    assert found["content"] == "small again" and set(found) == KEYS


async def test_old_clients_see_them(server: Server, folder: Path) -> None:
    fill(folder)
    (folder / "data" / "n.ipynb").write_bytes(notebooks.empty())
    names = [one["name"] for one in (await server.fetch("GET", "/api/notebooks")).json()]
    assert {"data", "node_modules", "kept"} == set(names)
    assert [one["name"] for one in (await server.fetch("GET", "/api/notebooks/data")).json()] == [
        "deep",
        "n.ipynb",
    ]
    found = (await server.fetch("GET", "/api/notebooks/data/n.ipynb")).json()
    assert found["content"]["nbformat"] == 4 and found["path"] == "data"


# -- reading ---------------------------------------------------------------------------


async def test_reading(server: Server, folder: Path) -> None:
    fill(folder)
    (folder / "data" / "bytes").write_bytes(b"\xff\xfe")
    found = await model(server, "data/x.txt", "?hash=1")
    assert (found["content"], found["format"], found["mimetype"]) == ("in data", "text", "text/plain")
    assert (found["hash"], found["hash_algorithm"]) == (hashlib.sha256(b"in data").hexdigest(), "sha256")
    without = await model(server, "data/x.txt", "?hash=1&content=0")
    assert (without["hash"], without["content"]) == (found["hash"], None)
    (folder / "data" / "x.txt").write_text("other")
    assert (await model(server, "data/x.txt", "?hash=1&content=0"))["hash"] == hashlib.sha256(
        b"other"
    ).hexdigest()
    found = await model(server, "data/bytes")
    assert (base64.b64decode(found["content"]), found["format"]) == (b"\xff\xfe", "base64")
    reply = await server.fetch("GET", "/api/contents/data/bytes?format=text")
    assert reply.status == 400
    assert (await server.fetch("GET", "/api/contents/data/bytes?type=directory")).status == 400
    for missing in ("data/none", "none", "data/.hidden", ".hidden/x.txt", "data/x.txt/y", ".evstore/folder"):
        assert (await server.fetch("GET", f"/api/contents/{missing}")).status == 404, missing


async def test_a_notebook_is_read_and_never_trusted(server: Server, folder: Path) -> None:
    (folder / ".evstoreignore").write_text("data/\n")
    (folder / "data").mkdir()
    text = (
        '{"cells": [{"cell_type": "code", "execution_count": 1, "metadata": {"trusted": true}, "outputs": '
        '[{"output_type": "display_data", "metadata": {}, "data": {"text/html": "<b>"}}], "source": "1", "id": "a"}], '
        '"metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    (folder / "data" / "n.ipynb").write_text(text)
    found = await model(server, "data/n.ipynb")
    assert (found["type"], found["format"], found["versioned"]) == ("notebook", "json", False)
    assert found["content"]["cells"][0]["metadata"]["trusted"] is False
    (folder / "data" / "bad.ipynb").write_text("{")
    assert (await server.fetch("GET", "/api/contents/data/bad.ipynb")).status == 400
    converted = await server.fetch("GET", "/nbconvert/script/data/n.ipynb", headers={"Referer": server.url})
    assert converted.status == 200 and converted.body
    assert (await server.fetch("GET", "/view/data/x.txt")).status == 404
    page = await server.fetch("GET", "/view/data/n.ipynb", headers={"Accept": "*/*"})
    assert page.status == 200 and "files/data/n.ipynb" in page.text


async def test_conditional_reading(server: Server, folder: Path) -> None:
    fill(folder)
    os.utime(folder / "data" / "x.txt", (1e9, 1e9))
    await asyncio.sleep(SETTLED)
    paths = ("/api/contents/data/x.txt", "/files/data/x.txt")
    tags = {path: (await server.fetch("GET", path)).headers["ETag"] for path in paths}
    for path, tag in tags.items():
        assert tag.startswith('"')
        assert (await server.fetch("GET", path, headers={"If-None-Match": tag})).status == 304
    (folder / "data" / "x.txt").write_text("otherss")
    os.utime(folder / "data" / "x.txt", (1e9, 1e9))
    for path, tag in tags.items():
        assert (await server.fetch("GET", path, headers={"If-None-Match": tag})).status == 200


async def test_files(server: Server, folder: Path) -> None:
    fill(folder)
    os.utime(folder / "data" / "x.txt", (1e9, 1e9))
    await asyncio.sleep(SETTLED)
    whole = await server.fetch("GET", "/files/data/x.txt")
    assert (whole.status, whole.body, whole.headers["Accept-Ranges"]) == (200, b"in data", "bytes")
    assert whole.headers["Content-Security-Policy"].endswith("sandbox allow-scripts")
    assert whole.headers["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    ranged = {"Range": "bytes=3-4", "If-Range": whole.headers["ETag"]}
    part = await server.fetch("GET", "/files/data/x.txt", headers=ranged)
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"da", "bytes 3-4/7")
    head = await server.fetch("HEAD", "/files/data/x.txt")
    assert (head.headers["Content-Length"], head.body) == ("7", b"")
    assert (await server.fetch("GET", "/files/data/x.txt", headers={"Range": "bytes=9-"})).status == 416
    down = await server.fetch("GET", "/files/data/x.txt?download=1")
    assert "attachment" in down.headers["Content-Disposition"]
    assert (await server.fetch("GET", "/files/data")).status == 403
    for missing in ("data/none", "data/.hidden", ".evstore/folder"):
        assert (await server.fetch("GET", f"/files/{missing}")).status == 404
    (folder / "data" / "x.txt").write_text("just now")  # the next change may have the same date
    fresh = await server.fetch("GET", "/files/data/x.txt")
    assert fresh.headers["ETag"].startswith('W/"')


async def test_a_huge_file_is_listed_and_streamed_and_never_in_memory(server: Server, folder: Path) -> None:
    size = 5 * 1024**3
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    assert await listed(server) == {"huge.bin": False}
    found = await model(server, "huge.bin", "?content=0&hash=1")
    assert (found["size"], found["hash"]) == (size, None)
    refused = await server.fetch("GET", "/api/contents/huge.bin")
    assert refused.status == 413 and "/files/huge.bin" in refused.json()["message"]
    part = await server.fetch("GET", "/files/huge.bin", headers={"Range": "bytes=-3"})
    assert (part.status, part.body) == (206, b"end")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    url = f"{server.url}files/huge.bin"
    headers = {"Authorization": "token test-token", "Range": f"bytes={size - 300 * KIB * KIB}-"}
    async with server.session.get(url, headers=headers) as reply:
        received = 0
        async for block in reply.content.iter_any():
            received += len(block)
    assert received == 300 * KIB * KIB
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 60 * KIB  # KiB: of 300 MiB that were sent


async def test_a_file_that_gets_shorter_while_it_is_sent(
    server: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(200 * KIB * KIB)
    url = f"{server.url}files/huge.bin"
    async with server.session.get(url, headers={"Authorization": "token test-token"}) as reply:
        assert reply.status == 200
        await reply.content.readexactly(KIB)
        os.truncate(folder / "huge.bin", 10 * KIB * KIB)
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (await server.fetch("GET", "/api/status")).status == 200


async def test_there_is_no_past(server: Server, folder: Path) -> None:
    fill(folder)
    await listed(server)
    head = await events(server)
    for address in ("/api/contents/data/x.txt", "/files/data/x.txt", "/api/contents/data"):
        reply = await server.fetch("GET", f"{address}?at={head}")
        assert reply.status == 404 and "has no versions: .evstoreignore names it in line 1" in reply.text


# -- writing ---------------------------------------------------------------------------


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


# -- links and other things ------------------------------------------------------------


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


# -- all of it, against the rules -------------------------------------------------------


NAMES = ("a.txt", "b.csv", "c.md", "data", "node_modules", "old~", "x.pyc", "build", "ä b")
PATTERNS = ("data/", "*.csv", "/build", "!b.csv", "a.*", "build/*.txt", "**/ä*", "*", "!*/")


def grow(folder: Path, random: Random, depth: int = 0) -> None:
    """A directory of any shape."""
    if random.random() < 0.4:
        (folder / ".evstoreignore").write_text("\n".join(random.sample(PATTERNS, 2)))
    for name in random.sample(NAMES, 5):
        if depth < 3 and random.random() < 0.4:
            (folder / name).mkdir()
            grow(folder / name, random, depth + 1)
        elif random.random() < 0.1:
            (folder / name).symlink_to(random.choice(NAMES))
        else:
            (folder / name).write_bytes(b"\n" * random.choice((0, 3, LIMIT, LIMIT + 1)))


def expected(folder: Path, ignore: Ignore) -> dict[str, bool]:
    """What is to be seen below `folder`, without following links, and whether it has versions."""
    seen: dict[str, bool] = {}
    for file in sorted(folder.rglob("*")):
        path = ContentPath(file.relative_to(folder).as_posix())
        if path.hidden or any(naming.unlisted(name) for name in path.names):
            continue
        if file.is_symlink():
            if file.exists() and not file.resolve().name.startswith("."):
                seen[path] = False
        else:
            size = 0 if file.is_dir() else file.stat().st_size
            seen[path] = ignore.why(path, is_directory=file.is_dir(), size=size) is None
    return seen


async def below(server: Server, folder: Path, path: str = "") -> dict[str, bool]:
    """What the API shows below a path, without following links."""
    seen: dict[str, bool] = {}
    for one in (await model(server, quote(path)))["content"]:
        seen[one["path"]] = one.get("versioned", True)
        if one["type"] == "directory" and not (folder / one["path"]).is_symlink():
            seen |= await below(server, folder, one["path"])
    return seen


@pytest.mark.parametrize("seed", range(6))
async def test_the_api_shows_what_the_rules_say(server: Server, folder: Path, seed: int) -> None:
    grow(folder, Random(seed))
    wanted = expected(folder, Ignore(Disk(folder), max_size=LIMIT))
    assert set(wanted.values()) == {True, False}
    async with asyncio.timeout(20):
        while await below(server, folder) != wanted:
            await asyncio.sleep(0.1)
    for path, versioned in wanted.items():
        found = await model(server, quote(path), "?content=0")
        assert found.get("versioned", True) == versioned
        if found["type"] != "directory" and not (folder / path).is_symlink():
            reply = await server.fetch("GET", f"/files/{quote(path)}")
            assert reply.body == (folder / path).read_bytes()
            saved = await put(server, quote(path), f"saved {path}")
            assert saved.status == 200 and (folder / path).read_text() == f"saved {path}"
    now = Ignore(Disk(folder), max_size=LIMIT)  # what was too large is not any more
    async with asyncio.timeout(20):
        while await below(server, folder) != expected(folder, now):
            await asyncio.sleep(0.1)
