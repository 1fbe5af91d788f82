"""A page is closed in the middle of a cell: what the cell puts out goes into the document."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from evstore.services import detached_output
from evstore.services.contents import Contents
from tests.closed_page import (
    HALVES,
    PATH,
    WAIT,
    accept_unstable,
    actors,
    cell,
    go_on,
    is_waiting,
    kernel,
    left,
    printed,
    save,
    session,
    slow,
    stored,
    written,
)
from tests.helpers import Server, StartServer, make_services, run_test_server
from tests.kernel_client import connected, eventually, nobody_is_connected

__all__ = ["kernel", "slow"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_unstable(monkeypatch)


async def test_reading_in_the_middle_shows_what_is_there_so_far(
    server: Server, kernel: str, slow: None
) -> None:
    async with left(server, kernel, HALVES):
        assert printed(await stored(server)) == ""
        assert printed(await cell(server)) == "first\n"
        assert (await cell(server))["execution_count"] == 1
        assert (await actors(server))[0] == "kernel"
        await go_on(server)

        async def is_whole() -> bool:
            return printed(await cell(server)) == "first\nsecond\n"

        await eventually(is_whole)
        writes = await actors(server)
        await cell(server)
        assert await actors(server) == writes  # nothing is new


async def test_after_the_end_nobody_need_ask(server: Server, kernel: str) -> None:
    """Invariant 14."""
    async with left(server, kernel, HALVES):
        await written(server, "first")  # while it runs
        await go_on(server)
        await written(server, "second")
        assert await stored(server) == await cell(server) | {"metadata": {"trusted": True}}
        assert set(await actors(server)) == {"kernel", (await actors(server))[-1]}


async def test_everything_that_a_cell_can_put_out(server: Server, kernel: str) -> None:
    code = (
        "from IPython.display import *\n"
        "print('gone'); clear_output(wait=True)\n"
        "handle = display('old', display_id=True)\n"
        "print('out', flush=True)\n"
        + WAIT.format(name="go on")
        + "import sys; print('err', file=sys.stderr)\n"
        "handle.update('new')\n"
        'display(SVG(\'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>\'))\n'
        "1 / 0"
    )
    async with left(server, kernel, code):
        await go_on(server)
        await written(server, "err")

        async def is_whole() -> bool:
            return len((await cell(server))["outputs"]) == 5

        await eventually(is_whole)
        text, out, err, svg, error = (await cell(server))["outputs"][:5]
        assert text["data"]["text/plain"] == "'new'"
        assert (out["name"], out["text"]) == ("stdout", "out\n")
        assert (err["name"], err["text"]) == ("stderr", "err\n")
        assert "circle" in svg["data"]["image/svg+xml"]
        assert error["ename"] == "ZeroDivisionError"
        assert (await cell(server))["metadata"]["trusted"] is True  # the notebook was


async def test_what_is_not_trusted_stays_so(server: Server, kernel: str) -> None:
    foreign = nbformat.v4.new_output("display_data", {"text/html": "<script>1</script>"})
    content = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(id="c"), nbformat.v4.new_code_cell(id="d", outputs=[foreign])]
    )
    await server.fetch("PUT", PATH, json={"type": "notebook", "content": content})
    assert (await cell(server, 1))["metadata"]["trusted"] is False
    async with left(server, kernel, "import time; print('x'); time.sleep(1); display(0)"):
        await written(server, "x")
        assert (await cell(server, 1))["metadata"]["trusted"] is False


async def test_the_same_session_comes_back_and_nothing_is_written(
    server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached_output, "GRACE", 1.5)
    before = server.services.store.offset
    async with connected(server, kernel, "same") as page:
        request = await page.execute(HALVES, cell="c")
        await page.until(lambda one: one.text == "first\n")
    await nobody_is_connected(server, kernel)
    await go_on(server)
    await asyncio.sleep(0.5)  # it prints the rest, and ends
    async with connected(server, kernel, "same") as page:
        messages = await page.done(request)
        assert "".join(one.text for one in messages) == "second\n"
        await asyncio.sleep(2)
        await cell(server)
    await nobody_is_connected(server, kernel)
    await asyncio.sleep(2)
    await cell(server)  # the page has got it all before it left
    assert server.services.store.offset == before


async def test_a_page_that_stays_is_left_alone(server: Server, kernel: str) -> None:
    before = server.services.store.offset
    async with connected(server, kernel) as page:
        await page.execute(HALVES, cell="c")
        await page.until(lambda one: one.text == "first\n")
        async with connected(server, kernel):  # another page comes and goes
            pass
        await asyncio.sleep(1)
        await cell(server)
        assert server.services.store.offset == before


async def test_a_new_session_gets_the_messages_once_as_well(server: Server, kernel: str) -> None:
    async with left(server, kernel, HALVES):
        assert printed(await cell(server)) == "first\n"
        async with connected(server, kernel) as page:
            await go_on(server)
            await page.until(lambda one: one.state == "idle")
            assert "".join(one.text for one in page.seen) == "second\n"
        await written(server, "first\nsecond\n")


async def test_the_notebook_is_renamed_meanwhile(server: Server, kernel: str) -> None:
    async with left(server, kernel, HALVES):
        assert (await server.fetch("PATCH", PATH, json={"path": "b.ipynb"})).status == 200
        await go_on(server)

        async def is_there() -> bool:
            return printed(await cell(server, path="/api/contents/b.ipynb")) == "first\nsecond\n"

        await eventually(is_there)
        assert (await server.fetch("GET", PATH)).status == 404


@pytest.mark.parametrize("gone", ["the cell", "the notebook"])
async def test_what_was_deleted_is_left_alone(
    server: Server, kernel: str, gone: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "evstore.services.detached_output")
    async with left(server, kernel, HALVES):
        if gone == "the cell":
            await save(server, "d")
        else:
            assert (await server.fetch("DELETE", PATH)).status == 204
        before = server.services.store.offset
        await go_on(server)

        async def is_settled() -> bool:
            return "There is no cell c" in caplog.text and not is_waiting(server)

        await eventually(is_settled)
        assert server.services.store.offset == before
    assert not [one for one in caplog.records if one.levelname not in ("INFO", "DEBUG")]


async def test_another_cell_is_edited_at_the_same_time(
    server: Server, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save that comes between our reading and our writing is not lost, and neither is the output."""
    original, edits = Contents.save, 0

    async def save_after_somebody_else(self: Contents, *args: Any) -> Any:
        nonlocal edits
        if args[2].actor == "kernel" and edits < 3:
            edits += 1
            model = (await server.fetch("GET", f"{PATH}?at={server.services.store.offset}")).json()
            model["content"]["cells"][1]["source"] = f"edit {edits}"
            reply = await server.fetch("PUT", PATH, json={"type": "notebook", "content": model["content"]})
            assert reply.status == 200
        return await original(self, *args)

    monkeypatch.setattr(Contents, "save", save_after_somebody_else)
    async with left(server, kernel, HALVES):
        assert printed(await cell(server)) == "first\n"
        assert (await cell(server, 1))["source"] == "edit 3"


