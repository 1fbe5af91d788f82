"""What has no versions is listed and read all the same: what is ignored, or too large."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import os
import resource
import time
from pathlib import Path
from random import Random
from urllib.parse import quote

import aiohttp
import pytest

from evstore.core import naming, notebooks
from evstore.core.paths import ContentPath
from evstore.worktree.disk import file_stat as found_module
from evstore.worktree.disk.disk import Disk
from evstore.worktree.disk.file_stat import NS, StatStamp
from evstore.worktree.ignoring.ignore import Ignore
from evstore.worktree.unversioned import entries
from evstore.worktree.unversioned.entries import SETTLED
from tests.helpers import Server
from tests.http.unversioned import KEYS, KIB, LIMIT, events, fill, folder, listed, model, put, server

__all__ = ["folder", "server"]

OLD = 315_532_800  # seconds since 1970


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


async def test_a_directory_whose_date_is_set_back_is_listed_anew(server: Server, folder: Path) -> None:
    """As `tar x` and `rsync -t` do, once they have filled it."""
    fill(folder)
    kept = folder / "kept"
    for name in ("", "new.secret", "newer.secret"):
        (kept / name).touch()
        os.utime(kept, (OLD, OLD))
        await asyncio.sleep(0.1)  # so that nothing speaks against remembering it
        for _ in range(2):
            assert (name in await listed(server, "kept")) is bool(name)


async def test_what_comes_within_the_same_tick_is_listed(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that knows only whole seconds, or every second one."""
    fill(folder)
    of, now = StatStamp.of, time.time_ns() // NS * NS
    monkeypatch.setattr(StatStamp, "of", lambda found: of(found)._replace(mtime_ns=now, ctime_ns=now))
    monkeypatch.setattr(found_module, "COARSE_TICK", 3600 * NS)
    await listed(server, "kept")
    await asyncio.sleep(0.2)  # what is in the log is told
    await listed(server, "kept")
    (folder / "kept" / "new.secret").touch()
    assert "new.secret" in await listed(server, "kept")


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


async def test_what_changes_within_the_same_tick_is_not_taken_for_the_same(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder)
    stamp, file = StatStamp(7, 8, 9, 10), folder / "data" / "x.txt"
    monkeypatch.setattr(StatStamp, "of", lambda found: stamp)
    paths = ("/api/contents/data/x.txt", "/files/data/x.txt")
    monkeypatch.setattr(entries, "SETTLED", time.time() + 3600)
    tags = {path: (await server.fetch("GET", path)).headers["ETag"] for path in paths}
    file.write_text("changed")
    for settled in (time.time() + 3600, 0):
        monkeypatch.setattr(entries, "SETTLED", settled)
        for path, tag in tags.items():
            reply = await server.fetch("GET", path, headers={"If-None-Match": tag})
            assert reply.status == 200 and "changed" in reply.text
    tag = tags["/api/contents/data/x.txt"]
    assert (await put(server, "data/x.txt", "saved", **{"If-Match": tag})).status == 200


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
