"""Conversions that don't behave: they hang, die, start programs, want code to run. And many at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from evstore.core.errors import Busy, CannotConvert, Invalid, NotInstalled, Stopping
from evstore.processes.convert import converter as service
from evstore.processes.convert import frames, worker
from evstore.processes.convert.converter import AT_ONCE, MAX_WAITING, Converter
from evstore.processes.convert.jobs import Job
from evstore.processes.convert.process import COMMAND
from tests.notebooks import code_cell, hanging, notebook, printed

LIMIT = 60.0
HANGING = hanging()
PLAIN = notebook(code_cell("print(12)", printed("12\n")))


def job(content: Any = PLAIN, format: str = "script", **more: Any) -> Job:
    return Job(format=format, body=json.dumps(content).encode(), name="n.ipynb", **more)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers get their folders in this test."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
async def converter(folders: Path) -> AsyncIterator[Converter]:
    """A converter with a warm worker; in the end nothing of it may be left."""
    converter = Converter(LIMIT)
    await converter.exporters()
    yield converter
    await converter.close()
    assert converter.pids == []
    assert left_in(folders) == []


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def left_in(folder: Path) -> list[str]:
    return os.listdir(folder)


async def works(converter: Converter) -> None:
    assert b"print(12)" in (await converter.convert(job())).body


# -- processes ---------------------------------------------------------------------------


async def test_a_worker_is_kept_and_starts_with_the_first_wish(folders: Path) -> None:
    converter = Converter(LIMIT)
    assert converter.pids == []
    await works(converter)
    (pid,) = converter.pids
    await works(converter)
    assert converter.pids == [pid]
    await converter.close()
    assert gone(pid)
    assert left_in(folders) == []


async def test_a_conversion_that_hangs_is_ended(folders: Path) -> None:
    converter = Converter(1.0)
    await converter.exporters()
    (pid,) = converter.pids
    with pytest.raises(CannotConvert, match="longer than 1 seconds"):
        await converter.convert(job(HANGING, "html"))
    await until(lambda: converter.pids == [])
    assert gone(pid)
    assert left_in(folders) == []
    await works(converter)
    await converter.close()


async def test_nobody_waits_any_more(converter: Converter) -> None:
    task = asyncio.create_task(converter.convert(job(HANGING, "html")))
    (pid,) = converter.pids
    await until(lambda: psutil.Process(pid).cpu_percent(0.05) > 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: converter.pids == [])
    assert gone(pid)
    await works(converter)


async def test_a_worker_that_dies_in_the_middle(converter: Converter) -> None:
    task = asyncio.create_task(converter.convert(job(HANGING, "html")))
    (pid,) = converter.pids
    await until(lambda: psutil.Process(pid).cpu_percent(0.05) > 20)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(CannotConvert, match="has ended before it was done"):
        await task
    await works(converter)


async def test_a_worker_that_died_at_rest_is_not_noticed(converter: Converter) -> None:
    (pid,), (worker,) = converter.pids, converter._resting
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not worker.is_at_rest)  # the system has told of its end
    await works(converter)
    assert pid not in converter.pids


async def test_closing_ends_what_is_going_on(folders: Path) -> None:
    converter = Converter(LIMIT)
    await converter.exporters()
    tasks = [asyncio.create_task(converter.convert(job(HANGING, "html"))) for _ in range(AT_ONCE + 2)]
    await until(lambda: len(converter.pids) == AT_ONCE)
    pids = converter.pids
    await converter.close()
    assert all(map(gone, pids))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Stopping] * len(tasks)
    with pytest.raises(Stopping):
        await converter.convert(job())
    await converter.close()
    assert converter.pids == []
    assert left_in(folders) == []


async def test_a_worker_is_replaced_after_a_while(
    converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "JOBS", 3)
    first = converter.pids
    for _ in range(2):  # listing the exporters was a job, too
        await works(converter)
    await works(converter)
    assert converter.pids != first
    assert len(converter.pids) == 1


async def test_workers_end_when_nobody_needs_them(
    converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "REST", 0.1)
    await works(converter)
    await until(lambda: converter.pids == [])
    await works(converter)


def test_a_worker_whose_server_is_gone_ends() -> None:
    """When its input ends; and in the middle of something by itself, after its time."""
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle:
        idle.communicate(timeout=30)
        assert idle.returncode == 0
    ask = {"do": "convert", "format": "html", "name": "n.ipynb", "modified": None, "sanitize": None}
    body = json.dumps(HANGING).encode()
    ask |= {"posted": False, "limit": 0.1, "sizes": {"": len(body)}}
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as busy:
        busy.communicate(b"".join(frames.pack(ask, body)), timeout=60)
        assert busy.returncode == -signal.SIGALRM


async def test_limits(converter: Converter) -> None:
    process = psutil.Process(converter.pids[0])
    assert process.rlimit(psutil.RLIMIT_DATA) == (worker.MEMORY, worker.MEMORY)
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert os.getsid(process.pid) == process.pid  # a Ctrl-C in the server's terminal is not for it


# -- many --------------------------------------------------------------------------------


async def test_twenty_at_once(converter: Converter) -> None:
    seen: set[int] = set()

    async def look() -> None:
        while True:
            assert len(converter.pids) <= AT_ONCE
            seen.update(converter.pids)
            await asyncio.sleep(0.01)

    looking = asyncio.create_task(look())
    contents = [notebook(code_cell(f"number = {number}")) for number in range(20)]
    done = await asyncio.gather(*(converter.convert(job(content)) for content in contents))
    looking.cancel()
    assert [f"number = {number}\n".encode() in one.body for number, one in enumerate(done)] == [True] * 20
    assert len(seen) == AT_ONCE


async def test_more_than_may_wait(converter: Converter) -> None:
    many = [asyncio.create_task(converter.convert(job())) for _ in range(MAX_WAITING + 5)]
    results = await asyncio.gather(*many, return_exceptions=True)
    assert [isinstance(result, Busy) for result in results] == [False] * MAX_WAITING + [True] * 5
    assert [result for result in results[:MAX_WAITING] if isinstance(result, BaseException)] == []


# -- nothing runs ------------------------------------------------------------------------


async def test_nothing_is_executed(tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the notebook says, or files in the folder that is served and in which the server was started."""
    ran = tmp_path / "ran"
    for place in (tmp_path / "served", tmp_path / "served" / "config"):
        place.mkdir()
        (place / "jupyter_nbconvert_config.json").write_text('{"ExecutePreprocessor": {"enabled": true}}')
        (place / "jupyter_nbconvert_config.py").write_text(
            f"open({str(ran)!r}, 'w')\nc.ExecutePreprocessor.enabled = True"
        )
    (tmp_path / "served" / "nbconvert").mkdir()
    (tmp_path / "served" / "nbconvert" / "__init__.py").write_text(f"open({str(ran)!r}, 'w')")
    for template in ("lab", "base", "script"):
        (tmp_path / "served" / template).mkdir()
        for file in ("index.html.j2", "script.j2", "conf.json"):
            (tmp_path / "served" / template / file).write_text("from the served folder")
    monkeypatch.chdir(tmp_path / "served")
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "served" / "config"))
    content = notebook(
        code_cell(f"open({str(ran)!r}, 'w')"),
        kernelspec={"name": "python3", "display_name": "Python 3"},
        nbconvert={"ExecutePreprocessor": {"enabled": True}, "template_file": "/etc/passwd"},
        execute={"enabled": True},
        ExecutePreprocessor={"enabled": True},
    )
    converter = Converter(LIMIT)
    for format in ("html", "script", "notebook", "markdown"):
        converted = await converter.convert(job(content, format))
        assert b"open" in converted.body
        assert b"from the served folder" not in converted.body
    await converter.close()
    assert not ran.exists()


