"""Kernels that don't behave: they die, hang, print past their messages, or can't be started at all."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from evstore.config import Config
from evstore.core.errors import CannotStart, NotFound, Unavailable
from evstore.core.paths import ContentPath
from evstore.processes.kernels import kernel as life
from evstore.processes.kernels import process, wire
from evstore.processes.kernels.kernel import Kernel
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.manager import Kernels
from evstore.processes.kernels.process import LocalLauncher
from evstore.processes.kernels.specs import KernelSpecs
from evstore.services.sessions import Change, Sessions

IPYKERNEL = "from ipykernel import kernelapp; kernelapp.launch_new_instance()"


class RecordingLink:
    """A client that only looks on."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def write(self, frames: list[bytes]) -> bool:
        for frame in frames:
            message = wire.from_v1(frame)
            header, content = json.loads(message.parts[0]), json.loads(message.parts[3])
            if header["msg_type"] == "status":
                self.states.append(content["execution_state"])
        return True

    async def drain(self) -> None: ...

    def undelivered(self) -> list[bytes]:
        return []

    def close(self, code: int, reason: str) -> None:
        self.closed.set_result(code)


def execute(code: str) -> wire.Message:
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "s", "username": "", "version": "5.3"}
    content = {"code": code, "silent": False}
    return wire.Message("shell", [json.dumps(one).encode() for one in (header, {}, {}, content)])


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Install a kernel that runs Python code; returns its name."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))

    def install(code: str, **spec: Any) -> str:
        folder = tmp_path / "data" / "kernels" / "made"
        folder.mkdir(parents=True)
        argv = [sys.executable, "-c", code, "-f", "{connection_file}"]
        made = {"argv": argv, "display_name": "Made", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(made | spec))
        return "made"

    return install


@pytest.fixture
async def kernels(tmp_path: Path) -> AsyncIterator[Kernels]:
    config = Config(folder=tmp_path, db=tmp_path / "log.db")
    specs = KernelSpecs(config.default_kernel)
    launcher = LocalLauncher(specs.manager, transport=config.kernel_transport)
    kernels = Kernels(tmp_path, specs, launcher, kept=Limits.of(config))
    yield kernels
    await kernels.close()
    assert descendants() == []


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "POLL", 0.05)
    monkeypatch.setattr(process, "GRACE", 1.0)


def descendants() -> list[psutil.Process]:
    """The living processes below this one that run kernels."""
    return [
        one
        for one in psutil.Process().children(recursive=True)
        if one.is_running() and one.status() != psutil.STATUS_ZOMBIE and "kernel" in " ".join(one.cmdline())
    ]


async def until(check: Callable[[], object], patience: float = 30) -> None:
    async with asyncio.timeout(patience):
        while not check():
            await asyncio.sleep(0.02)


async def up(kernel: Kernel) -> Kernel:
    await until(lambda: kernel.state == "idle")
    return kernel


