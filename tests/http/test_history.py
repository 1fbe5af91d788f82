"""Time travel over HTTP: reads as of then, versions, diffs, restores, what was deleted, the log and its feed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers import Server
from tests.http.past import delete, mkdir, move, restore, save, tree


async def test_every_moment_can_be_read(server: Server) -> None:
    await mkdir(server, "d")
    one = await save(server, "d/f", "one")
    two = await save(server, "d/f", "two")
    await move(server, "d", "e")
    await delete(server, "e/f")
    assert await tree(server) == {"e": None}
    assert await tree(server, at=one) == {"d": None, "d/f": "one"}
    assert await tree(server, at=two) == {"d": None, "d/f": "two"}
    then = (await server.fetch("GET", f"api/contents/d/f?at={two}")).json()
    assert (then["writable"], then["offset"]) == (False, two)
    when = then["last_modified"]
    assert (await server.fetch("GET", f"api/contents/d/f?at={when}")).json()["content"] == "two"
    assert (await server.fetch("GET", f"files/d/f?at={one}")).text == "one"


async def test_versions_follow_renames_of_the_file_and_of_the_folders_above(server: Server) -> None:
    await mkdir(server, "d")
    await save(server, "d/f", "one")
    await move(server, "d", "e")
    await move(server, "e/f", "e/g")
    await save(server, "e/g", "two")
    found = (await server.fetch("GET", "api/history/versions/e/g")).json()
    assert [(v["event"], v["path"]) for v in found["versions"]] == [
        ("FileSaved", "e/g"),
        ("EntryMoved", "e/g"),
        ("FileSaved", "d/f"),
        ("EntryCreated", "d/f"),
    ]
    assert found["next"] is None
    folder = (await server.fetch("GET", "api/history/versions/e?limit=3")).json()
    assert [v["event"] for v in folder["versions"]] == ["FileSaved", "EntryMoved", "EntryMoved"]
    rest = (await server.fetch("GET", f"api/history/versions/e?before={folder['next']}")).json()
    assert [v["event"] for v in rest["versions"]] == ["FileSaved", "EntryCreated", "EntryCreated"]
    everything = (await server.fetch("GET", "api/history/versions/")).json()["versions"]
    assert [v["offset"] for v in everything] == [6, 5, 4, 3, 2, 1]


async def test_versions_of_a_folder_are_those_of_its_time(server: Server) -> None:
    await mkdir(server, "d")
    await save(server, "f", "outside")
    await move(server, "f", "d/f")
    await save(server, "d/f", "inside")
    await move(server, "d/f", "f")
    await save(server, "f", "outside again")
    found = (await server.fetch("GET", "api/history/versions/d")).json()["versions"]
    assert [v["event"] for v in found] == ["EntryMoved", "FileSaved", "EntryMoved", "EntryCreated"]


async def test_the_history_of_a_deleted_file_is_still_there(server: Server) -> None:
    await save(server, "f", "x")
    await delete(server, "f")
    found = (await server.fetch("GET", "api/history/versions/f")).json()["versions"]
    assert [(v["event"], v["path"]) for v in found] == [
        ("EntryDeleted", "f"),
        ("FileSaved", "f"),
        ("EntryCreated", "f"),
    ]


async def test_diff(server: Server) -> None:
    one = await save(server, "f.txt", "a\nb\n")
    await save(server, "f.txt", "a\nc")
    unified = (await server.fetch("GET", f"api/history/diff/f.txt?from={one}")).json()
    assert unified["format"] == "unified"
    assert "-b\n+c\n\\ No newline at end of file\n" in unified["diff"]
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "one"}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    for source in ("one", "two"):
        model = {"type": "notebook", "content": notebook | {"cells": [cell | {"source": source}]}}
        assert (await server.fetch("PUT", "api/contents/n.ipynb", json=model)).status in (200, 201)
    first = (await server.fetch("GET", "api/history/versions/n.ipynb")).json()["versions"][1]["offset"]
    found = (await server.fetch("GET", f"api/history/diff/n.ipynb?from={first}")).json()
    assert found["format"] == "nbdime"
    assert found["diff"][0]["key"] == "cells"
    for query, status in (("", 400), ("?from=999", 400), ("?from=wat", 400)):
        assert (await server.fetch("GET", f"api/history/diff/f.txt{query}")).status == status


async def test_a_file_is_restored_by_an_event_that_can_be_undone(server: Server) -> None:
    one = await save(server, "f", "one")
    two = await save(server, "f", "two")
    done = (await restore(server, "f", one)).json()
    assert done == {"offset": two + 1, "changes": [{"action": "restore", "path": "f"}]}
    assert await tree(server) == {"f": "one"}
    last = (await server.fetch("GET", "api/history/versions/f?limit=1")).json()["versions"][0]
    assert (last["event"], last["source"]) == ("FileRestored", one)
    await restore(server, "f", two)
    assert await tree(server) == {"f": "two"}
    assert (await restore(server, "f", two)).json()["changes"] == []


async def test_the_whole_tree_is_restored(server: Server) -> None:
    for path in ("a", "a/b", "c"):
        await mkdir(server, path)
    for path in ("a/1", "a/b/2", "c/3", "4", "5"):
        offset = await save(server, path, f"first {path}")
    before = await tree(server)
    await save(server, "a/1", "changed")
    await move(server, "a/b", "c/b")
    await move(server, "c", "a/c")
    await delete(server, "a")
    await move(server, "4", "tmp")
    await move(server, "5", "4")
    await move(server, "tmp", "5")
    await save(server, "new", "x")
    after = await tree(server)
    told = (await restore(server, "", offset, dry_run=True)).json()
    assert await tree(server) == after
    done = (await restore(server, "", offset)).json()
    assert [c["action"] for c in done["changes"]] == [c["action"] for c in told["changes"]]
    assert await tree(server) == before
    await restore(server, "", told["offset"])
    assert await tree(server) == after
    commands = (await server.fetch("GET", f"api/history/log?after={told['offset']}")).json()["events"]
    assert len({event["command"] for event in commands}) == 2


async def test_a_folder_is_restored_and_nothing_outside_it_changes(server: Server) -> None:
    await mkdir(server, "d")
    await save(server, "d/stays", "1")
    await save(server, "d/leaves", "2")
    offset = await save(server, "comes", "3")
    await move(server, "d/leaves", "left")
    await move(server, "comes", "d/came")
    await save(server, "d/stays", "changed")
    await restore(server, "d", offset)
    assert await tree(server) == {"d": None, "d/stays": "1", "d/leaves": "2", "left": "2"}


async def test_what_was_deleted_comes_back_with_its_history(server: Server) -> None:
    """Invariant 8."""
    await mkdir(server, "d")
    await save(server, "d/f", "one")
    await delete(server, "d")
    await mkdir(server, "d")
    (found,) = (await server.fetch("GET", "api/history/deleted/")).json()["deleted"]
    assert (found["path"], found["kind"]) == ("d", "directory")
    taken = await server.fetch("POST", "api/history/undelete", json={"entry": found["entry"]})
    assert taken.status == 409
    back = await server.fetch("POST", "api/history/undelete", json={"entry": found["entry"], "path": "e"})
    assert (back.status, back.json()["path"]) == (200, "e")
    assert await tree(server) == {"d": None, "e": None, "e/f": "one"}
    assert (await server.fetch("GET", "api/history/deleted/")).json()["deleted"] == []
    again = await server.fetch("POST", "api/history/undelete", json={"entry": found["entry"], "path": "g"})
    assert again.status == 409


async def test_a_file_inside_a_deleted_folder_can_come_back_alone(server: Server) -> None:
    await mkdir(server, "d")
    await save(server, "d/f", "one")
    entry = (await server.fetch("GET", "api/history/log?event=EntryCreated")).json()["events"][1]["entry"]
    await delete(server, "d")
    back = await server.fetch("POST", "api/history/undelete", json={"entry": entry, "path": "f"})
    assert back.status == 200
    assert await tree(server) == {"f": "one"}


async def test_restoring_a_deleted_path_undeletes_it(server: Server) -> None:
    await mkdir(server, "d")
    offset = await save(server, "d/f", "one")
    await save(server, "d/f", "two")
    await delete(server, "d")
    await restore(server, "d", offset)
    assert await tree(server) == {"d": None, "d/f": "one"}
    assert len((await server.fetch("GET", "api/history/versions/d/f")).json()["versions"]) == 4


@pytest.mark.parametrize(
    ("path", "model", "status"),
    [
        ("restore/f", {}, 400),
        ("restore/f", {"at": "wat"}, 400),
        ("restore/f", {"at": 0}, 400),
        ("restore/f", {"at": 99}, 400),
        ("restore/f", {"at": True}, 400),
        ("restore/f", {"at": 1, "dry_run": "yes"}, 400),
        ("restore/nothing", {"at": 1}, 404),
        ("restore/.hidden", {"at": 1}, 400),
        ("undelete", {"entry": "wat"}, 400),
        ("undelete", {}, 400),
        ("undelete", {"entry": "01234567-89ab-cdef-0123-456789abcdef"}, 404),
    ],
)
async def test_bad_requests_are_refused_and_change_nothing(
    server: Server, path: str, model: dict[str, Any], status: int
) -> None:
    before = await save(server, "f", "x")
    answer = await server.fetch("POST", f"api/history/{path}", json=model)
    assert (answer.status, server.services.store.offset) == (status, before)
    assert len(answer.json()["message"]) > 10


# -- moments in the middle of a command ------------------------------------------------------


async def test_the_middle_of_a_command_is_its_end(server: Server) -> None:
    notebook: dict[str, Any] = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    made = await server.fetch("PUT", "api/contents/n.ipynb", json={"type": "notebook", "content": notebook})
    created = int(made.headers["Evstore-Offset"]) - 1  # EntryCreated; FileSaved follows
    then = await server.fetch("GET", f"api/contents/n.ipynb?at={created}")
    assert (then.status, then.json()["offset"]) == (200, created + 1)
    await server.fetch(
        "PUT", "api/contents/n.ipynb", json={"type": "notebook", "content": notebook | {"metadata": {"a": 1}}}
    )
    assert (await server.fetch("GET", f"api/history/diff/n.ipynb?from={created}")).json()["diff"]
    assert (await server.fetch("POST", f"api/contents/n.ipynb/checkpoints/{created}")).status == 204
    assert (await server.fetch("GET", "api/contents/n.ipynb")).json()["content"]["metadata"] == {}


async def test_a_restore_to_the_middle_of_a_restore_leaves_nothing_under_a_passing_name(
    server: Server,
) -> None:
    await mkdir(server, "d")
    await save(server, "d/a", "one")
    before = await save(server, "d/b", "two")
    await move(server, "d/a", "d/c")
    await move(server, "d/b", "d/a")
    await move(server, "d/c", "d/b")
    assert (await restore(server, "d", before)).status == 200  # by way of a passing name
    found = (await server.fetch("GET", f"api/history/log?after={before}&limit=1000")).json()
    # that name is hidden, so the API does not tell of it
    (passing,) = {*range(before + 1, found["head"] + 1)} - {event["offset"] for event in found["events"]}
    await save(server, "d/a", "later")
    assert (await restore(server, "d", passing)).status == 200
    assert await tree(server, "d") == {"d": None, "d/a": "one", "d/b": "two"}
    assert await tree(server, "d", at=passing) == {"d": None, "d/a": "one", "d/b": "two"}


# -- what is undeleted goes where it was -----------------------------------------------------


async def test_what_was_in_a_deleted_folder_is_not_put_where_the_folder_once_was(server: Server) -> None:
    await mkdir(server, "old")
    await save(server, "old/f", "text")
    entry = (await server.fetch("GET", "api/history/log?path=old/f")).json()["events"][0]["entry"]
    await move(server, "old", "new")
    await delete(server, "new")
    await mkdir(server, "old")  # another folder
    assert (await server.fetch("POST", "api/history/undelete", json={"entry": entry})).status == 404
    await mkdir(server, "new")
    back = await server.fetch("POST", "api/history/undelete", json={"entry": entry})
    assert (back.status, back.json()["path"]) == (200, "new/f")


async def test_what_was_in_two_deleted_folders_goes_to_its_last_path(server: Server) -> None:
    await mkdir(server, "a")
    await mkdir(server, "a/b")
    await save(server, "a/b/f", "text")
    entry = (await server.fetch("GET", "api/history/log?path=a/b/f")).json()["events"][0]["entry"]
    await move(server, "a", "c")
    await delete(server, "c/b")
    await move(server, "c", "d")
    await delete(server, "d")
    await mkdir(server, "c")
    await mkdir(server, "c/b")
    back = await server.fetch("POST", "api/history/undelete", json={"entry": entry})
    assert (back.status, back.json()["path"]) == (200, "c/b/f")


# -- numbers that are none -------------------------------------------------------------------

NOT_NUMBERS = ["--5", "9" * 5000, "-" + "9" * 5000, "²"]


@pytest.mark.parametrize("text", NOT_NUMBERS)
async def test_a_strange_number_is_the_fault_of_the_client(server: Server, text: str) -> None:
    await save(server, "f", "text")
    for path in (
        f"api/contents/f?at={text}",
        f"files/f?at={text}",
        f"api/history/diff/f?from={text}",
        f"api/history/versions/f?before={text}",
        f"api/history/log?after={text}",
        f"api/history/feed?after={text}",
    ):
        assert (await server.fetch("GET", path)).status == 400, path
    assert (await restore(server, "f", text)).status == 400
