"""What is on the disk is in the log before it goes, whether the watcher has told of it or not; and nothing else is evstore's."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from evstore.core.paths import ContentPath
from evstore.worktree.disk.errors import Unreadable
from evstore.worktree.ignoring.own import own_files
from tests.helpers import Server, StartServer


async def put(server: Server, path: str) -> int:
    model = {"type": "file", "format": "text", "content": "mine"}
    return (await server.fetch("PUT", f"/api/contents/{path}", json=model)).status


async def test_bytes_deep_in_a_directory_are_in_the_log_when_it_is_deleted(server: Server) -> None:
    folder = server.services.config.folder
    (folder / "d" / "x").mkdir(parents=True)
    assert (await server.fetch("GET", "/api/contents/d/x")).status == 200
    (folder / "d" / "x" / "new.txt").write_text("precious")
    assert (await server.fetch("DELETE", "/api/contents/d")).status == 204
    (deleted,) = (await server.fetch("GET", "/api/history/deleted")).json()["deleted"]
    await server.fetch("POST", "/api/history/undelete", json={"entry": deleted["entry"]})
    assert (folder / "d" / "x" / "new.txt").read_text() == "precious"


async def test_bytes_deep_in_a_directory_are_in_the_log_when_it_is_restored(server: Server) -> None:
    folder = server.services.config.folder
    await server.fetch("PUT", "/api/contents/d", json={"type": "directory"})
    await server.fetch("PUT", "/api/contents/d/x", json={"type": "directory"})
    offset = server.services.store.offset
    (folder / "d" / "x" / "new.txt").write_text("precious")
    reply = await server.fetch("POST", "/api/history/restore/d", json={"at": offset})
    assert [one["action"] for one in reply.json()["changes"]] == ["delete"]
    assert not (folder / "d" / "x" / "new.txt").exists()
    (deleted,) = (await server.fetch("GET", "/api/history/deleted")).json()["deleted"]
    assert deleted["path"] == "d/x/new.txt"


async def test_a_log_at_the_top_of_the_folder_hides_no_users_files(
    tmp_path: Path, start_server: StartServer
) -> None:
    (tmp_path / "folder").mkdir()
    server = await start_server(db=tmp_path / "folder" / "log")
    names = {"scratch.py", "logbook.txt", "cookie_secrets.txt", "log.txt"}
    assert {await put(server, name) for name in names} == {201}
    listed = {one["name"] for one in (await server.fetch("GET", "/api/contents")).json()["content"]}
    assert listed == names


@pytest.mark.parametrize(
    "name",
    [
        "log",
        "log-wal",
        "log-shm",
        "log.lock",
        "log.server.json",
        "log.server.json.123",
        "cookie_secret",
        "cookie_secret.0af1",
    ],
)
def test_evstores_own(tmp_path: Path, name: str) -> None:
    is_own = own_files(tmp_path, tmp_path / "log")
    assert is_own(ContentPath(name))
    assert not is_own(ContentPath(f"sub/{name}"))


async def test_a_file_that_may_not_be_read_is_not_looked_at_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = server.services.folder
    assert folder is not None
    looked = 0
    taking = folder._importer
    compare = taking._compare

    async def counting(*args: object, **options: object) -> object:
        nonlocal looked
        looked += 1
        return await compare(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(taking, "_compare", counting)
    disk_open = type(folder._disk).open

    def refusing(disk: object, path: ContentPath) -> object:
        if path == "secret.txt":
            raise Unreadable(path, "Permission denied")
        return disk_open(disk, path)  # type: ignore[arg-type]

    monkeypatch.setattr(type(folder._disk), "open", refusing)
    (server.services.config.folder / "secret.txt").write_text("x")
    await asyncio.sleep(1.5)
    assert 1 <= looked <= 4


def test_a_folder_that_is_named_like_ours_but_for_the_dot_is_the_users(tmp_path: Path) -> None:
    is_own = own_files(tmp_path, tmp_path / ".evstore" / "log.db")
    assert is_own(ContentPath(".evstore/log.db"))
    assert not is_own(ContentPath("evstore/log.db"))
