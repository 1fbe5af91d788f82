"""Names and files that are hard to serve: each must be reachable, and none may be mistaken for another."""

from __future__ import annotations

import base64
import random
import sqlite3
from contextlib import closing
from typing import Any

import aiohttp
import pytest

from tests.helpers import Server


def text(content: str) -> dict[str, Any]:
    return {"type": "file", "format": "text", "content": content}


async def put(server: Server, path: str, model: dict[str, Any]) -> None:
    assert (await server.fetch("PUT", f"api/contents/{path}", json=model)).status == 201


async def test_a_line_feed_in_a_name_is_no_trap(server: Server) -> None:
    """Files of such names come with a folder or by a rename; what could not be addressed could not be saved."""
    await put(server, "f", text("one"))
    moved = await server.fetch("PATCH", "api/contents/f", json={"path": "a\nb"})
    assert (moved.status, moved.headers["Location"]) == (200, "/api/contents/a%0Ab")
    assert (await server.fetch("GET", "api/contents/a%0Ab")).json()["content"] == "one"
    assert (await server.fetch("GET", "files/a%0Ab")).body == b"one"
    assert (await server.fetch("POST", "api/contents/a%0Ab/checkpoints")).status == 201
    assert len((await server.fetch("GET", "api/history/versions/a%0Ab")).json()["versions"]) == 4
    assert (await server.fetch("DELETE", "api/contents/a%0Ab")).status == 204


@pytest.mark.parametrize("path", ["api/contentsf", "api/history/versionsf", "api/history/difff?from=1"])
async def test_a_path_begins_with_a_slash(server: Server, path: str) -> None:
    await put(server, "f", text("one"))
    assert (await server.fetch("GET", path)).status == 404


async def test_a_copy_can_be_reached(server: Server) -> None:
    await put(server, "-Copy1.txt", text("one"))
    copy = await server.fetch("POST", "api/contents/", json={"copy_from": "-Copy1.txt"})
    assert (await server.fetch("GET", f"api/contents/{copy.json()['path']}")).json()["content"] == "one"


async def test_half_a_surrogate_pair_names_nothing(server: Server) -> None:
    body = b'{"copy_from": "\\ud800"}'
    assert (await server.fetch("PUT", "api/contents/f", data=body)).status == 404


async def test_a_file_that_turns_out_to_be_damaged_is_cut_short(server: Server) -> None:
    """The answer has begun when the damage is found: an error must not be taken for the rest of the file."""
    body = random.Random(1).randbytes(6 * 1024 * 1024)
    content = base64.b64encode(body).decode()
    await put(server, "b.bin", {"type": "file", "format": "base64", "content": content})
    with closing(sqlite3.connect(server.services.config.db)) as database, database:
        database.execute("update chunks set codec = 1, data = x'00' where id = (select max(id) from chunks)")
    with pytest.raises(aiohttp.ClientPayloadError):
        await server.fetch("GET", "files/b.bin")


async def test_a_script_gets_a_file_with_the_token_in_its_address(server: Server) -> None:
    """Such as pandas.read_csv: it keeps no cookies, so that a redirect would lead it to the login page."""
    await put(server, "f.csv", text("a,b"))
    address = f"files/f.csv?token={server.services.config.token}"
    got = await server.fetch("GET", address, stranger=True)
    assert (got.status, got.body) == (200, b"a,b")


async def test_a_pasted_link_to_a_file_opens_and_shows_no_token(server: Server) -> None:
    """It comes without Referer. The page must not have the token in its address, which its scripts can read."""
    await put(server, "f.html", text("<p>"))
    browser = {"Accept": "text/html,*/*"}
    address = f"files/f.html?token={server.services.config.token}&download="
    first = await server.fetch("GET", address, stranger=True, headers=browser)
    assert first.status == 302
    cookies = "; ".join(f"{name}={value}" for name, value in first.cookies.items())
    location = first.headers["Location"]
    assert location == f"/files/f.html?download=&_xsrf={first.cookies['_xsrf']}"
    second = await server.fetch("GET", location, stranger=True, headers=browser | {"Cookie": cookies})
    assert (second.status, second.body) == (200, b"<p>")


async def test_a_wrong_token_in_an_address_is_no_way_around_the_referer(server: Server) -> None:
    await put(server, "f.html", text("<p>"))
    browser = {"Accept": "text/html", "Cookie": (await server.log_in())["Cookie"]}
    first = await server.fetch("GET", "files/f.html?token=wrong", stranger=True, headers=browser)
    assert (first.status, first.headers["Location"]) == (302, "/files/f.html")
    assert (await server.fetch("GET", "files/f.html", stranger=True, headers=browser)).status == 403
