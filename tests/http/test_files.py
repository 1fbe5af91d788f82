"""/files: a file's bytes; types, conditions, ranges, downloads."""

from __future__ import annotations

import asyncio
import base64
import random
import tempfile
import tracemalloc
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

import pytest

from evstore.core.events import Author
from evstore.core.paths import ContentPath
from evstore.services.contents import SaveRequest
from evstore.store.body_upload import upload_body
from tests.helpers import TOKEN, Server

BODY = bytes(range(256)) * 40


async def make(server: Server, path: str, body: bytes = BODY) -> int:
    """Make a file; the offset after it."""
    content = base64.b64encode(body).decode()
    model = {"type": "file", "format": "base64", "content": content}
    reply = await server.fetch("PUT", f"api/contents/{path}", json=model)
    assert reply.status in (200, 201), reply.text
    return int(reply.headers["Evstore-Offset"])


# -- headers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [
        ("a.ipynb", "application/x-ipynb+json"),
        ("A.IPYNB", "application/x-ipynb+json"),
        ("a.txt", "text/plain; charset=UTF-8"),
        ("a.py", "text/x-python; charset=UTF-8"),
        ("a.csv", "text/csv; charset=UTF-8"),
        ("a.html", "text/html"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.pdf", "application/pdf"),
        ("a.json", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.txt.bz2", "application/octet-stream"),
        ("a.foo", "application/octet-stream"),
        ("Makefile", "application/octet-stream"),
    ],
)
async def test_types(server: Server, name: str, mimetype: str) -> None:
    await make(server, name)
    reply = await server.fetch("GET", f"files/{name}")
    assert (reply.status, reply.headers["Content-Type"], reply.body) == (200, mimetype, BODY)
    assert ("Content-Disposition" in reply.headers) == name.lower().endswith(".ipynb")
    assert reply.headers["Content-Security-Policy"].endswith("; sandbox allow-scripts")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("query", "cache", "is_download"),
    [
        ("", "no-cache", False),
        ("?1763800000000", "no-cache", False),
        ("?v=1a2b", "private, max-age=315360000", False),
        ("?download=1", "no-cache", True),
        ("?download=", "no-cache", False),
        ("?download=1&v=1", "private, max-age=315360000", True),
    ],
)
async def test_queries(server: Server, query: str, cache: str, is_download: bool) -> None:
    await make(server, "a.txt")
    reply = await server.fetch("GET", f"files/a.txt{query}")
    assert (reply.status, reply.headers["Cache-Control"]) == (200, cache)
    assert ("Content-Disposition" in reply.headers) == is_download


@pytest.mark.parametrize(
    "name", ["a b.txt", "%.txt", "50 % #1?.txt", "ä+'\"(;).txt", "e\u0301.txt", "\u00e9.txt", "日本.txt"]
)
async def test_names(server: Server, name: str) -> None:
    escaped = quote(name, safe="")
    await make(server, escaped, name.encode())
    reply = await server.fetch("GET", f"files/{escaped}?download=1")
    assert (reply.status, reply.text) == (200, name)
    assert reply.headers["Content-Disposition"] == f"attachment; filename*=utf-8''{escaped}"


async def test_head_says_what_get_would(server: Server) -> None:
    await make(server, "a.bin")
    for headers in ({}, {"Range": "bytes=5-9"}):
        got = await server.fetch("GET", "files/a.bin", headers=headers)
        head = await server.fetch("HEAD", "files/a.bin", headers=headers)
        assert head.body == b""
        assert head.status == got.status
        different = {name for name in got.headers if got.headers[name] != head.headers.get(name)}
        assert different <= {"Date", "Set-Cookie"}


# -- what can't be had -------------------------------------------------------------------


async def test_what_is_no_file(server: Server) -> None:
    await server.fetch("PUT", "api/contents/d", json={"type": "directory"})
    for path, status in {
        "": 403,
        "d": 403,
        "d/": 403,
        "x": 404,
        ".x": 404,
        "d/.x/y": 404,
        "d/x": 404,
    }.items():
        reply = await server.fetch("GET", f"files/{path}")
        assert (reply.status, path) == (status, path)
        assert reply.json()["message"]
    for path in ("../x", "%2e%2e/x", "d/..%2f..%2fetc/passwd", "%00", "%ff"):
        assert (await server.fetch("GET", f"files/{path}")).status == 404, path
    assert (await server.fetch("POST", "files/x")).status == 405


