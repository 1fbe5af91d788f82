"""Kernels that something else than a plain process provides: provisioners, as kernelspecs name them.

jupyter_client finds provisioners by entry points, so the test installs a distribution that has some.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import Server
from tests.kernel_client import connected, start_kernel

ENTRY_POINTS = """[jupyter_client.kernel_provisioners]
test-remote = evstore_test_provisioners:Remote
test-refusing = evstore_test_provisioners:Refusing
test-hanging = evstore_test_provisioners:Hanging
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
