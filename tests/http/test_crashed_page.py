"""A page crashes after its cell has ended, without having saved; and which notebook and cell output belongs to."""

from __future__ import annotations

import asyncio
import socket as sockets
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from textwrap import indent
from types import SimpleNamespace

import nbformat
import pytest

from evstore.core.errors import Full
from evstore.log import log
from evstore.services import detached_output
from evstore.services.contents import Contents
from tests.closed_page import (
    HALVES,
    PATH,
    WAIT,
    accept_unstable,
    actors,
    cell,
    eventually_settled,
    go_on,
    kernel,
    left,
    printed,
    save,
    stored,
    written,
)
from tests.helpers import Server
from tests.kernel_client import KernelClient, connected, nobody_is_connected

__all__ = ["kernel"]

OTHER = "/api/contents/b.ipynb"
# Prints at once, and once more in a thread when its cell has long ended
LATER = f"""
import threading
def later():
{indent(WAIT.format(name="go on"), "    ")}
    print('later')
threading.Thread(target=later).start()
print('now')
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_unstable(monkeypatch)
    monkeypatch.setattr(detached_output, "PATIENCE", 0.6)


@asynccontextmanager
async def crashing(server: Server, kernel: str) -> AsyncIterator[KernelClient]:
    """A page that has received and confirmed everything, and is gone without a word at the end of the block."""
    async with connected(server, kernel, "crashes") as page:
        yield page
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(page.socket.receive(), 0.5)
        page.socket.get_extra_info("socket").shutdown(sockets.SHUT_RDWR)  # no close frame
    await nobody_is_connected(server, kernel)


async def put(server: Server, path: str = PATH, **outputs: str) -> None:
    """Save a notebook with code cells of these ids that have printed this."""
    cells = [
        nbformat.v4.new_code_cell(
            id=name, source=name, outputs=[nbformat.v4.new_output("stream", text=text)] if text else []
        )
        for name, text in outputs.items()
    ]
    content = nbformat.v4.new_notebook(cells=cells)
    reply = await server.fetch("PUT", path, json={"type": "notebook", "content": content})
    assert reply.status in (200, 201)


async def test_finished_results_survive_a_crash(server: Server, kernel: str) -> None:
    async with crashing(server, kernel) as page:
        await page.done(await page.execute("print('one')", cell="c"))
        await page.done(await page.execute("print('two')", cell="d"))
    await written(server, "one")
    assert printed(await stored(server, 1)) == "two\n"
    assert (await actors(server)).count("kernel") == 1  # all in one save


async def test_who_opens_the_notebook_after_a_crash_sees_them_at_once(
    server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached_output, "PATIENCE", 3600.0)
    async with crashing(server, kernel) as page:
        await page.done(await page.execute("print('one')", cell="c"))
    assert printed(await cell(server)) == "one\n"


@pytest.mark.parametrize("now", ["", "something else\n"], ids=["cleared", "changed"])
async def test_what_was_saved_after_the_end_stays_so(server: Server, kernel: str, now: str) -> None:
    """Invariant 14."""
    async with crashing(server, kernel) as page:
        await page.done(await page.execute("print('one')", cell="c"))
        await put(server, c=now, d="")
    before = server.services.store.offset
    await eventually_settled(server)
    assert printed(await cell(server)) == now
    assert server.services.store.offset == before


@contextmanager
def clock(monkeypatch: pytest.MonkeyPatch, hours: int) -> Generator[None]:
    """As if the machine's clock were so much ahead."""
    with monkeypatch.context() as other:
        other.setattr(log, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + hours * 3600 * 10**9))
        yield


