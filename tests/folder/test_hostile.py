"""Folders that mean harm, served: nothing outside is read or changed, nobody hangs, and what is well is served on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from evstore.disk.disk import Disk
from evstore.paths import ContentPath
from tests.folder.mounts import bound_by_permissions, mounted, remount
from tests.helpers import Reply, Server, StartServer

SECRET = "what only stands outside"
HANGS = 20  # seconds
TEXT = {"type": "file", "format": "text", "content": "from the browser"}


async def ask(server: Server, method: str, path: str, **more: object) -> Reply:
    return await asyncio.wait_for(server.fetch(method, path, **more), HANGS)


async def save(server: Server, path: str, text: str = "saved") -> Reply:
    return await ask(server, "PUT", f"/api/contents/{path}", json=TEXT | {"content": text})


async def listing(server: Server, path: str = "") -> dict[str, str]:
    reply = await ask(server, "GET", f"/api/contents/{path}")
    assert reply.status == 200, reply.text
    return {one["name"]: one["type"] for one in reply.json()["content"]}


async def text_of(server: Server, path: str) -> str:
    reply = await ask(server, "GET", f"/api/contents/{path}")
    assert reply.status == 200, reply.text
    return reply.json()["content"]


async def until_listed(server: Server, *names: str) -> dict[str, str]:
    """Wait until the watcher has told of these."""
    while not set(names) <= (found := await listing(server)).keys():
        await asyncio.sleep(0.05)
    return found


async def try_everything(server: Server, path: str) -> list[Reply]:
    """What a client can do with a path, reading before writing before deleting."""
    requests: list[tuple[str, str, dict[str, object]]] = [
        ("GET", f"/api/contents/{path}", {}),
        ("GET", f"/api/contents/{path}?type=directory", {}),
        ("GET", f"/files/{path}", {"headers": {"Range": "bytes=0-99"}}),
        ("GET", f"/nbconvert/html/{path}", {}),
        ("GET", f"/api/contents/{path}/checkpoints", {}),
        ("GET", f"/api/history/versions/{path}", {}),
        ("POST", "/api/contents/copies", {"json": {"copy_from": path}}),
        ("POST", f"/api/contents/{path}", {"json": {"type": "file"}}),
        ("POST", f"/api/contents/{path}/checkpoints", {}),
        ("PATCH", "/api/contents/moving", {"json": {"path": f"{path}/moved"}}),
        ("PUT", f"/api/contents/{path}/below", {"json": TEXT}),
        ("PUT", f"/api/contents/{path}", {"json": TEXT}),
        ("DELETE", f"/api/contents/{path}", {}),
    ]
    return [await ask(server, method, where, **more) for method, where, more in requests]


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


@pytest.mark.trouble
async def test_the_folder_vanishes_and_comes_back(server: Server, tmp_path: Path) -> None:
    folder = server.services.config.folder
    (folder / "sub").mkdir()
    (folder / "sub/file").write_text("from the disk")
    assert (await save(server, "a", "first")).status == 201
    await until_listed(server, "sub")
    assert await listing(server, "sub") == {"file": "file"}
    folder.rename(tmp_path / "away")
    for reply in [
        await save(server, "a", "second"),
        await save(server, "new"),
        await ask(server, "DELETE", "/api/contents/sub"),
    ]:
        assert reply.status == 503, reply.text
        assert os.fsencode(tmp_path) not in reply.body
    folder.mkdir()  # what lies below when a disk is unmounted
    await asyncio.sleep(3)
    assert (await save(server, "new")).status == 503
    assert os.listdir(folder) == []
    folder.rmdir()
    (tmp_path / "away").rename(folder)
    while (await save(server, "a", "third")).status != 200:
        await asyncio.sleep(0.1)
    assert await listing(server) == {"a": "file", "sub": "directory"}
    assert await text_of(server, "sub/file") == "from the disk"
    assert (folder / "a").read_text() == "third"
    deleted = await ask(server, "GET", "/api/history/deleted/")
    assert deleted.json() == {"deleted": []}


@pytest.mark.trouble
async def test_a_disk_that_is_full(start_server: StartServer, tmp_path: Path) -> None:
    with mounted(tmp_path / "folder", "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        server = await start_server()
        folder = server.services.config.folder
        assert (await save(server, "a", "first")).status == 201
        reply = await save(server, "large", "x" * 2_000_000)
        assert reply.status == 507, reply.text
        assert await text_of(server, "a") == "first"
        assert (await save(server, "a", "second")).status == 200  # what is small still fits
        assert (folder / "a").read_text() == "second"
        assert os.listdir(folder / ".evstore/tmp") == []


@pytest.mark.trouble
async def test_a_disk_that_becomes_read_only(start_server: StartServer, tmp_path: Path) -> None:
    with mounted(tmp_path / "folder", "-t", "tmpfs", "tmpfs"):
        server = await start_server()
        folder = server.services.config.folder
        assert (await save(server, "a", "first")).status == 201
        remount(folder, "ro")
        for reply in [
            await save(server, "a", "second"),
            await save(server, "new"),
            await ask(server, "DELETE", "/api/contents/a"),
            await ask(server, "PATCH", "/api/contents/a", json={"path": "b"}),
        ]:
            assert 400 <= reply.status < 600 and reply.json()["message"]
        assert await text_of(server, "a") in ("first", "second")
        assert (folder / "a").read_text() == "first"
        remount(folder, "rw")
        assert (await save(server, "a", "third")).status == 200
        assert (folder / "a").read_text() == "third"


async def test_what_may_not_be_read(start_server: StartServer, tmp_path: Path) -> None:
    """It is there, and that is all that anybody learns; what may be done without reading it is done."""
    folder = tmp_path / "folder"
    (folder / "closed").mkdir(parents=True)
    (folder / "closed/file").write_text(SECRET)
    (folder / "secret").write_text(SECRET)
    (folder / "well").write_text("well")
    (folder / "closed").chmod(0)
    (folder / "secret").chmod(0)
    with bound_by_permissions():
        server = await start_server()
        assert await until_listed(server, "well") == {"closed": "directory", "secret": "file", "well": "file"}
        requests: list[tuple[str, str, dict[str, object]]] = [
            ("GET", "/api/contents/{}", {}),
            ("GET", "/files/{}", {}),
            ("GET", "/nbconvert/html/{}", {}),
            ("GET", "/api/history/versions/{}", {}),
            ("GET", "/api/history/diff/{}?from=1", {}),
            ("GET", "/api/contents/{}?at=1", {}),
            ("POST", "/api/contents/{}/checkpoints", {}),
            ("POST", "/api/contents/{}/checkpoints/1", {}),
            ("POST", "/api/contents", {"json": {"copy_from": "{}"}}),
            ("PUT", "/api/contents/{}", {"json": TEXT}),
        ]
        for path in ("secret", "closed/file"):
            for method, where, more in requests:
                if "json" in more:
                    more = {"json": {k: str(v).format(path) for k, v in dict(more["json"]).items()}}
                reply = await ask(server, method, where.format(path), **more)
                assert (reply.status, where) == (403, where), reply.text
                assert SECRET.encode() not in reply.body and os.fsencode(tmp_path) not in reply.body
        assert (await ask(server, "GET", "/api/contents/secret")).json() == {
            "message": "secret can't be read (Permission denied)",
            "reason": None,
        }
        assert (await ask(server, "GET", "/api/contents/closed")).status == 403
        for path in ("secret", "closed"):
            assert (await ask(server, "GET", f"/api/contents/{path}?content=0")).json()["name"] == path
        assert (await ask(server, "GET", "/api/contents/secret/checkpoints")).json() == []
        reply = await ask(server, "PATCH", "/api/contents/secret", json={"path": "renamed"})
        assert reply.status == 200, reply.text
        assert (await ask(server, "DELETE", "/api/contents/renamed")).status == 204
        assert (await save(server, "well", "better")).status == 200
        (folder / "closed").chmod(0o755)
        while (await ask(server, "GET", "/api/contents/closed/file")).status != 200:
            await asyncio.sleep(0.05)
        assert await text_of(server, "closed/file") == SECRET
        assert await listing(server, "closed") == {"file": "file"}


async def test_what_was_closed_later(start_server: StartServer, tmp_path: Path) -> None:
    """Its versions are there; what it is now, nobody knows."""
    folder = tmp_path / "folder"
    (folder / "d").mkdir(parents=True)
    for path in ("a", "b", "d/file"):
        (folder / path).write_text(path)
    with bound_by_permissions():
        server = await start_server()
        for path in ("a", "b", "d/file"):
            assert await text_of(server, path) == path
        for path in ("a", "b", "d"):
            (folder / path).chmod(0)
        for path in ("a", "d/file", "d"):
            reply = await ask(server, "GET", f"/api/contents/{path}")
            assert reply.status == 403, reply.text
            reply = await ask(server, "GET", f"/api/history/versions/{path}")
            assert "EntryCreated" in [one["event"] for one in reply.json()["versions"]]
        head = server.services.store.offset
        for path in ("a", "d/file"):
            assert await text_of(server, f"{path}?at={head}") == path
        assert set(await listing(server)) == {"a", "b", "d"}
        assert (await save(server, "a", "new")).status == 403
        assert (await ask(server, "PATCH", "/api/contents/a", json={"path": "c"})).status == 200
        assert (await ask(server, "DELETE", "/api/contents/b")).status == 204
        assert sorted(file.name for file in folder.iterdir()) == [".evstore", "c", "d"]
        (trashed,) = (folder / ".evstore/trash").iterdir()  # its bytes may be in no version
        assert trashed.name.endswith("-b")
        (folder / "c").chmod(0o644)
        assert await text_of(server, "c") == "a"
        (folder / "d").chmod(0o755)
        assert await text_of(server, "d/file") == "d/file"


async def test_what_may_not_be_written(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "fixed").mkdir(parents=True)
    (folder / "fixed/file").write_text("fixed")
    (folder / "fixed").chmod(0o555)
    with bound_by_permissions():
        server = await start_server()
        await until_listed(server, "fixed")
        for method, where in (("PUT", "fixed/new"), ("PUT", "fixed/file"), ("DELETE", "fixed/file")):
            reply = await ask(server, method, f"/api/contents/{where}", json=TEXT)
            assert reply.status == 403, reply.text
        assert await text_of(server, "fixed/file") == "fixed"


async def test_directories_in_directories_in_directories(server: Server) -> None:
    """The deepest that have a path; below, nothing can be named any more."""
    folder = server.services.config.folder
    current = os.open(folder, os.O_RDONLY)
    for _ in range(2100):
        os.mkdir("d", dir_fd=current)
        above, current = current, os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(above)
    os.close(current)
    try:
        (folder / "well").write_text("well")
        await until_listed(server, "d", "well")
        path = "/".join(
            "d" * 2040
        )  # with the folder's own path it is longer than the system takes in one call
        while (await ask(server, "GET", f"/api/contents/{path}")).status != 200:
            await asyncio.sleep(0.2)
        assert (await save(server, f"{path}/new")).status == 201
        assert await text_of(server, "well") == "well"
        (skipped,) = Disk(folder).scan(ContentPath("/".join("d" * 2048))).skipped
        assert skipped.reason == "its path is longer than 4096 bytes"
        assert (await ask(server, "DELETE", "/api/contents/d")).status == 204
        assert await listing(server) == {"well": "file"}
        while any((folder / ".evstore/trash").iterdir()):
            assert await text_of(server, "well") == "well"
            await asyncio.sleep(0.05)
    finally:  # pytest's own cleaning does not get that deep
        await asyncio.to_thread(subprocess.run, ["rm", "-rf", folder / "d", folder / ".evstore"], check=True)


async def test_a_hard_link_to_a_file_outside(server: Server, tmp_path: Path) -> None:
    """It is a file of the folder, which the user has put there; but what is saved goes to the folder alone."""
    (tmp_path / "outside").write_text("as it was")
    folder = server.services.config.folder
    os.link(tmp_path / "outside", folder / "linked")
    await until_listed(server, "linked")
    assert (await save(server, "linked", "new")).status == 200
    assert (tmp_path / "outside").read_text() == "as it was"
    assert (folder / "linked").read_text() == "new"


async def test_a_file_that_grows_for_ever(server: Server) -> None:
    folder = server.services.config.folder
    stop = threading.Event()

    def grow() -> None:
        with (folder / "log").open("w", buffering=1) as file:
            while not stop.wait(0.01):
                file.write("one more line\n")

    growing = asyncio.create_task(asyncio.to_thread(grow))
    try:
        for number in range(5):
            (folder / f"other-{number}").write_text("x")
            await until_listed(server, f"other-{number}")
        assert (await text_of(server, "log")).startswith("one more line\n")
        assert (await ask(server, "GET", "/files/log")).status == 200
    finally:
        stop.set()
    await growing


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