async def test_a_kernel_that_dies_at_once_is_given_up(
    kernels: Kernels, install: Callable[..., str], quickly: None, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = Sessions(kernels)
    name = install("import sys; sys.exit('kernel: no module named xyz')")
    session = await sessions.open("a.ipynb", name="a", type="notebook", kernel_name=name)
    link = RecordingLink()
    session.kernel.connect("s", link)
    assert await asyncio.wait_for(link.closed, 30) == 1000
    assert link.states == ["restarting"] * life.MAX_DEATHS + ["dead"]
    assert (kernels.all(), sessions.all()) == ([], [])
    assert session.kernel.state == "dead"
    *_, last = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "keeps dying" in last
    assert "no module named xyz" in last
    assert "Traceback" not in caplog.text
    with pytest.raises(NotFound):
        await session.kernel.restart()
    with pytest.raises(NotFound):
        await session.kernel.interrupt()


async def test_a_client_that_comes_too_late(kernels: Kernels) -> None:
    kernel = await kernels.start()
    await kernel.stop()
    await kernel.stop()  # nothing happens
    link = RecordingLink()
    kernel.disconnect(kernel.connect("s", link), link)
    assert await asyncio.wait_for(link.closed, 10) == 1000


async def test_a_program_that_is_not_there(
    kernels: Kernels, install: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    name = install("", argv=["/no/such/kernel/program", "{connection_file}"])
    with pytest.raises(CannotStart) as error:
        await kernels.start(name)
    assert "The 'made' kernel could not be started" in error.value.message
    assert "/no/such/kernel/program" in error.value.message
    assert error.value.short_message == "Error starting kernel made"
    assert kernels.all() == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_spec_without_a_command(kernels: Kernels, install: Callable[..., str]) -> None:
    with pytest.raises(CannotStart):
        await kernels.start(install("", argv=[]))
    assert kernels.all() == []


async def test_a_program_that_goes_away_before_a_restart(
    kernels: Kernels, install: Callable[..., str], tmp_path: Path
) -> None:
    program = tmp_path / "kernel-program"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ipykernel_launcher "$@"\n')
    program.chmod(0o755)
    argv = [str(program), "-f", "{connection_file}"]
    kernel = await up(await kernels.start(install("", argv=argv)))
    link = RecordingLink()
    kernel.connect("s", link)
    program.unlink()
    with pytest.raises(CannotStart):
        await kernel.restart()
    assert await asyncio.wait_for(link.closed, 10) == 1000
    assert link.states[-1] == "dead"
    assert kernels.all() == []


async def test_a_kernel_that_does_not_want_to_go_is_killed(
    kernels: Kernels, install: Callable[..., str], quickly: None, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    name = install(
        "import signal, time, pathlib\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "while True: time.sleep(1)"
    )
    kernel = await kernels.start(name)
    await until(ready.exists)
    await kernel.stop()
    assert descendants() == []


async def test_what_a_dead_kernel_leaves_behind_is_ended(
    kernels: Kernels, install: Callable[..., str], quickly: None, tmp_path: Path
) -> None:
    name = install(
        "import pathlib, subprocess\n"
        f"child = subprocess.Popen(['sleep', '1000']); pathlib.Path({str(tmp_path)!r}, str(child.pid)).touch()\n"
        + IPYKERNEL
    )
    kernel = await up(await kernels.start(name))
    [left] = [psutil.Process(int(name)) for name in os.listdir(tmp_path) if name.isdecimal()]
    [running] = descendants()
    running.kill()
    await until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE)
    await up(kernel)


async def test_stopping_in_the_middle_of_a_start_leaves_nothing(kernels: Kernels) -> None:
    starting = [asyncio.create_task(kernels.start()) for _ in range(3)]
    await until(kernels.all)
    await kernels.close()
    await asyncio.gather(*starting, return_exceptions=True)
    assert kernels.all() == []
    assert descendants() == []
    with pytest.raises(Unavailable):
        await kernels.start()


@pytest.mark.parametrize("steps", range(0, 60, 4))
async def test_a_start_that_is_cancelled_leaves_nothing(kernels: Kernels, steps: int) -> None:
    starting = asyncio.create_task(kernels.start())
    for _ in range(steps):
        await asyncio.sleep(0)
    await asyncio.sleep(0.001 * (steps % 3))
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    for kernel in kernels.all():
        await kernel.stop()
    assert descendants() == []


async def test_what_a_process_prints_past_its_messages_goes_nowhere(
    kernels: Kernels, install: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    name = install(
        f"import os; os.write(1, b'noise' * 500_000); os.write(2, b'noise' * 500_000); {IPYKERNEL}"
    )
    await up(await kernels.start(name))  # nor does it block when a pipe is full
    assert capfd.readouterr() == ("", "")


async def test_interrupts_by_message(kernels: Kernels, install: Callable[..., str], tmp_path: Path) -> None:
    name = install(IPYKERNEL, interrupt_mode="message")
    kernel = await up(await kernels.start(name))
    client = kernel.connect("s", RecordingLink())
    code = f"import pathlib, time; pathlib.Path({str(tmp_path / 'begun')!r}).touch(); time.sleep(1000)"
    client.receive(execute(code))
    await until((tmp_path / "begun").exists)
    await until(lambda: kernel.state == "busy")  # its message may come after the file
    await kernel.interrupt()
    await up(kernel)


async def test_closing_many_kernels_is_quick(kernels: Kernels) -> None:
    for _ in range(4):
        await kernels.start()
    for kernel in kernels.all():
        await up(kernel)
    await kernels.close()
    assert descendants() == []
    await kernels.close()  # once more does no harm


async def test_the_sockets_of_all_kernels_have_short_addresses(
    kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    kernel = await kernels.start(kernel_id="y" * 100)
    await up(kernel)
    assert list(long.iterdir()) == []


FORGED = """
send = get_ipython().kernel.iopub_thread.send_multipart
head, key = b'{"msg_id": "1", "msg_type": "status", "session": "x"}', get_ipython().kernel.session
def signed(*parts): return [b"topic", b"<IDS|MSG>", key.sign(parts), *parts]
send([b"topic", b"no delimiter"])
send([b"topic", b"<IDS|MSG>", b"signature", head, b"{}"])
send([b"topic", b"<IDS|MSG>", b"signature", head, b"{}", b"{}", b'{"execution_state": "dead"}'])
send(signed(b"[]", b"{}", b"{}", b"{}"))
send(signed(head, b"{", b"{}", b"{}"))
send(signed(head, b"{}", b"{}", b"5"))
"""


async def test_what_is_no_message_of_the_kernel_is_ignored(
    kernels: Kernels, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = await up(await kernels.start())
    link = RecordingLink()
    client = kernel.connect("s", link)
    client.receive(execute(FORGED))
    await until(lambda: link.states[-2:] == ["busy", "idle"])
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage().partition(" came from")[0] for record in said] == [
        "A message without delimiter",
        "A message of 2 parts",
        "A message with a wrong signature",
        "A message that is not an object",
        "A message that is not JSON: unexpected end of data: line 1 column 2 (char 1)",
        "A message that is not an object",
    ]
    assert all(record.exc_info is None for record in said)
    assert kernel.state == "idle"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, of the test alone, with a path that is short enough for sockets."""
    with TemporaryDirectory(prefix="ev-", dir="/tmp") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


async def test_what_killed_servers_left_behind_is_removed(kernels: Kernels, temporary: Path) -> None:
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
    await gone.wait()
    for name in (
        f"evstore-kernels-{gone.pid}-x",
        f"evstore-kernels-{os.getpid()}-x",
        "evstore-kernels-y",
        "z",
    ):
        (temporary / name).mkdir()
        (temporary / name / "kernel-1.json").touch()
    kernel = await kernels.start()
    await kernel.stop()
    left = {name for name in os.listdir(temporary) if len(os.listdir(temporary / name)) == 1}
    assert left == {f"evstore-kernels-{os.getpid()}-x", "evstore-kernels-y", "z"}
    assert not (temporary / f"evstore-kernels-{gone.pid}-x").exists()


@pytest.mark.usefixtures("quickly")
async def test_sessions_are_found_by_path_wherever_they_go(
    kernels: Kernels, install: Callable[..., str]
) -> None:
    sessions, name = Sessions(kernels), install("import time; time.sleep(100)")

    def names(path: str) -> list[str]:
        return [session.name for session in sessions.at(ContentPath(path))]

    first = await sessions.open("/d//a.ipynb", name="a.ipynb", type="notebook", kernel_name=name)
    assert (names("d/a.ipynb"), names("/d//a.ipynb")) == (["a.ipynb"], [])
    second = await sessions.open("b.ipynb", name="b.ipynb", type="notebook", kernel_id=first.kernel.id)
    await sessions.change(second.id, Change(path="d/a.ipynb"))
    assert (names("d/a.ipynb"), names("b.ipynb")) == (["a.ipynb", "b.ipynb"], [])
    await sessions.change(first.id, Change(path="c.ipynb", name="c"))
    assert (names("d/a.ipynb"), names("c.ipynb")) == (["b.ipynb"], ["c"])
    third = await sessions.open("/d/x.ipynb", name="x.ipynb", type="notebook", kernel_id=first.kernel.id)
    await sessions.entry_moved("d", "e")
    assert (names("e/x.ipynb"), sessions.get(third.id).path) == (["x.ipynb"], "e/x.ipynb")
    assert (names("d/a.ipynb"), names("e/a.ipynb")) == ([], ["b.ipynb"])
    await first.kernel.stop()
    assert (names("e/a.ipynb"), names("c.ipynb")) == ([], [])
