"""Uploads in pieces: what interleaves, what fails half-way, and what a condition is worth."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import Iterator
from io import BufferedRandom

import pytest

from evstore.core.errors import Full, Invalid
from evstore.core.paths import ContentPath
from evstore.services.uploads import LAST, Uploads
from tests.helpers import Reply, Server

PATH = ContentPath("big")


@pytest.fixture
def arriving() -> Iterator[Uploads]:
    opened = Uploads(max_size=1_000_000)
    yield opened
    opened.close()


async def put(server: Server, part: bytes, number: int, headers: dict[str, str]) -> Reply:
    """Send a piece; with a Cookie among `headers` as that person, else with the token."""
    content = base64.b64encode(part).decode()
    model = {"type": "file", "format": "base64", "content": content, "chunk": number}
    return await server.fetch(
        "PUT", "api/contents/big", json=model, headers=headers, stranger="Cookie" in headers
    )


async def test_two_people_of_the_same_name_upload_to_one_path(server: Server) -> None:
    one, two = await server.log_in(), await server.log_in()
    for headers in (one, two):
        me = await server.fetch("PATCH", "api/me", stranger=True, json={"name": "Io"}, headers=headers)
        ((name, value),) = me.cookies.items()
        headers["Cookie"] = f"{name}={value}; _xsrf=secret"
    assert (await put(server, b"a1", 1, one)).status == 201
    assert (await put(server, b"b1", 1, two)).status == 201
    assert (await put(server, b"a2", 2, one)).status == 201
    assert (await put(server, b"a3", LAST, one)).status == 201
    assert (await server.fetch("GET", "files/big")).body == b"a1a2a3"
    assert (await put(server, b"b2", LAST, two)).status == 200
    assert (await server.fetch("GET", "files/big")).body == b"b1b2"


async def test_the_last_piece_is_as_conditional_as_any_save(server: Server) -> None:
    first = await put(server, b"one", 1, {})
    first = await put(server, b"", LAST, {})
    await put(server, b"two", 1, {})
    await put(server, b"", LAST, {})
    for condition in ({"If-Match": first.headers["ETag"]}, {"If-None-Match": "*"}):
        await put(server, b"three", 1, condition)
        assert (await put(server, b"", LAST, condition)).status == 412
    assert (await server.fetch("GET", "files/big")).body == b"two"


async def test_pieces_that_come_at_once_stand_in_the_order_of_their_numbers(arriving: Uploads) -> None:
    pieces = [(number, bytes([number]) * (50_000 // number)) for number in range(1, 9)]
    *_, last = await asyncio.gather(
        *(arriving.add("me", PATH, number, data) for number, data in pieces),
        arriving.add("me", PATH, LAST, b"end"),
    )
    with last.file as file:
        assert file.read() == b"".join(data for _, data in pieces) + b"end"


async def test_an_upload_that_begins_anew_breaks_the_old_one_off(arriving: Uploads) -> None:
    outcomes = await asyncio.gather(
        arriving.add("me", PATH, 1, b"old" * 10_000),
        arriving.add("me", PATH, 1, b"new"),
        return_exceptions=True,
    )
    assert not isinstance(outcomes[1], BaseException)
    with (await arriving.add("me", PATH, LAST, b"")).file as file:
        assert file.read() == b"new"


async def test_half_a_file_never_looks_like_a_whole_one(
    arriving: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = open("/dev/full", "r+b")  # noqa: ASYNC230, SIM115 - the upload closes it

    def full(**_: object) -> BufferedRandom:
        return disk

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    await arriving.add("me", PATH, 1, b"")
    with pytest.raises(Full):
        await arriving.add("me", PATH, 2, b"two")
    for number in (3, LAST):
        with pytest.raises(Invalid):
            await arriving.add("me", PATH, number, b"rest")
    assert disk.closed