async def test_strangers(server: Server) -> None:
    await make(server, "a.txt")
    reply = await server.fetch("GET", "files/a.txt", stranger=True)
    assert (reply.status, reply.headers["Location"]) == (302, "/login?next=/files/a.txt")
    assert (await server.fetch("GET", f"files/a.txt?token={TOKEN}", stranger=True)).body == BODY


# -- past versions -----------------------------------------------------------------------


async def test_at(server: Server) -> None:
    before = await make(server, "b.txt")
    first = await make(server, "a.txt", b"one")
    await make(server, "a.txt", b"other")
    old = await server.fetch("GET", f"files/a.txt?at={first}")
    assert old.body == b"one"
    part = await server.fetch("GET", f"files/a.txt?at={first}", headers={"Range": "bytes=1-"})
    assert (part.status, part.body) == (206, b"ne")
    same = await server.fetch("GET", "files/a.txt", headers={"If-None-Match": old.headers["ETag"]})
    assert (same.status, same.body) == (200, b"other")
    assert (await server.fetch("GET", f"files/a.txt?at={before}")).status == 404
    assert (await server.fetch("GET", "files/a.txt?at=x")).status == 400


# -- conditions --------------------------------------------------------------------------

BEFORE, AFTER = formatdate(1, usegmt=True), formatdate(4_000_000_000, usegmt=True)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"If-None-Match": "{etag}"}, 304),
        ({"If-None-Match": 'W/{etag}, "x"'}, 304),
        ({"If-None-Match": '"x", {etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": "rubbish"}, 200),
        ({"If-Modified-Since": "{date}"}, 304),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": AFTER}, 200),  # the tag knows better
        ({"If-Match": "{etag}"}, 200),
        ({"If-Match": '"x", {etag}'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": "W/{etag}"}, 412),  # compared strongly
        ({"If-Unmodified-Since": "{date}"}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Match": "{etag}", "If-Unmodified-Since": BEFORE}, 200),
        ({"If-Match": "{etag}", "If-None-Match": "{etag}"}, 304),
    ],
)
async def test_conditions(server: Server, given: dict[str, str], status: int) -> None:
    await make(server, "a.txt")
    plain = await server.fetch("GET", "files/a.txt")
    etag, date = plain.headers["ETag"], plain.headers["Last-Modified"]
    headers = {name: value.replace("{etag}", etag).replace("{date}", date) for name, value in given.items()}
    for method in ("GET", "HEAD"):
        reply = await server.fetch(method, "files/a.txt", headers=headers)
        assert reply.status == status
        assert reply.body == (BODY if status == 200 and method == "GET" else b"")
        assert reply.headers["ETag"] == etag
        assert reply.headers["Cache-Control"] == "no-cache"


async def test_the_date_is_that_of_the_model(server: Server) -> None:
    await make(server, "a.txt")
    model = (await server.fetch("GET", "api/contents/a.txt?content=0")).json()
    date = parsedate_to_datetime((await server.fetch("GET", "files/a.txt")).headers["Last-Modified"])
    assert model["last_modified"].startswith(f"{date:%Y-%m-%dT%H:%M:%S}")


# -- ranges ------------------------------------------------------------------------------

WHOLE = (200, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("bytes=0-0", (206, slice(0, 1))),
        ("bytes=100-199", (206, slice(100, 200))),
        ("bytes=100-", (206, slice(100, None))),
        ("bytes=-100", (206, slice(-100, None))),
        ("bytes=-999999", WHOLE),
        ("bytes=0-", WHOLE),
        ("bytes=10000-99999999999999999999999999", (206, slice(10000, None))),
        ("bytes=10240-", (416, None)),
        ("bytes=99999-100000", (416, None)),
        ("bytes=-0", (416, None)),
        ("bytes=5-4", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=0-1,3-4", WHOLE),
        ("bytes=" + "9" * 5000 + "-", WHOLE),
        ("lines=1-2", WHOLE),
        ("rubbish", WHOLE),
    ],
)
async def test_ranges(server: Server, given: str, expected: tuple[int, slice | None]) -> None:
    await make(server, "a.bin")
    reply = await server.fetch("GET", "files/a.bin", headers={"Range": given})
    status, part = expected
    assert reply.status == status
    if status == 416:
        assert reply.headers["Content-Range"] == f"bytes */{len(BODY)}"
        return
    assert reply.body == BODY[part or slice(None)]
    if part is not None:
        start = part.indices(len(BODY))[0]
        end = start + len(reply.body) - 1
        assert reply.headers["Content-Range"] == f"bytes {start}-{end}/{len(BODY)}"


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        ("{etag}", 206),
        ('"other"', 200),
        ("W/{etag}", 200),
        ("{date}", 206),
        (BEFORE, 200),
        (AFTER, 200),
        ("rubbish", 200),
    ],
)
async def test_a_download_goes_on_only_if_it_is_the_same_file(
    server: Server, if_range: str, status: int
) -> None:
    await make(server, "a.bin")
    plain = await server.fetch("GET", "files/a.bin")
    value = if_range.replace("{etag}", plain.headers["ETag"]).replace(
        "{date}", plain.headers["Last-Modified"]
    )
    headers = {"Range": "bytes=100-", "If-Range": value}
    reply = await server.fetch("GET", "files/a.bin", headers=headers)
    assert (reply.status, reply.body) == (status, BODY[100:] if status == 206 else BODY)


async def test_an_empty_file_has_no_ranges(server: Server) -> None:
    await make(server, "empty", b"")
    for given, status in {"bytes=0-": 416, "bytes=-5": 416, "bytes=0-1,2-3": 200}.items():
        reply = await server.fetch("GET", "files/empty", headers={"Range": given})
        assert (reply.status, reply.body if status == 200 else b"") == (status, b"")
    assert (await server.fetch("GET", "files/empty")).headers["Content-Length"] == "0"


# -- large files -------------------------------------------------------------------------


async def test_parts_of_a_large_file_over_all_its_seams(server: Server) -> None:
    body = random.Random(3).randbytes(9 * 1024 * 1024)  # three blocks, a thousand chunks
    await make(server, "large.bin", body)
    assert (await server.fetch("GET", "files/large.bin")).body == body
    choose = random.Random(4)
    for _ in range(60):
        start = choose.randrange(len(body))
        stop = choose.choice((start + 1, start + choose.randrange(1, 200_000), len(body)))
        reply = await server.fetch("GET", "files/large.bin", headers={"Range": f"bytes={start}-{stop - 1}"})
        assert (reply.status, reply.body) == (206, body[start:stop])


async def test_a_download_holds_a_few_blocks(server: Server) -> None:
    """However large the file is, and however slowly it is read."""
    size, services = 64 * 1024 * 1024, server.services
    with tempfile.TemporaryFile() as file:
        for _ in range(64):
            file.write(random.randbytes(size // 64))
        file.seek(0)
        author = Author.new("test")
        body = await upload_body(services.store, file, size, author, notebook=False)
        await services.contents.save(ContentPath("large.bin"), SaveRequest(body=body), author)
    headers = {"Authorization": f"token {TOKEN}"}
    tracemalloc.start()
    try:
        async with server.session.get(f"{server.url}files/large.bin", headers=headers) as reply:
            await asyncio.sleep(0.5)
            got = 0
            async for piece in reply.content.iter_chunked(64 * 1024):
                got += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert got == size
    assert peak < 30 * 1024 * 1024, "bytes, in this process: the server and its client"


async def test_a_client_that_leaves_in_the_middle(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    await make(server, "large.bin", random.Random(3).randbytes(9 * 1024 * 1024))
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET /files/large.bin?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readexactly(100_000)
        writer.transport.abort()
    assert (await server.fetch("GET", "files/large.bin", headers={"Range": "bytes=0-1"})).status == 206
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