async def test_a_notebook_imports_nothing(
    tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nbconvert would import what a notebook names as its exporter, and call it."""
    ran = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w')\ndef Exporter(*a, **k): 1/0")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    converter = Converter(LIMIT)
    for name in ("evil.Exporter", ["evil.Exporter"], {"a": 1}, 5):
        content = notebook(code_cell("12"), language_info={"name": "python", "nbconvert_exporter": name})
        assert b"12" in (await converter.convert(job(content))).body
    await converter.close()
    assert not ran.exists()


async def test_a_language_says_how_its_scripts_are_called(converter: Converter) -> None:
    """And can't say more: neither a header of its own nor a folder."""
    for language, expected in [
        ({"name": "R", "file_extension": ".r", "mimetype": "text/x-r-source"}, ("text/x-r-source", "n.r")),
        ({"name": "x", "file_extension": "./../e", "mimetype": "a/b\r\nX: y"}, ("text/plain", "n.txt")),
        ({"name": "x"}, ("text/plain", "n.txt")),
    ]:
        converted = await converter.convert(job(notebook(code_cell("12"), language_info=language)))
        assert (converted.mimetype, converted.filename) == expected


# -- programs that nbconvert starts --------------------------------------------------------


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


async def test_programs_end_with_their_conversion(
    tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TeX that never ends, with a process of its own."""
    program(tmp_path, "xelatex", f"sleep 1000 &\necho $! $$ > {tmp_path}/pids\nwait")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    converter = Converter(LIMIT)
    task = asyncio.create_task(converter.convert(job(format="pdf")))
    file = tmp_path / "pids"
    await until(lambda: file.exists() and file.read_text().endswith("\n"))
    pids = [int(pid) for pid in file.read_text().split()]
    assert not any(map(gone, pids))
    task.cancel()
    await asyncio.wait((task,))
    await until(lambda: all(map(gone, pids)))
    await converter.close()


async def test_pdf(tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What TeX makes is passed on; what it complains about, too, in one line; and it may read its own folder only."""
    program(tmp_path, "xelatex", f'env > {tmp_path}/env\necho "It talks" >&2\nprintf %%PDF > notebook.pdf')
    program(tmp_path, "bibtex", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    converter = Converter(LIMIT)
    made = await converter.convert(job(format="pdf"))
    assert (made.body, made.mimetype, made.filename) == (b"%PDF", "application/pdf", "n.pdf")
    assert not made.is_text
    assert "openin_any=p" in (tmp_path / "env").read_text().split()
    complaint = "This is TeX\n(/usr/share/texmf/x.sty)\n! Undefined control sequence.\nl.5 more"
    program(tmp_path, "xelatex", f"echo '{complaint}'\nexit 1")
    with pytest.raises(CannotConvert, match=r"LaTeX says: ! Undefined control sequence\.$"):
        await converter.convert(job(format="pdf"))
    await converter.close()


async def test_without_nbconvert(tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nbconvert.py").write_text("raise ModuleNotFoundError(\"No module named 'nbconvert'\")")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    converter = Converter(LIMIT)
    for _ in range(2):
        with pytest.raises(NotInstalled, match=r"No module named 'nbconvert'.*pip install nbconvert"):
            await converter.exporters()
    with pytest.raises(NotInstalled):
        await converter.convert(job())
    await converter.close()


async def test_rubbish(converter: Converter) -> None:
    for body in (b"", b"\xff", b"{}", b"5", b"[" * 100_000, b'{"nbformat": 4}'):
        with pytest.raises(Invalid):
            await converter.convert(Job(format="html", body=body, name="n.ipynb"))
    assert sys.executable == COMMAND[0]
    assert len(converter.pids) == 1
