"""A page that is opened while a cell runs follows what it puts out, and saves it itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.closed_page import (
    HALVES,
    WAIT,
    accept_unstable,
    cell,
    eventually_settled,
    executions,
    follow,
    go_on,
    kernel,
    left,
    printed,
    save,
    slow,
    written,
)
from tests.helpers import Server
from tests.kernel_client import connected, eventually

__all__ = ["kernel", "slow"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    accept_unstable(monkeypatch)


async def test_a_page_follows_to_the_end_and_nothing_is_written(server: Server, kernel: str) -> None:
    code = "for i in range(20): print(i, flush=True); time.sleep(0.05)"
    async with left(server, kernel, HALVES + code) as request:
        (one,) = await executions(server, kernel)
        assert (one["id"], one["cell"], one["state"], one["execution_count"]) == (request, "c", "running", 1)
        assert (one["attended"], one["abandoned"]) == (False, True)
        await cell(server)
        before = server.services.store.offset
        news = await follow(server, kernel, request)
        assert (news["reset"], news["outputs"][0]["text"]) == (True, "first\n")
        seen = printed(news)
        await go_on(server)
        while news["state"] != "done":
            news = await follow(server, kernel, request, news["cursor"])
            assert news["reset"] is False
            seen += printed(news)
        assert seen == "first\nsecond\n" + "".join(f"{i}\n" for i in range(20))
        again = await follow(server, kernel, request, news["cursor"])
        assert (again["state"], again["outputs"], again["cursor"]) == ("done", [], news["cursor"])
        assert again["abandoned"] is False
        assert server.services.store.offset == before
        await written(server, seen)  # when that page is gone, too, without saving


async def test_what_a_follower_has_saved_stays_so(server: Server, kernel: str) -> None:
    async with left(server, kernel, HALVES) as request:
        await go_on(server)
        news = await follow(server, kernel, request)
        while news["state"] != "done" or news["outputs"]:
            news = await follow(server, kernel, request, news["cursor"])
        await save(server, "c", "d", "e")  # its user has cleared the output, and written another cell
        await eventually_settled(server)
        assert printed(await cell(server)) == ""


async def test_what_was_cleared_or_updated_comes_anew(server: Server, kernel: str) -> None:
    code = (
        "from IPython.display import *\nhandle = display('old', display_id=True); print('x')\n"
        + WAIT.format(name="update")
        + "handle.update('new')\n"
        + WAIT.format(name="clear")
        + "clear_output()\n"
        + WAIT.format(name="end")
    )
    async with left(server, kernel, code) as request:
        news = await follow(server, kernel, request)
        assert news["outputs"][0]["data"]["text/plain"] == "'old'"
        await go_on(server, "update")
        news = await follow(server, kernel, request, news["cursor"])
        assert news["reset"] is True
        assert news["outputs"][0]["data"]["text/plain"] == "'new'"
        await go_on(server, "clear")
        news = await follow(server, kernel, request, news["cursor"])
        assert (news["reset"], news["outputs"]) == (True, [])
        await go_on(server, "end")
        assert (await follow(server, kernel, request, news["cursor"]))["state"] == "done"


async def test_a_follower_that_is_closed_is_gone_at_once(server: Server, kernel: str, slow: None) -> None:
    async with left(server, kernel, HALVES) as request:
        news = await follow(server, kernel, request)
        waiting = asyncio.create_task(follow(server, kernel, request, news["cursor"], 20))

        async def is_followed() -> bool:
            return not (await executions(server, kernel))[0]["abandoned"]

        await eventually(is_followed)
        waiting.cancel()

        async def is_abandoned() -> bool:
            return (await executions(server, kernel))[0]["abandoned"]

        await eventually(is_abandoned)
        assert printed(await cell(server)) == "first\n"


async def test_what_a_page_sees_itself_is_not_abandoned(server: Server, kernel: str) -> None:
    async with connected(server, kernel) as page:
        await page.execute(HALVES, cell="c")
        await page.execute("1", cell="d")
        await page.until(lambda one: bool(one.text))
        found = [(one["cell"], one["state"], one["abandoned"]) for one in await executions(server, kernel)]
        assert found == [("c", "running", False), ("d", "queued", False)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/kernels/no-such/executions", 404),
        ("/api/kernels/no-such/executions/1", 404),
        ("/api/kernels/{kernel}/executions/no-such", 404),
        ("/api/kernels/{kernel}/executions/{request}?after=x", 400),
        ("/api/kernels/{kernel}/executions/{request}?after=1", 400),
        ("/api/kernels/{kernel}/executions/{request}?after=-1.2", 400),
        ("/api/kernels/{kernel}/executions/{request}?wait=long", 400),
        ("/api/kernels/{kernel}/executions/{request}?wait=nan", 400),
        ("/api/kernels/{kernel}/executions/{request}?after=999999999999999999.999999999999999999", 200),
    ],
)
async def test_bad_questions(server: Server, kernel: str, path: str, status: int) -> None:
    async with left(server, kernel, HALVES) as request:
        reply = await server.fetch("GET", path.format(kernel=kernel, request=request))
        assert reply.status == status, reply.text
        stranger = await server.fetch("GET", path.format(kernel=kernel, request=request), stranger=True)
        assert stranger.status == 403
