"""Clusters of IPython engines: real ones, started by this server, and by others."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipyparallel
import psutil
import pytest

from evstore.processes.clusters import manager
from tests.helpers import Reply, Server, make_services, run_test_server

PATIENCE = 60.0  # seconds
START = "/api/clusters/default/start"
STOP = "/api/clusters/default/stop"


@pytest.fixture(autouse=True)
def ipython(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's IPython folder. Nothing that was started with it may go on after the test."""
    folder = tmp_path / "ipython"
    monkeypatch.setenv("IPYTHONDIR", str(folder))
    yield folder
    left = processes(folder)
    for process in left:
        process.kill()
    assert left == []


def processes(ipython: Path) -> list[psutil.Process]:
    """What runs with this IPython folder, but for this process."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("IPYTHONDIR") == str(ipython) and process.pid != os.getpid()
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # it has ended, or is somebody else's
            continue
    return found


def model(ipython: Path, name: str, n: int | None = None) -> dict[str, Any]:
    stopped = {"profile": name, "profile_dir": str(ipython / f"profile_{name}"), "status": "stopped"}
    return stopped if n is None else stopped | {"status": "running", "n": n}


def made(ipython: Path) -> list[Path]:
    """The profiles that there are."""
    return list(ipython.glob("profile_*"))


async def ask(engines: int, task: Callable[[], Any], **options: Any) -> list[Any]:
    """What a client of the cluster gets from its engines."""

    def work() -> list[Any]:
        with ipyparallel.Client(**options) as client:
            client.wait_for_engines(engines, timeout=PATIENCE)
            return client[:].apply_sync(task)

    return await asyncio.to_thread(work)


def who_and_where() -> tuple[int, str, str]:
    import os

    return os.getpid(), os.getcwd(), os.environ.get("EVSTORE_TOKEN", "")


# -- by profile --------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["/api/clusters", "/clusters"])
async def test_profiles(server: Server, ipython: Path, base: str):
    assert (await server.fetch("GET", base)).json() == [model(ipython, "default")]
    for name in ("zeta", "alpha", "mpi.2"):
        (ipython / f"profile_{name}").mkdir(parents=True)
    expected = [model(ipython, name) for name in ("default", "alpha", "mpi.2", "zeta")]
    assert (await server.fetch("GET", base)).json() == expected
    assert (await server.fetch("GET", f"{base}/alpha")).json() == expected[1]


async def test_start_run_stop(server: Server, ipython: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EVSTORE_TOKEN", "secret")
    started = await server.fetch("POST", f"{START}?n=2")
    assert (started.status, started.json()) == (200, model(ipython, "default", 2))
    assert (await server.fetch("GET", "/clusters/default")).json() == model(ipython, "default", 2)
    again = await server.fetch("POST", START)
    assert (again.status, again.json()["message"]) == (409, "cluster already running")
    answers = await ask(2, who_and_where, profile="default")
    assert len({pid for pid, _, _ in answers}) == 2
    assert {place for _, place, _ in answers} == {str(server.services.config.folder)}
    assert {secret for _, _, secret in answers} == {""}
    stopped = await server.fetch("POST", STOP)
    assert (stopped.status, stopped.json()) == (200, model(ipython, "default"))
    assert processes(ipython) == []
    again = await server.fetch("POST", STOP)
    assert (again.status, again.json()["message"]) == (409, "cluster not running")


@pytest.mark.parametrize("sent", [{"data": {"n": "1"}}, {"json": {"n": 1}}, {"json": {"n": "1"}}])
async def test_n_in_a_form_and_in_json(server: Server, ipython: Path, sent: dict[str, Any]):
    reply = await server.fetch("POST", "/clusters/default/start", **sent)
    assert reply.json() == model(ipython, "default", 1)
    assert (await server.fetch("POST", "/clusters/default/stop")).status == 200


@pytest.mark.parametrize("n", ["0", "-1", "x", "1.5", "1e3", "１", "65", "9" * 5000, " 1", "None"])
async def test_bad_numbers(server: Server, ipython: Path, n: str):
    for reply in (
        await server.fetch("POST", START, data={"n": n}),
        await server.fetch("POST", START, json={"n": n}),
    ):
        assert reply.status == 400
        assert "from 1 to 64" in reply.json()["message"]
        assert len(reply.json()["message"]) < 150
    assert processes(ipython) == []


@pytest.mark.parametrize("n", [0, -1, 1.5, True, [], {}, [1], 10**30])
async def test_bad_numbers_in_json(server: Server, ipython: Path, n: Any):
    assert (await server.fetch("POST", START, data=json.dumps({"n": n}))).status == 400
    assert processes(ipython) == []


@pytest.mark.parametrize("body", [b"[]", b"{", b"7", b'"x"', b"\xff"])
async def test_bad_bodies(server: Server, body: bytes):
    assert (await server.fetch("POST", START, data=body)).status == 400


@pytest.mark.parametrize("name", ["other", "..", "%2E%2E%2Fetc", "a%00b", "%2F", "x" * 5000])
async def test_an_unknown_profile(server: Server, ipython: Path, name: str):
    for method, path in (("GET", ""), ("POST", "/start?n=1"), ("POST", "/stop")):
        assert (await server.fetch(method, f"/api/clusters/{name}{path}")).status in (404, 405)
    assert made(ipython) == []


async def test_an_unknown_action(server: Server):
    assert (await server.fetch("POST", "/api/clusters/default/restart")).status == 404


async def test_one_that_can_not_be_started(server: Server, ipython: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    profile = ipython / "profile_broken"
    profile.mkdir(parents=True)
    (profile / "ipcluster_config.py").write_text('c.ControllerLauncher.controller_cmd = ["false"]\n')
    reply = await server.fetch("POST", "/api/clusters/broken/start?n=1")
    assert reply.status == 501
    assert reply.json()["message"].startswith("The cluster could not be started")
    assert (await server.fetch("GET", "/api/clusters/broken")).json() == model(ipython, "broken")
    assert processes(ipython) == []
    assert caplog.records == []


async def test_a_controller_that_was_killed_is_forgotten(server: Server, ipython: Path):
    """It leaves its files behind, which must not lead engines and clients to where it was."""
    await server.fetch("POST", f"{START}?n=1")
    for process in processes(ipython):
        process.kill()
    async with asyncio.timeout(PATIENCE):
        while (await server.fetch("GET", "/api/clusters/default")).json() != model(ipython, "default"):
            await asyncio.sleep(0.1)
    assert (await server.fetch("POST", f"{START}?n=1")).status == 200
    assert len(await ask(1, who_and_where, profile="default")) == 1


async def test_without_ipyparallel(server: Server):
    server.services.clusters.installed = False
    assert (await server.fetch("GET", "/api/clusters")).json() == []
    assert (await server.fetch("GET", "/api/clusters/default")).status == 404
    for path in (START, STOP, "/clusters/default/start", "/ipyparallel/clusters"):
        reply = await server.fetch("POST", path)
        assert reply.status == 501
        assert "pip install 'evstore[clusters]'" in reply.json()["message"]


# -- what goes on at once ----------------------------------------------------------------


async def test_two_starts_at_once(server: Server, ipython: Path):
    replies = await asyncio.gather(*(server.fetch("POST", f"{START}?n=1") for _ in range(2)))
    assert sorted(reply.status for reply in replies) == [200, 409]
    assert (await server.fetch("GET", "/api/clusters/default")).json()["n"] == 1


@pytest.mark.parametrize("wait", [0.3, 3.0])
async def test_the_server_stops(tmp_path: Path, ipython: Path, wait: float):
    """Also in the middle of a start."""
    async with make_services(tmp_path) as services, run_test_server(services) as server:
        starting = asyncio.create_task(server.fetch("POST", f"{START}?n=2"))
        async with asyncio.timeout(PATIENCE):
            while not processes(ipython):
                await asyncio.sleep(0.05)
        await asyncio.sleep(wait)
        await services.clusters.close()
        assert processes(ipython) == []
        assert (await starting).status == (503 if wait < 1 else 200)
        assert (await server.fetch("GET", "/api/clusters")).status == 503


async def test_one_that_somebody_else_has_started(tmp_path: Path, ipython: Path):
    """It is there for clients, and goes on when the server stops; it can be stopped."""
    (ipython / "profile_default").mkdir(parents=True)
    other = ipyparallel.Cluster(profile="default", cluster_id="", n=1)
    await asyncio.to_thread(other.start_cluster_sync)
    try:
        async with make_services(tmp_path) as services, run_test_server(services) as server:
            assert (await server.fetch("GET", "/api/clusters/default")).json() == model(ipython, "default", 1)
            assert (await server.fetch("POST", START)).status == 409
        assert processes(ipython) != []
        async with make_services(tmp_path) as services, run_test_server(services) as server:
            assert (await server.fetch("POST", STOP)).json() == model(ipython, "default")
            assert processes(ipython) == []
    finally:
        await asyncio.to_thread(other.stop_cluster_sync)


# -- ipyparallel's own API ---------------------------------------------------------------

OWN = "/ipyparallel/clusters"


async def test_as_its_extension_of_jupyterlab_asks(server: Server, ipython: Path):
    (listed,) = (await server.fetch("GET", OWN)).json()
    assert listed["id"] == "default:"
    assert listed["cluster"]["profile"] == "default"
    assert listed["engines"]["n"] == 0
    assert "controller" not in listed
    created = (
        await server.fetch("POST", OWN, json={"profile": "default", "cluster_id": "my", "n": 1})
    ).json()
    assert (created["id"], created["cluster"]["n"]) == ("default:my", 1)
    started = (await server.fetch("POST", f"{OWN}/default:my")).json()
    assert started["controller"]["state"]["state"] == "running"
    assert started["engines"]["n"] == 1
    assert "key" not in str(started)
    first, second = (await server.fetch("GET", OWN)).json()
    assert (first, second["id"]) == (started, "default:")
    assert (await server.fetch("GET", f"{OWN}/default:my")).json() == started
    answers = await ask(1, who_and_where, profile="default", cluster_id="my")
    assert answers[0][1] == str(server.services.config.folder)
    deleted = await server.fetch("DELETE", f"{OWN}/default:my")
    assert (deleted.status, deleted.body) == (204, b"")
    assert processes(ipython) == []
    assert [each["id"] for each in (await server.fetch("GET", OWN)).json()] == ["default:"]


async def test_new_ones(server: Server, ipython: Path):
    async def create(**body: Any) -> Reply:
        return await server.fetch("POST", OWN, json=body)

    assert (await create(profile="fresh", cluster_id=None, n=None)).json()["id"] == "fresh:"
    assert (ipython / "profile_fresh").is_dir()
    another = (await create(profile="fresh", cluster_id="", n="")).json()["id"]
    assert another.startswith("fresh:") and another != "fresh:"
    assert (await create(profile="fresh", cluster_id="a")).status == 200
    assert (await create(profile="fresh", cluster_id="a")).status == 409


@pytest.mark.parametrize(
    "body",
    [
        *(
            {"profile": name}
            for name in ("a/b", "/tmp/x", "..", ".hidden", "a\x00", "x" * 101, 5, [], {"a": 1})
        ),
        *({"cluster_id": name} for name in ("a/b", "..", "a b", "x" * 101, 5)),
        *({"n": n} for n in (0, "x", [])),
        [],
    ],
)
async def test_bad_new_ones(server: Server, ipython: Path, body: Any):
    assert (await server.fetch("POST", OWN, json=body)).status == 400
    assert made(ipython) == []


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_one_that_is_not_there(server: Server, method: str):
    assert (await server.fetch(method, f"{OWN}/other:")).status == 404


async def test_a_stop_that_takes_too_long(
    tmp_path: Path, ipython: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The thread of ipyparallel may hang; the server stops all the same, and its clusters with it."""
    monkeypatch.setattr(manager, "STOP", 0.5)
    profile = ipython / "profile_default"
    profile.mkdir(parents=True)
    stubborn = "['sh', '-c', 'trap \"\" TERM; while :; do sleep 0.1; done']"
    (profile / "ipcluster_config.py").write_text(f"c.EngineLauncher.engine_cmd = {stubborn}\n")
    async with make_services(tmp_path) as services, run_test_server(services) as server:
        assert (await server.fetch("POST", f"{START}?n=1")).status == 200
        await services.clusters.close()
        assert processes(ipython) == []
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "Clusters did not stop in 0 seconds and are killed"
    ]