async def test_the_clock_is_set_back(server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was saved before the end does not seem to be saved after it."""
    with clock(monkeypatch, 2):
        await put(server, c="", d="")
    async with crashing(server, kernel) as page:
        await page.done(await page.execute("print('one')", cell="c"))
    await written(server, "one")


async def test_the_clock_is_set_back_before_it_is_saved(
    server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with crashing(server, kernel) as page:
        await page.done(await page.execute("print('one')", cell="c"))
        with clock(monkeypatch, -1):
            await put(server, c="", d="")
    await eventually_settled(server)
    assert printed(await cell(server)) == ""


async def test_what_was_saved_before_the_end_is_completed(server: Server, kernel: str) -> None:
    async with crashing(server, kernel) as page:
        request = await page.execute(HALVES, cell="c")
        await page.until(lambda one: one.text == "first\n")
        await put(server, c="first\n", d="")  # by itself, while the cell runs
        await go_on(server)
        await page.done(request)
    await written(server, "second")
    assert printed(await cell(server)) == "first\nsecond\n"


async def test_one_that_comes_back_from_its_crash_in_time(server: Server, kernel: str) -> None:
    before = server.services.store.offset
    async with crashing(server, kernel) as page:
        await page.done(await page.execute("print('one')", cell="c"))
    async with connected(server, kernel, "crashes"):
        await asyncio.sleep(1)
    await eventually_settled(server)
    assert server.services.store.offset == before  # it has closed the notebook itself, without saving


async def test_cleared_output_is_not_brought_back_by_a_thread(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as page:
        await page.done(await page.execute(LATER, cell="c"))
        await put(server, c="", d="")
    await nobody_is_connected(server, kernel)
    await go_on(server)
    await asyncio.sleep(1)
    await eventually_settled(server)
    assert printed(await cell(server)) == ""


async def test_saved_output_is_completed_by_a_thread(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as page:
        await page.done(await page.execute(LATER, cell="c"))
        await put(server, c="now\n", d="")
    await nobody_is_connected(server, kernel)
    await go_on(server)
    await written(server, "now\nlater\n")


# two notebooks at one kernel


async def share(server: Server, kernel: str, path: str) -> None:
    body = {"path": path, "type": "notebook", "name": path, "kernel": {"id": kernel}}
    assert (await server.fetch("POST", "/api/sessions", json=body)).status == 201


async def test_of_two_copies_the_one_that_was_executed(server: Server, kernel: str) -> None:
    """The other one is a copy, with the same ids, whose cell says something else."""
    code = HALVES
    cells = [nbformat.v4.new_code_cell(id="c", source=code)]
    model = {"type": "notebook", "content": nbformat.v4.new_notebook(cells=cells)}
    assert (await server.fetch("PUT", OTHER, json=model)).status == 201
    await put(server, c="mine\n", d="")  # saved last
    await share(server, kernel, "b.ipynb")
    async with left(server, kernel, code):
        await go_on(server)
        await written(server, "first\nsecond\n", path=OTHER)
    assert printed(await cell(server)) == "mine\n"


async def test_another_notebook_of_the_kernel_has_gone(server: Server, kernel: str) -> None:
    await save(server, "x", path=OTHER)
    await share(server, kernel, "b.ipynb")
    assert (await server.fetch("DELETE", PATH)).status == 204
    async with left(server, kernel, HALVES, cell="x"):
        await go_on(server)
        await written(server, "first\nsecond\n", path=OTHER)


# the log takes nothing


@pytest.mark.trouble
async def test_the_log_is_full_for_a_while(
    server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again, less and less often, and nothing is lost."""
    original, tries = Contents.save, 0

    async def full(self: Contents, *args: object) -> object:
        nonlocal tries
        if args[2].actor == "kernel":  # type: ignore[attr-defined]
            tries += 1
            raise Full("The disk is full.")
        return await original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(detached_output, "AGAIN", 0.7)
    async with left(server, kernel, HALVES):
        await go_on(server)
        monkeypatch.setattr(Contents, "save", full)
        await asyncio.sleep(3.5)
        assert 1 <= tries <= 4  # and not ten times a second
        monkeypatch.setattr(Contents, "save", original)
        await written(server, "first\nsecond\n")
    assert caplog.text.count("can't be saved now") == tries


# whoever reads


@pytest.mark.parametrize(
    "path",
    [
        "/api/contents/a.ipynb?type=file",
        "/files/a.ipynb",
        "/nbconvert/html/a.ipynb",
        "/api/notebooks/a.ipynb",
        "/notebooks/{id}",
        "/{id}/print",
    ],
)
async def test_every_reader_gets_what_is_there_so_far(
    server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(detached_output, "GRACE", 3600.0)
    (listed,) = (await server.fetch("GET", "/notebooks")).json()
    before = server.services.store.offset
    async with left(server, kernel, "print('f' + 'irst', flush=True)\nimport time; time.sleep(60)"):
        reply = await server.fetch("GET", path.format(id=listed["notebook_id"]))
        assert reply.status == 200, reply.text
        assert "first" in reply.text
        old = await server.fetch("GET", f"/files/a.ipynb?at={before}")
        assert "first" not in old.text
