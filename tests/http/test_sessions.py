"""The sessions API, with real kernels."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.helpers import Reply, Server, StartServer
from tests.kernel_client import connected, start_kernel

NOTEBOOK = {"path": "sub/nb.ipynb", "type": "notebook", "name": "nb.ipynb", "kernel": {"name": "python3"}}


async def open_session(server: Server, **changes: Any) -> dict[str, Any]:
    reply = await server.fetch("POST", "/api/sessions", json=NOTEBOOK | changes)
    assert reply.status == 201, reply.text
    return reply.json()


async def patch(server: Server, session: dict[str, Any], **body: Any) -> Reply:
    return await server.fetch("PATCH", f"/api/sessions/{session['id']}", json=body)


async def kernel_ids(server: Server) -> list[str]:
    return [kernel["id"] for kernel in (await server.fetch("GET", "/api/kernels")).json()]


async def sessions(server: Server) -> list[dict[str, Any]]:
    return (await server.fetch("GET", "/api/sessions")).json()


async def test_open_look_and_delete(server: Server) -> None:
    assert await sessions(server) == []
    reply = await server.fetch("POST", "/api/sessions", json=NOTEBOOK)
    session = reply.json()
    assert (reply.status, reply.headers["Location"]) == (201, f"/api/sessions/{session['id']}")
    kernel = session.pop("kernel")
    assert session == {
        "id": session["id"],
        "path": "sub/nb.ipynb",
        "name": "nb.ipynb",
        "type": "notebook",
        "notebook": {"path": "sub/nb.ipynb", "name": "nb.ipynb"},
    }
    assert (await kernel_ids(server)) == [kernel["id"]]
    assert [one["id"] for one in await sessions(server)] == [session["id"]]
    got = (await server.fetch("GET", f"/api/sessions/{session['id']}")).json()
    assert got["kernel"]["id"] == kernel["id"]
    reply = await server.fetch("DELETE", f"/api/sessions/{session['id']}")
    assert (reply.status, reply.body) == (204, b"")
    assert await kernel_ids(server) == []
    assert await sessions(server) == []
    for method in ("GET", "DELETE", "PATCH"):
        reply = await server.fetch(method, f"/api/sessions/{session['id']}", json={})
        assert (reply.status, reply.json()["message"]) == (404, f"Session not found: {session['id']}")


async def test_a_path_has_one_session(server: Server) -> None:
    first = await open_session(server)
    again = await open_session(server, name="other", kernel={"name": "cobol"})
    assert again["id"] == first["id"]
    assert len(await kernel_ids(server)) == 1


async def test_two_requests_at_once_start_one_kernel(server: Server) -> None:
    one, other = await asyncio.gather(open_session(server), open_session(server))
    assert one["id"] == other["id"]
    assert await kernel_ids(server) == [one["kernel"]["id"]]


async def test_consoles_and_files_have_no_notebook_key(server: Server) -> None:
    for kind in ("console", "file"):
        session = await open_session(server, type=kind, path=f"abc-{kind}")
        assert session["type"] == kind
        assert "notebook" not in session


@pytest.mark.parametrize(
    ("notebook", "path"),
    [
        ({"path": "a.ipynb"}, "a.ipynb"),  # IPython 3, and jupyter_server still
        ({"path": "sub/a.ipynb"}, "sub/a.ipynb"),
        ({"name": "a.ipynb", "path": ""}, "a.ipynb"),  # IPython 2
        ({"name": "a.ipynb", "path": "sub"}, "sub/a.ipynb"),
        ({"name": "a.ipynb", "path": "/sub/deep/"}, "sub/deep/a.ipynb"),
        ({"name": "a.ipynb"}, "a.ipynb"),
        ({"name": "a.ipynb", "path": "sub/a.ipynb"}, "sub/a.ipynb"),  # both, in the newer meaning
    ],
)
async def test_the_bodies_of_old_clients(server: Server, notebook: dict[str, str], path: str) -> None:
    body = {"notebook": notebook, "kernel": {"name": "python", "id": "foo"}}
    reply = await server.fetch("POST", "/api/sessions", json=body)
    session = reply.json()
    assert (reply.status, session["type"], session["path"]) == (201, "notebook", path)
    assert session["notebook"] == {"path": path, "name": "a.ipynb"}
    assert (session["kernel"]["id"], session["kernel"]["name"]) == ("foo", "python3")
    again = (await server.fetch("POST", "/api/sessions", json=body)).json()
    assert again["id"] == session["id"]


@pytest.mark.parametrize(
    ("notebook", "path"),
    [
        ({"path": "new.ipynb"}, "new.ipynb"),
        ({"path": "other/new.ipynb"}, "other/new.ipynb"),
        ({"name": "new.ipynb", "path": "other"}, "other/new.ipynb"),
        ({"name": "new.ipynb", "path": ""}, "new.ipynb"),
        ({"name": "new.ipynb"}, "sub/new.ipynb"),  # in the same folder
        ({"name": None, "path": None}, "sub/nb.ipynb"),
        ({}, "sub/nb.ipynb"),
    ],
)
async def test_renames_by_old_clients(server: Server, notebook: dict[str, str | None], path: str) -> None:
    session = await open_session(server)
    reply = await patch(server, session, notebook=notebook)
    changed = reply.json()
    assert (reply.status, changed["id"], changed["path"]) == (200, session["id"], path)
    assert changed["notebook"] == {"path": path, "name": path.rpartition("/")[2]}
    assert changed["kernel"]["id"] == session["kernel"]["id"]


async def test_a_running_kernel_can_be_used(server: Server) -> None:
    kernel = await start_kernel(server)
    session = await open_session(server, kernel={"id": kernel})
    assert session["kernel"]["id"] == kernel
    assert await kernel_ids(server) == [kernel]


async def test_a_new_kernel_can_be_given_an_id(server: Server) -> None:
    wanted = "12345678-1234-5678-1234-567812345678"
    assert (await open_session(server, kernel={"id": wanted}))["kernel"]["id"] == wanted


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "Missing field in JSON data: path"),
        ({"path": "x"}, 400, "Missing field in JSON data: type"),
        ({"path": 5, "type": "notebook"}, 400, "The field 'path' must be a string, not 5."),
        ({"path": "x", "type": []}, 400, "The field 'type' must be a string, not []."),
        ({"path": "x", "type": "n", "kernel": "python3"}, 400, "The field 'kernel' must be an object"),
        ({"path": "x", "type": "n", "kernel": {"name": 1}}, 400, "The field 'name' must be a string"),
        ({"path": "x", "type": "n", "kernel": {"id": "a/b"}}, 400, "'a/b' can't be a kernel's id"),
        ({"notebook": "x"}, 400, "The field 'notebook' must be an object"),
        ({"path": None, "type": "notebook"}, 400, "Missing field in JSON data: path"),
        ({"path": "x", "type": "n", "env": []}, 400, "The field 'env' must be an object"),
        ({"path": "x", "type": "n", "env": {"KERNEL_X": 1}}, 400, "The variable KERNEL_X must be a string"),
        ({"path": "x", "type": "n", "name": ["x"]}, 400, "The field 'name' must be a string"),
        ({"path": "x", "type": "n", "name": "a\0b"}, 400, "That can't be the name of a session"),
        ({"path": "x", "type": "n", "name": "x" * 10_000}, 400, "That can't be the name of a session"),
        ({"path": "x" * 10_000, "type": "n"}, 400, "The path is longer than"),
        ({"path": "x", "type": "n", "kernel": {"id": "x" * 10_000}}, 400, "'xxx"),
        ({"path": "x", "type": "n", "kernel": {"name": "x" * 10_000}}, 501, "The 'xxx"),
        ({"path": "../x", "type": "notebook"}, 404, "No such file or directory"),
        ({"path": "a\0b", "type": "notebook"}, 404, "No such file or directory"),
        ({"notebook": {"name": "x", "path": ".."}}, 404, "No such file or directory"),
    ],
)
async def test_a_body_that_says_too_little(
    server: Server, body: dict[str, Any], status: int, message: str
) -> None:
    reply = await server.fetch("POST", "/api/sessions", json=body)
    assert reply.status == status
    assert reply.json()["message"].startswith(message)
    assert await sessions(server) == await kernel_ids(server) == []


async def test_no_body(server: Server) -> None:
    assert (await server.fetch("POST", "/api/sessions")).status == 400


async def test_a_kernel_that_is_not_installed(server: Server) -> None:
    reply = await server.fetch("POST", "/api/sessions", json=NOTEBOOK | {"kernel": {"name": "cobol"}})
    assert reply.status == 501
    assert reply.json() == {
        "message": "The 'cobol' kernel is not available. Please pick another suitable kernel instead, "
        "or install that kernel.",
        "short_message": "cobol not found",
    }
    assert await sessions(server) == []


async def test_rename_and_other_kinds(server: Server) -> None:
    session = await open_session(server)
    assert (await patch(server, session, path="b.ipynb")).json()["path"] == "b.ipynb"
    assert (await patch(server, session, name="B")).json()["name"] == "B"
    changed = (await patch(server, session, type="console")).json()
    assert (changed["path"], changed["name"], changed["type"]) == ("b.ipynb", "B", "console")
    assert changed["kernel"]["id"] == session["kernel"]["id"]
    assert (await patch(server, session)).json()["path"] == "b.ipynb"


async def test_another_kernel_by_name(server: Server) -> None:
    session = await open_session(server)
    reply = await patch(server, session, kernel={"name": "python3"})
    kernel = reply.json()["kernel"]
    assert (reply.status, reply.json()["id"]) == (200, session["id"])
    assert kernel["id"] != session["kernel"]["id"]
    assert await kernel_ids(server) == [kernel["id"]]  # the old one is gone


async def test_another_kernel_by_id(server: Server) -> None:
    session = await open_session(server)
    kernel = await start_kernel(server)
    reply = await patch(server, session, kernel={"id": kernel, "name": "an id is stronger"})
    assert reply.json()["kernel"]["id"] == kernel
    assert await kernel_ids(server) == [kernel]


async def test_the_same_kernel_stays(server: Server) -> None:
    session = await open_session(server)
    reply = await patch(server, session, kernel={"id": session["kernel"]["id"]})
    assert reply.json()["kernel"]["id"] == session["kernel"]["id"]
    assert await kernel_ids(server) == [session["kernel"]["id"]]


async def test_a_kernel_that_another_session_uses_is_left_to_it(server: Server) -> None:
    notebook = await open_session(server)
    console = await open_session(
        server, path="console", type="console", kernel={"id": notebook["kernel"]["id"]}
    )
    kernel = (await patch(server, notebook, kernel={"name": "python3"})).json()["kernel"]["id"]
    assert sorted(await kernel_ids(server)) == sorted([kernel, console["kernel"]["id"]])


@pytest.mark.parametrize(
    ("kernel", "status", "message"),
    [
        ({"id": "gone"}, 400, "No such kernel: gone"),
        ({"name": "cobol"}, 501, "The 'cobol' kernel is not available"),
    ],
)
async def test_no_such_other_kernel(
    server: Server, kernel: dict[str, str], status: int, message: str
) -> None:
    session = await open_session(server)
    reply = await patch(server, session, kernel=kernel, path="changed.ipynb")
    assert reply.status == status
    assert reply.json()["message"].startswith(message)
    assert [one["path"] for one in await sessions(server)] == ["sub/nb.ipynb"]  # nothing has changed
    assert await kernel_ids(server) == [session["kernel"]["id"]]


async def test_a_session_ends_with_its_kernel(server: Server) -> None:
    session = await open_session(server)
    await server.fetch("DELETE", f"/api/kernels/{session['kernel']['id']}")
    assert await sessions(server) == []
    again = await open_session(server)
    assert again["id"] != session["id"]


async def test_the_kernel_runs_beside_the_notebook_and_knows_its_name(server: Server) -> None:
    folder = server.services.config.folder.resolve() / "sub"
    folder.mkdir()
    session = await open_session(server)
    look = "import os; print(os.getcwd(), os.environ['JPY_SESSION_NAME'])"
    async with connected(server, session["kernel"]["id"]) as client:
        assert await client.run(look) == f"{folder} {folder}/nb.ipynb\n"
        await patch(server, session, path="sub/new name.ipynb", name="new name.ipynb")
        await server.fetch("POST", f"/api/kernels/{session['kernel']['id']}/restart")
        assert await client.run(look) == f"{folder} {folder}/new name.ipynb\n"
        folder.rename(folder.with_name("moved"))
        await server.services.sessions.entry_moved("sub", "moved")
        await server.fetch("POST", f"/api/kernels/{session['kernel']['id']}/restart")
        moved = folder.with_name("moved")
        assert await client.run(look) == f"{moved} {moved}/new name.ipynb\n"


@pytest.mark.parametrize(
    ("old", "new", "path", "name"),
    [
        ("sub/nb.ipynb", "sub/b.ipynb", "sub/b.ipynb", "b.ipynb"),
        ("sub", "a/b", "a/b/nb.ipynb", "nb.ipynb"),
        ("sub/nb", "x", "sub/nb.ipynb", "nb.ipynb"),
        ("su", "x", "sub/nb.ipynb", "nb.ipynb"),
        ("other", "sub/nb.ipynb", "sub/nb.ipynb", "nb.ipynb"),
    ],
)
async def test_a_moved_file_takes_its_session_along(
    server: Server, old: str, new: str, path: str, name: str
) -> None:
    session = await open_session(server)
    await server.services.sessions.entry_moved(old, new)
    [moved] = await sessions(server)
    assert (moved["id"], moved["path"], moved["name"]) == (session["id"], path, name)
    assert (await open_session(server, path=path))["id"] == session["id"]


async def test_a_name_of_its_own_stays(server: Server) -> None:
    await open_session(server, name="My notebook")
    await server.services.sessions.entry_moved("sub/nb.ipynb", "b.ipynb")
    [moved] = await sessions(server)
    assert (moved["path"], moved["name"]) == ("b.ipynb", "My notebook")


@pytest.mark.parametrize("path", ["../x", "a\0b", "x" * 10_000])
async def test_a_path_that_can_not_be_changes_nothing(server: Server, path: str) -> None:
    session = await open_session(server)
    reply = await patch(server, session, path=path, name="changed", kernel={"name": "python3"})
    assert reply.status in (400, 404)
    assert [(one["path"], one["name"]) for one in await sessions(server)] == [("sub/nb.ipynb", "nb.ipynb")]
    assert await kernel_ids(server) == [session["kernel"]["id"]]


async def test_a_session_may_have_no_path_and_no_name(server: Server) -> None:
    session = await open_session(server, path="", name=None)
    assert (session["path"], session["name"]) == ("", "")
    assert (await open_session(server, path=""))["id"] == session["id"]


async def test_the_kernels_model_is_the_same_everywhere(server: Server) -> None:
    session = await open_session(server)
    changed = (await patch(server, session, kernel={"name": "python3"})).json()
    [kernel] = (await server.fetch("GET", "/api/kernels")).json()
    again = (await server.fetch("GET", f"/api/sessions/{session['id']}")).json()
    for model in (changed["kernel"], kernel, again["kernel"]):
        assert set(model) == {"id", "name", "last_activity", "execution_state", "connections"}
        assert (model["id"], model["name"], model["connections"]) == (kernel["id"], "python3", 0)
    assert (await server.fetch("GET", f"/api/kernels/{session['kernel']['id']}")).status == 404


async def test_a_path_that_jupyterlab_has_made_up(server: Server) -> None:
    """It gives the right one when the kernel runs; the name is right from the start."""
    (server.services.config.folder / "sub").mkdir()
    session = await open_session(server, path="sub/5f0c-made-up", name="nb.ipynb")
    await patch(server, session, path="sub/nb.ipynb")
    told = f"{server.services.config.folder.resolve()}/sub/nb.ipynb\n"
    async with connected(server, session["kernel"]["id"]) as client:
        look = "import os; print(os.environ['JPY_SESSION_NAME'])"
        assert await client.run(look) == told
        await server.fetch("POST", f"/api/kernels/{session['kernel']['id']}/restart")
        assert await client.run(look) == told
        await patch(server, session, kernel={"name": "python3"})
    [now] = await sessions(server)
    async with connected(server, now["kernel"]["id"]) as client:
        assert await client.run(look) == told


async def test_variables_of_a_sessions_kernel(start_server: StartServer) -> None:
    server = await start_server(kernel_env=("HTTP_PROXY",))
    env = {"KERNEL_USERNAME": "ann", "HTTP_PROXY": "http://proxy", "PATH": "/evil", "JPY_SESSION_NAME": "x"}
    session = await open_session(server, env=env)
    look = "print([os.environ.get(name) for name in ('KERNEL_USERNAME', 'HTTP_PROXY', 'JPY_SESSION_NAME')])"
    folder = server.services.config.folder.resolve()
    async with connected(server, session["kernel"]["id"]) as client:
        told = f"['ann', 'http://proxy', '{folder}/nb.ipynb']\n"
        assert await client.run(f"import os; {look}") == told
        assert "evil" not in await client.run("print(os.environ['PATH'])")
        await server.fetch("POST", f"/api/kernels/{session['kernel']['id']}/restart")
        assert await client.run(f"import os; {look}") == told
