"""The kernels API, with real kernels."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import Server
from tests.kernel_client import connected, eventually, kernel_model, start_kernel


async def test_no_kernels(server: Server) -> None:
    assert (await server.fetch("GET", "/api/kernels")).json() == []


async def test_start_look_and_delete(server: Server) -> None:
    reply = await server.fetch("POST", "/api/kernels")
    model = reply.json()
    assert reply.status == 201
    assert reply.headers["Location"] == f"/api/kernels/{model['id']}"
    assert set(model) == {"id", "name", "last_activity", "execution_state", "connections"}
    assert (model["name"], model["execution_state"], model["connections"]) == ("python3", "starting", 0)
    assert model["last_activity"].endswith("Z")
    assert [kernel["id"] for kernel in (await server.fetch("GET", "/api/kernels")).json()] == [model["id"]]

    async def is_idle() -> bool:
        return (await kernel_model(server, model["id"]))["execution_state"] == "idle"

    await eventually(is_idle)
    reply = await server.fetch("DELETE", f"/api/kernels/{model['id']}")
    assert (reply.status, reply.body) == (204, b"")
    assert (await server.fetch("GET", "/api/kernels")).json() == []
    assert not kernel_processes()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("POST", "/restart")]
)
async def test_an_unknown_kernel(server: Server, method: str, path: str) -> None:
    reply = await server.fetch(method, f"/api/kernels/111-111-111-111-111{path}")
    assert reply.status == 404
    assert reply.json()["message"] == "Kernel does not exist: 111-111-111-111-111"


async def test_a_kernel_that_starts_can_be_interrupted_restarted_and_deleted(server: Server) -> None:
    kernel = await start_kernel(server)
    assert (await server.fetch("POST", f"/api/kernels/{kernel}/interrupt")).status == 204
    reply = await server.fetch("POST", f"/api/kernels/{kernel}/restart")
    assert (reply.status, reply.json()["id"]) == (200, kernel)
    assert (await server.fetch("POST", f"/api/kernels/{kernel}/restart")).status == 200
    async with connected(server, kernel) as client:
        assert await client.run("print('up')") == "up\n"
    await server.fetch("POST", f"/api/kernels/{kernel}/restart")
    assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204
    assert not kernel_processes()


async def test_the_client_may_choose_the_id(server: Server) -> None:
    wanted = "11111111-2222-3333-4444-555555555555"
    assert await start_kernel(server, kernel_id=wanted) == wanted
    assert await start_kernel(server, kernel_id=wanted) == wanted  # the running one
    assert len((await server.fetch("GET", "/api/kernels")).json()) == 1


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"kernel_id": "../x"}, 400, "can't be a kernel's id"),
        ({"kernel_id": "x" * 101}, 400, "can't be a kernel's id"),
        ({"kernel_id": "a\nb"}, 400, "can't be a kernel's id"),
        ({"kernel_id": 5}, 400, "kernel_id"),
        ({"name": ["python3"]}, 400, "name"),
        ({"path": {}}, 400, "path"),
        ({"env": "KERNEL_X=1"}, 400, "The field 'env' must be an object"),
        ({"env": {"KERNEL_X": 1}}, 400, "KERNEL_X must be a string"),
        ({"env": {"KERNEL_X": "a\0b"}}, 400, "null characters"),
        ({"env": {"KERNEL_X": "x" * 100_000}}, 400, "larger than"),
        ({"name": "x" * 10_000}, 501, "not available"),
        ({"name": "ü/\n"}, 501, "not available"),
        ({"name": "a\0b"}, 501, "not available"),
        ({"kernel_id": "x" * 10_000}, 400, "can't be a kernel's id"),
        ({"kernel_id": "é"}, 400, "can't be a kernel's id"),
        ({"path": "x/" * 10_000}, 201, ""),
        ({"env": None}, 201, ""),
        ({"path": "../.."}, 404, "No such file or directory"),
        ({"path": "a\0b"}, 404, "No such file or directory"),
        ({"name": "cobol"}, 501, "The 'cobol' kernel is not available"),
        ({"name": "../../python3"}, 501, "not available"),
        ({"name": ""}, 201, ""),
        ({"name": None, "path": None, "unknown": 1}, 201, ""),
        ({"name": "PYTHON3"}, 201, ""),
        ({"name": "python"}, 201, ""),
    ],
)
async def test_start_with(server: Server, body: dict[str, Any], status: int, says: str) -> None:
    reply = await server.fetch("POST", "/api/kernels", json=body)
    assert reply.status == status
    if status == 201:
        assert reply.json()["name"] == "python3"
    else:
        assert says in reply.json()["message"]
        assert (await server.fetch("GET", "/api/kernels")).json() == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"\xff", b"null"])
async def test_a_body_that_is_no_object(server: Server, body: bytes) -> None:
    reply = await server.fetch("POST", "/api/kernels", data=body)
    assert reply.status == 400
    assert reply.json()["message"]


async def test_it_runs_where_it_is_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = server.services.config.folder.resolve()
    (root / "sub").mkdir()
    monkeypatch.chdir(tmp_path)  # where the server runs
    for path, folder in ((None, tmp_path), ("", root), ("/sub", root / "sub"), ("sub/gone", root / "sub")):
        kernel = await start_kernel(server, path=path)
        async with connected(server, kernel) as client:
            assert await client.run("import os; print(os.getcwd())") == f"{folder}\n"
            assert await client.run("print(os.environ.get('JPY_SESSION_NAME'))") == "None\n"
        await server.fetch("DELETE", f"/api/kernels/{kernel}")


async def test_a_kernel_gets_no_secrets_of_the_server(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVSTORE_TOKEN", "hidden-token")
    monkeypatch.setenv("EVSTORE_PASSWORD", "hidden-password")
    monkeypatch.setenv("SOMETHING", "else")
    async with connected(server, await start_kernel(server)) as client:
        printed = await client.run("import os; print(dict(os.environ))")
    assert "hidden" not in printed
    assert "'SOMETHING': 'else'" in printed


async def test_nobody_else_can_reach_a_kernel(server: Server) -> None:
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        look = "import ipykernel; print(ipykernel.get_connection_file())"
        file = Path((await client.run(look)).strip())
        assert_private(file)
    await server.fetch("DELETE", f"/api/kernels/{kernel}")
    assert names_in(file.parent) == []
    await server.services.kernels.close()
    assert names_in(file.parent) is None


def assert_private(connection_file: Path) -> None:
    """Everything of a kernel is in a folder of ours, and the kernel listens nowhere else."""
    assert json.loads(connection_file.read_bytes())["transport"] == "ipc"
    assert stat.S_IMODE(connection_file.stat().st_mode) == 0o600
    assert connection_file.parent.stat().st_mode & 0o077 == 0
    assert len([path for path in connection_file.parent.iterdir() if path.is_socket()]) == 5


async def test_over_tcp(server_over_tcp: Server) -> None:
    server = server_over_tcp
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        assert await client.run("print('by tcp')") == "by tcp\n"
        await server.fetch("POST", f"/api/kernels/{kernel}/restart")
        assert await client.run("print('again')") == "again\n"
        await client.execute("import os; os._exit(1)")
        await client.until(lambda one: one.state == "idle" and not one.parent)
        assert await client.run("print('and again')") == "and again\n"


@pytest.fixture
async def server_over_tcp(start_server: Any) -> Server:
    return await start_server(kernel_transport="tcp")


def names_in(folder: Path) -> list[str] | None:
    """What is in the folder, None if it does not exist."""
    return os.listdir(folder) if folder.exists() else None


def kernel_processes() -> list[psutil.Process]:
    """The running kernels that this process has started."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and "ipykernel_launcher" in process.cmdline()
    ]
