"""A served folder that vanishes, is full, read-only, closed, deeper than any path, or never quiet: the rest is served on."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import threading
from pathlib import Path

import pytest

from evstore.core.paths import ContentPath
from evstore.worktree import working_folder
from evstore.worktree.disk.disk import Disk
from tests.folder.clients import (
    SECRET,
    TEXT,
    ask,
    listing,
    save,
    text_of,
    until_listed,
)
from tests.folder.mounts import bound_by_permissions, mounted, remount
from tests.helpers import Server, StartServer


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


async def test_what_may_not_be_read(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_what_was_closed_later(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


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
    finally:  # pytest's own cleaning does not get that deep
        await asyncio.to_thread(subprocess.run, ["rm", "-rf", folder / "d", folder / ".evstore"], check=True)


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


@pytest.mark.trouble
async def test_an_error_that_nobody_expects_is_not_the_end(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when somebody else has locked the database for long: it is tried again, and then all is seen as before."""
    assert server.services.folder is not None
    taking, folder = server.services.folder._importer, server.services.config.folder
    take, has_failed = taking.take, asyncio.Event()

    async def fails(*_: object, **__: object) -> set[ContentPath]:
        monkeypatch.setattr(taking, "take", take)
        has_failed.set()
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(working_folder, "PAUSE", 0.05)
    monkeypatch.setattr(taking, "take", fails)
    (folder / "a").write_text("one")
    await asyncio.wait_for(has_failed.wait(), 30)
    async with asyncio.timeout(30):
        while server.services.store.offset < 2:  # it is made and saved, with nobody asking for it
            await asyncio.sleep(0.05)
    assert await text_of(server, "a") == "one"
    assert caplog.text.count("database is locked") >= 1
