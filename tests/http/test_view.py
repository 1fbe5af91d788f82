"""/view: a page around a file in a sandbox."""

from __future__ import annotations

import html
import re

import pytest

from tests.helpers import TOKEN, Server, StartServer

TEXT = {"type": "file", "format": "text"}


async def make(server: Server, path: str, content: str = "<p>") -> int:
    reply = await server.fetch("PUT", f"api/contents/{path}", json={**TEXT, "content": content})
    return int(reply.headers["Evstore-Offset"])


def frame(page: str) -> dict[str, str]:
    """The attributes of the page's one iframe."""
    (tag,) = re.findall(r"<iframe ([^>]*)>", page)
    return {name: html.unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}


@pytest.mark.parametrize(
    ("path", "src"),
    [
        ("a.html", "/base/files/a.html"),
        ("a%20%25%23%3F.html", "/base/files/a%20%25%23%3F.html"),
        ("%C3%A4.bin", "/base/files/%C3%A4.bin"),
        ("a%22%3E%3Cscript%3E.html", "/base/files/a%22%3E%3Cscript%3E.html"),
    ],
)
async def test_the_file_is_in_a_sandbox(start_server: StartServer, path: str, src: str) -> None:
    server = await start_server(base_url="/base/")
    await make(server, path)
    reply = await server.fetch("GET", f"view/{path}")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=UTF-8")
    assert frame(reply.text)["src"] == src
    assert frame(reply.text)["sandbox"] == "allow-scripts"
    assert "<script" not in reply.text
    assert (await server.fetch("GET", src.removeprefix("/base/"))).body == b"<p>"


async def test_a_past_version(server: Server) -> None:
    before = await make(server, "other.html")
    at = await make(server, "f.html", "old")
    await make(server, "f.html", "new")
    src = frame((await server.fetch("GET", f"view/f.html?at={at}")).text)["src"]
    assert src == f"/files/f.html?at={at}"
    assert (await server.fetch("GET", src)).text == "old"
    assert (await server.fetch("GET", f"view/f.html?at={before}")).status == 404
    assert (await server.fetch("GET", "view/f.html?at=yesterday")).status == 400


async def test_what_is_not_there(server: Server) -> None:
    await server.fetch("PUT", "api/contents/d", json={"type": "directory"})
    for path in ("", "/", "/missing.html", "/d", "/.hidden", "/d/../d", "/%00"):
        assert (await server.fetch("GET", f"view{path}")).status in (302, 404), path
    page = await server.fetch("GET", "view/%3Cb%3E", headers={"Accept": "text/html"})
    assert page.status == 404
    assert "<b>" not in page.text


async def test_strangers_log_in_first(server: Server) -> None:
    await make(server, "f.html")
    reply = await server.fetch("GET", "view/f.html", stranger=True)
    assert (reply.status, reply.headers["Location"]) == (302, "/login?next=/view/f.html")
    reply = await server.fetch("GET", f"view/f.html?token={TOKEN}", stranger=True)
    assert (reply.status, reply.headers["Location"]) == (302, "/view/f.html")
