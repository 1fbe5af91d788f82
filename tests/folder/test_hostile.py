"""Folders that mean harm, served: nothing outside is read or changed, nobody hangs, and what is well is served on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import stat
import threading
from pathlib import Path

import pytest

from tests.folder.clients import (
    SECRET,
    ask,
    listing,
    save,
    text_of,
    try_everything,
    until_listed,
)
from tests.helpers import Server

LINKS = {
    "to-file": "../outside/secret",
    "to-directory": "../outside",
    "to-notebook.ipynb": "../outside/secret",
    "absolute": "/",
    "to-itself": "to-itself",
    "to-the-folder": ".",
    "to-above": "..",
    "to-nothing": "nowhere",
    "to-process": "/proc/self/environ",
}

BEHIND = [
    "to-directory/secret",
    "absolute/etc/passwd",
    "to-the-folder/moving",
    "to-above/outside/secret",
    "to-itself/x",
]


@pytest.mark.parametrize("path", [*LINKS, *BEHIND])
async def test_links_lead_nowhere(server: Server, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text(SECRET)
    folder = server.services.config.folder
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)
    (folder / "moving").write_text("well")
    (folder / "copies").mkdir()
    seen = await until_listed(server, "moving", "copies")
    assert seen == {"moving": "file", "copies": "directory", "to-the-folder": "directory"}
    for reply in await try_everything(server, path):
        assert reply.status < 500, reply.text
        assert SECRET.encode() not in reply.body
        assert b"root:" not in reply.body
        assert os.fsencode(tmp_path) not in reply.body
    assert {file.name: file.read_text() for file in outside.iterdir()} == {"secret": SECRET}
    assert {name for name in os.listdir(tmp_path) if name != "settings"} >= {"folder", "outside", "log.db"}
    assert not any(name in os.listdir(tmp_path) for name in ("below", "moved", "moving"))


async def test_a_directory_that_becomes_a_link_while_it_is_written_to(server: Server, tmp_path: Path) -> None:
    """In whatever moment it happens, nothing is written to where the link leads. Invariant 19."""
    outside, folder = tmp_path / "outside", server.services.config.folder
    outside.mkdir()
    (folder / "place").mkdir()
    await until_listed(server, "place")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (folder / "place").rename(folder / "aside")
            (folder / "place").symlink_to(outside)
            (folder / "place").unlink()
            (folder / "aside").rename(folder / "place")

    swapping = asyncio.create_task(asyncio.to_thread(swap))
    try:
        replies = [await save(server, f"place/{number % 7}", f"{number}") for number in range(60)]
    finally:
        stop.set()
    # What a swap meets in its way, such as a directory that evstore has made, ends it: that is no failure of ours.
    await asyncio.gather(swapping, return_exceptions=True)
    assert os.listdir(outside) == []
    assert {reply.status for reply in replies} <= {200, 201, 403, 404, 409, 503}
    log = await ask(server, "GET", "/api/history/log?event=FileSaved&limit=1000")
    in_the_log = {event["data"]["digest"] for event in log.json()["events"]}
    acknowledged = [number for number, reply in enumerate(replies) if reply.status in (200, 201)]
    assert {hashlib.sha256(b"%d" % number).hexdigest() for number in acknowledged} <= in_the_log
    assert (await save(server, "well")).status == 201


NAMES = {
    b"\xff\xfe": None,
    b"back\\slash": None,
    b"new\nline": "new%0Aline",
    b"\x01\x7f": "%01%7F",
    b"n" * 255: "n" * 255,
    "é".encode() * 127: "%C3%A9" * 127,
    b"<script>": "%3Cscript%3E",
    b"a:b": "a%3Ab",
    b"%2e%2e": "%252e%252e",
    b"...": None,  # hidden
    b" ": "%20",
}


async def test_names_of_every_kind(server: Server) -> None:
    folder = server.services.config.folder
    for name in NAMES:
        (folder / os.fsdecode(name)).write_bytes(name)
    (folder / os.fsdecode(b"directory\xff")).mkdir()
    (folder / os.fsdecode(b"directory\xff") / "file").write_text("x")
    found = await until_listed(server, *(name.decode() for name, path in NAMES.items() if path))
    assert set(found) == {name.decode() for name, path in NAMES.items() if path}
    for name, path in NAMES.items():
        if path is not None:
            assert (await ask(server, "GET", f"/files/{path}")).body == name
            assert (await save(server, path, "new")).status == 200
            assert (folder / os.fsdecode(name)).read_text() == "new"
    for path in ("%FF%FE", "back%5Cslash", "directory%FF", "directory%FF/file"):
        for reply in await try_everything(server, path):
            assert 400 <= reply.status < 500 or reply.json() in ([], {"versions": [], "next": None})
    assert (folder / os.fsdecode(b"\xff\xfe")).read_bytes() == b"\xff\xfe"
    assert (folder / os.fsdecode(b"directory\xff") / "file").read_text() == "x"


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
async def test_what_is_no_file(server: Server, kind: str) -> None:
    folder = server.services.config.folder
    special = folder / "special"
    (folder / "moving").write_text("well")
    (folder / "copies").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    match kind:
        case "pipe":
            os.mkfifo(special)
        case "socket":
            listener.bind(os.fspath(special))
        case _ if os.geteuid() == 0:
            os.mknod(special, stat.S_IFCHR | 0o600, os.makedev(1, 5))
        case _:
            pytest.skip("only root makes devices")
    with listener:
        assert "special" not in await until_listed(server, "moving", "copies")
        was = special.lstat()
        for reply in await try_everything(server, "special"):
            assert reply.status < 500, reply.text
        kept = [file.lstat() for file in folder.iterdir() if file.lstat().st_ino == was.st_ino]
        assert [stat.S_IFMT(file.st_mode) for file in kept] == [
            stat.S_IFMT(was.st_mode)
        ]  # put aside, at most


STATE = [
    ".evstore",
    ".evstore/folder",
    ".EVSTORE/folder",
    "%2eevstore/tmp",
    "below/.evstore/x",
    ".evstore/../.evstore/tmp",
]


@pytest.mark.parametrize("path", STATE)
async def test_the_state_can_not_be_reached(server: Server, path: str) -> None:
    folder = server.services.config.folder
    (folder / "below/.evstore").mkdir(parents=True)
    (folder / "below/.evstore/x").write_text(SECRET)
    (folder / "moving").write_text("well")
    (folder / "copies").mkdir()
    await until_listed(server, "below", "moving", "copies")
    before = {file: file.read_bytes() for file in folder.glob(".evstore/*") if file.is_file()}
    for reply in await try_everything(server, path):
        assert 400 <= reply.status < 500 or reply.json() in ([], {"versions": [], "next": None}), reply.text
        assert SECRET.encode() not in reply.body
    assert {file: file.read_bytes() for file in folder.glob(".evstore/*") if file.is_file()} == before
    assert (folder / "below/.evstore/x").read_text() == SECRET
    assert sorted(await listing(server)) == ["below", "copies", "moving"]
    assert await listing(server, "below") == {}


@pytest.mark.parametrize("how", ["deleted", "a link", "a file"])
async def test_the_state_is_spoilt(server: Server, tmp_path: Path, how: str) -> None:
    """A program may do anything to `.evstore`; the log of this server is elsewhere."""
    folder, outside = server.services.config.folder, tmp_path / "outside"
    outside.mkdir()
    assert (await save(server, "before", "1")).status == 201
    shutil.rmtree(folder / ".evstore")
    if how == "a link":
        (folder / ".evstore").symlink_to(outside)
    elif how == "a file":
        (folder / ".evstore").write_text("mine")
    await asyncio.sleep(0.5)
    replies = [await save(server, "before", "2"), await save(server, "new", "3")]
    assert os.listdir(outside) == []
    for reply in replies:
        assert reply.status in (200, 201) or reply.json()["message"]
    reply = await ask(server, "GET", "/api/contents/before?at=2")
    assert reply.json()["content"] == "1"


async def test_a_hard_link_to_a_file_outside(server: Server, tmp_path: Path) -> None:
    """It is a file of the folder, which the user has put there; but what is saved goes to the folder alone."""
    (tmp_path / "outside").write_text("as it was")
    folder = server.services.config.folder
    os.link(tmp_path / "outside", folder / "linked")
    await until_listed(server, "linked")
    assert (await save(server, "linked", "new")).status == 200
    assert (tmp_path / "outside").read_text() == "as it was"
    assert (folder / "linked").read_text() == "new"


async def test_kinds_that_change_places(server: Server) -> None:
    """Files become directories, links and pipes, and these become files again."""
    folder = server.services.config.folder
    assert (await save(server, "a/x", "first")).status in (201, 404)
    (folder / "thing").write_text("a file")
    await until_listed(server, "thing")
    for _ in range(3):
        (folder / "thing").unlink()
        (folder / "thing").mkdir()
        (folder / "thing/inside").write_text("inside")
        while (await listing(server)).get("thing") != "directory":
            await asyncio.sleep(0.05)
        assert await text_of(server, "thing/inside") == "inside"
        shutil.rmtree(folder / "thing")
        os.mkfifo(folder / "thing")
        while "thing" in await listing(server):
            await asyncio.sleep(0.05)
        (folder / "thing").unlink()
        (folder / "thing").write_text("a file again")
        while (await listing(server)).get("thing") != "file":
            await asyncio.sleep(0.05)
        assert await text_of(server, "thing") == "a file again"