async def test_the_kernel_is_killed(server: Server, kernel: str) -> None:
    async with left(
        server, kernel, "import os, time\nprint('first', flush=True)\ntime.sleep(1)\nos.kill(os.getpid(), 9)"
    ):
        await written(server, "first")


@pytest.mark.parametrize("how", ["restart", "shutdown"])
async def test_the_kernel_is_ended(server: Server, kernel: str, slow: None, how: str) -> None:
    async with left(server, kernel, HALVES):
        if how == "restart":
            assert (await server.fetch("POST", f"/api/kernels/{kernel}/restart")).status == 200
            await written(server, "first")  # with nobody asking for it
        else:
            assert (await server.fetch("DELETE", f"/api/kernels/{kernel}")).status == 204
            await written(server, "first")


@pytest.mark.parametrize("is_there", [False, True], ids=["closed before", "still open"])
async def test_the_server_is_stopped(tmp_path: Path, slow: None, is_there: bool) -> None:
    async with make_services(tmp_path) as services, run_test_server(services) as server:
        await save(server, "c")
        kernel = (await session(server))["kernel"]["id"]
        async with connected(server, kernel) as page:
            await page.execute(HALVES, cell="c")
            await page.until(lambda one: bool(one.text))
            if is_there:
                services.stop.set()  # as when it stops, with the page still connected
                await services.kernels.close()
    async with make_services(tmp_path) as services, run_test_server(services) as server:
        assert printed(await cell(server)) == "first\n"
        assert (await actors(server))[0] == "kernel"


async def test_a_thread_that_goes_on_printing(server: Server, kernel: str) -> None:
    thread = "import threading\ndef later():\n {wait}print('later')\nthreading.Thread(target=later).start()\nprint('now')"
    wait = WAIT.format(name="go on").replace("\n", "\n ")
    async with connected(server, kernel) as page:
        await page.done(await page.execute(thread.format(wait=wait), cell="c"))
    await nobody_is_connected(server, kernel)
    await asyncio.sleep(1)
    assert printed(await cell(server)) == ""  # the page had it
    await go_on(server)
    await written(server, "now\nlater\n")


async def test_limits_are_settings(start_server: StartServer) -> None:
    server = await start_server(max_cell_output=1000, kept_output_memory=2000, kept_output_disk=100_000)
    await save(server, "c")
    kernel = (await session(server))["kernel"]["id"]
    code = "print('x')\nfor i in range(2000): print('y' * 100, flush=True)\nraise ValueError"
    async with left(server, kernel, code):

        async def is_done() -> bool:
            return (await cell(server))["outputs"][-1]["output_type"] == "error"

        await eventually(is_done)
        assert "--max-cell-output" in (await cell(server))["outputs"][-2]["text"]
    async with connected(server, kernel) as page:
        await page.until(lambda one: "were not kept here" in one.text)


async def test_what_a_file_says_of_itself_is_no_trust(server: Server, kernel: str) -> None:
    """A stranger's notebook comes as a file, and claims in its cells that it is trusted."""
    bad = nbformat.v4.new_output("display_data", {"text/html": "<script>1</script>"})
    content = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(id="c", metadata={"trusted": True}),
            nbformat.v4.new_code_cell(id="d", metadata={"trusted": True}, outputs=[bad]),
        ]
    )
    model = {"type": "file", "format": "text", "content": json.dumps(content)}
    assert (await server.fetch("PUT", PATH, json=model)).status == 200
    assert (await cell(server, 1))["metadata"]["trusted"] is False
    async with left(server, kernel, "import time; print('x'); time.sleep(1)"):
        await written(server, "x")
    assert (await cell(server, 1))["metadata"]["trusted"] is False
