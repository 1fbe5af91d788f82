"""Kernels that something else than a plain process provides: provisioners, as kernelspecs name them.

jupyter_client finds provisioners by entry points, so the test installs a distribution that has some.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from evstore.processes.kernels import kernel as life
from tests.helpers import Server, StartServer
from tests.kernel_client import connected, eventually, start_kernel

ENTRY_POINTS = """[jupyter_client.kernel_provisioners]
test-remote = evstore_test_provisioners:Remote
test-refusing = evstore_test_provisioners:Refusing
test-hanging = evstore_test_provisioners:Hanging
test-slow = evstore_test_provisioners:Slow
test-blind = evstore_test_provisioners:Blind
"""
MODULE = '''
import asyncio
import pathlib

from jupyter_client.provisioning import LocalProvisioner
from traitlets import Unicode


class Remote(LocalProvisioner):
    """Runs kernels through a program of its own, keeps a diary, and listens on TCP whatever it is asked."""

    place = Unicode(config=True)

    def note(self, what):
        with pathlib.Path(self.place).open("a") as diary:
            diary.write(what + "\\n")

    async def pre_launch(self, **kwargs):
        self.parent.transport, self.parent.ip = "tcp", "127.0.0.1"
        kwargs = await super().pre_launch(**kwargs)
        kwargs["env"]["PROVISIONED"] = self.kernel_id
        kwargs["cmd"] = ["/usr/bin/env", "BY=me", *kwargs["cmd"]]
        self.note("launch")
        return kwargs

    async def send_signal(self, signum):
        self.note(f"signal {int(signum)}")
        await super().send_signal(signum)

    async def shutdown_requested(self, restart=False):
        self.note(f"shutdown, restart={restart}")
        await super().shutdown_requested(restart)

    async def cleanup(self, restart=False):
        self.note(f"cleanup, restart={restart}")
        await super().cleanup(restart)


class Refusing(LocalProvisioner):
    async def launch_kernel(self, cmd, **kwargs):
        raise RuntimeError("there is no room in the cluster")


class Hanging(LocalProvisioner):
    async def launch_kernel(self, cmd, **kwargs):
        await asyncio.Event().wait()


class Slow(LocalProvisioner):
    """Waits for a file at `go`."""

    go = Unicode(config=True)

    async def launch_kernel(self, cmd, **kwargs):
        while not pathlib.Path(self.go).exists():
            await asyncio.sleep(0.01)
        return await super().launch_kernel(cmd, **kwargs)


class Blind(LocalProvisioner):
    """Can't say how its process does while there is a file at `fog`."""

    fog = Unicode(config=True)

    async def poll(self):
        if pathlib.Path(self.fog).exists():
            with pathlib.Path(self.fog).open("a") as asked:
                asked.write("x")
            raise RuntimeError("the cluster does not answer")
        return await super().poll()
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Install a kernelspec with this provisioner; returns its name."""
    packages = tmp_path / "packages"
    about = packages / "evstore_test_provisioners-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: evstore-test-provisioners\nVersion: 1\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    (packages / "evstore_test_provisioners.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))

    def install(provisioner: str, **config: Any) -> str:
        folder = tmp_path / "data" / "kernels" / provisioner
        folder.mkdir(parents=True)
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": provisioner,
            "language": "python",
            "metadata": {"kernel_provisioner": {"provisioner_name": provisioner, "config": config}},
        }
        (folder / "kernel.json").write_text(json.dumps(spec))
        return provisioner

    return install


async def test_its_whole_life(server: Server, install: Callable[..., str], tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    kernel = await start_kernel(server, name=install("test-remote", place=str(diary)))
    look = "import os; print(os.environ['PROVISIONED'], os.environ['BY'])"
    async with connected(server, kernel) as client:
        assert await client.run(look) == f"{kernel} me\n"
        request = await client.execute("import time; print('going'); time.sleep(1000)")
        await client.until(lambda message: "going" in message.text)
        await server.fetch("POST", f"/api/kernels/{kernel}/interrupt")
        await client.done(request)
        assert (await server.fetch("POST", f"/api/kernels/{kernel}/restart")).status == 200
        assert await client.run(look) == f"{kernel} me\n"
        await client.execute("os._exit(3)")
        await client.until(lambda message: message.state == "restarting")
        assert await client.run(look) == f"{kernel} me\n"
    assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204
    told = diary.read_text().splitlines()
    assert [line for line in told if line == "launch"] == ["launch"] * 3
    assert "signal 2" in told
    assert "shutdown, restart=True" in told
    assert told[-1] == "cleanup, restart=False"
    assert kernel_processes() == []


async def test_one_that_refuses(server: Server, install: Callable[..., str]) -> None:
    reply = await server.fetch("POST", "/api/kernels", json={"name": install("test-refusing")})
    assert reply.status == 501
    assert reply.json() == {
        "message": "The 'test-refusing' kernel could not be started: there is no room in the cluster",
        "short_message": "Error starting kernel test-refusing",
    }
    assert (await server.fetch("GET", "/api/kernels")).json() == []


async def test_one_that_takes_its_time(server: Server, install: Callable[..., str]) -> None:
    """Nobody waits for it but who wants it, and it can be given up."""
    name = install("test-hanging")
    body = {"path": "slow.ipynb", "type": "notebook", "kernel": {"name": name, "id": "slow"}}
    opening = asyncio.create_task(server.fetch("POST", "/api/sessions", json=body))
    while server.services.kernels.find("slow") is None:
        await asyncio.sleep(0.01)
    other = {"path": "quick.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    reply = await server.fetch("POST", "/api/sessions", json=other)
    assert reply.status == 201
    assert (
        await server.fetch("PATCH", f"/api/sessions/{reply.json()['id']}", json={"name": "x"})
    ).status == 200
    assert (await server.fetch("DELETE", "/api/kernels/slow")).status == 204
    reply = await opening
    assert reply.status == 501
    assert reply.json()["message"] == "The kernel was shut down while it was starting."
    assert [one["path"] for one in (await server.fetch("GET", "/api/sessions")).json()] == ["quick.ipynb"]


class Fog:
    """A file; while it is there, kernels can't be seen. It is written to each time that somebody looks."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def rise(self) -> None:
        Path(self.path).touch()

    def clear(self) -> None:
        Path(self.path).unlink()

    @property
    def looks(self) -> int:
        return Path(self.path).stat().st_size

    async def looked_into(self, times: int) -> None:
        async with asyncio.timeout(60):
            while self.looks < times:
                await asyncio.sleep(0.02)


@pytest.fixture
def fog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fog:
    monkeypatch.setattr(life, "POLL", 0.02)
    return Fog(tmp_path / "fog")


async def test_one_that_can_not_be_asked_for_a_while(
    server: Server,
    install: Callable[..., str],
    fog: Fog,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(life, "MAX_UNSEEN", 100_000)
    kernel = await start_kernel(server, name=install("test-blind", fog=fog.path))
    async with connected(server, kernel) as client:
        assert await client.run("print(1)") == "1\n"
        for _ in range(3):
            fog.rise()
            await fog.looked_into(5)
            assert await client.run("print(2)") == "2\n"
            fog.clear()
            await asyncio.sleep(5 * life.POLL)
        (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert said == f"Kernel {kernel} (test-blind) can't be watched: the cluster does not answer"
        await client.execute("import os; os._exit(3)")
        await client.until(lambda message: message.state == "restarting")
        assert await client.run("print(3)") == "3\n"


async def test_one_that_can_not_be_asked_any_more(
    server: Server, install: Callable[..., str], fog: Fog, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = await start_kernel(server, name=install("test-blind", fog=fog.path))
    async with connected(server, kernel) as client:
        assert await client.run("print(1)") == "1\n"
        fog.rise()
        await client.until(lambda message: message.state == "dead")
        assert await client.closed() == 1000
    assert (await server.fetch("GET", "/api/kernels")).json() == []
    async with asyncio.timeout(30):
        while kernel_processes():
            await asyncio.sleep(0.02)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said[0].endswith("can't be watched: the cluster does not answer")
    assert said[1] == (
        f"Kernel {kernel} (test-blind) is given up: it could not be watched {life.MAX_UNSEEN} times in a row"
    )
    assert said[2:] == [f"Kernel {kernel} (test-blind) is killed unseen: the cluster does not answer"]


@pytest.mark.parametrize("restart", [True, False])
async def test_one_that_can_not_be_asked_can_be_ended(
    server: Server, install: Callable[..., str], fog: Fog, monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    monkeypatch.setattr(life, "MAX_UNSEEN", 100_000)
    kernel = await start_kernel(server, name=install("test-blind", fog=fog.path))
    async with connected(server, kernel) as client:
        before = await client.run("import os; print(os.getpid())")
        fog.rise()
        await fog.looked_into(1)
        if restart:
            assert (await server.fetch("POST", f"/api/kernels/{kernel}/restart")).status == 200
            assert await client.run("import os; print(os.getpid())") != before
        assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204
    async with asyncio.timeout(30):
        while kernel_processes():
            await asyncio.sleep(0.02)


async def test_one_that_is_not_installed(server: Server, install: Callable[..., str]) -> None:
    name = install("test-unknown")
    assert name not in (await server.fetch("GET", "/api/kernelspecs")).json()["kernelspecs"]
    assert (await server.fetch("POST", "/api/kernels", json={"name": name})).status == 501


def kernel_processes() -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and "ipykernel_launcher" in process.cmdline()
    ]


async def test_one_that_is_still_launched_is_not_idle(
    start_server: StartServer, install: Callable[..., str], tmp_path: Path
) -> None:
    name = install("test-slow", go=str(tmp_path / "go"))
    server = await start_server(cull_idle_timeout=0.3, cull_interval=0.05)
    starting = asyncio.create_task(server.fetch("POST", "/api/kernels", json={"name": name}))
    await asyncio.sleep(1)
    (tmp_path / "go").touch()
    assert (await starting).status == 201

    async def is_culled() -> bool:
        return (await server.fetch("GET", "/api/kernels")).json() == []

    await eventually(is_culled)  # from then on it is
