"""The browser is closed in the middle of a cell that prints 100,000 lines and plots."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.async_api import Browser, WebSocketRoute, expect

from tests.browser.lab import Lab, signed_out
from tests.browser.served import TOKEN, Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

LINES = 100_000

# Prints a part, waits for a file, prints the rest and plots: as slowly as the test wants
CELL = """\
import os, time
from IPython.display import SVG, display
for i in range({lines}):
    if i == {lines} // 2:
        while not os.path.exists({wait!r}): time.sleep(0.05)
    print(i)
    if i % 1000 == 0: time.sleep(0.01)
display(SVG('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle cx="20" cy="20" r="19"/></svg>'))
"""


@asynccontextmanager
async def page(chromium: Browser, shots: Path, address: str) -> AsyncGenerator[Lab]:
    """A browser of its own, in which nothing may go wrong."""
    async with signed_out(chromium, shots) as lab:
        await lab.open(address)
        yield lab
        lab.watch.check()


def address(served: Served, name: str) -> str:
    """A notebook in a workspace of its own, where nothing else is open."""
    return served.address(f"lab/workspaces/{name.removesuffix('.ipynb')}/tree/{name}", token=TOKEN)


async def put(served: Served, name: str, source: str) -> None:
    """Make a notebook with this cell and an empty one."""
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    content = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source), nbformat.v4.new_code_cell()],
        metadata={"kernelspec": kernel},
    )
    await served.put_notebook(name, content)


async def run_and_leave(chromium: Browser, served: Served, shots: Path, name: str, source: str) -> None:
    """Make a notebook, run its cell, and close the browser in the middle."""
    await put(served, name, source)
    async with page(chromium, shots, address(served, name)) as lab:
        await lab.idle()
        await lab.save()  # with what JupyterLab notes about the kernel
        await lab.cell(0).locator(".cm-content").click()
        await lab.page.keyboard.press("Shift+Enter")
        await lab.shows(lab.cell(0), "10")
        await expect(lab.cell(0).locator(".jp-InputPrompt")).to_have_text("[*]:")


def whole(cell: dict[str, Any]) -> bool:
    """Whether a cell, as saved, has all the lines and the plot."""
    if len(cell["outputs"]) != 2 or cell["execution_count"] != 1:
        return False
    text, plot = cell["outputs"]
    lines = "".join(f"{i}\n" for i in range(LINES))
    return text["text"] == lines and "circle" in plot["data"]["image/svg+xml"]


async def actors(served: Served, name: str) -> list[str]:
    """Who has written the notebook, the last one first."""
    return [one["actor"] for one in (await served.get(f"api/history/versions/{name}"))["versions"]]


async def shows_all(lab: Lab) -> None:
    """The notebook in front has it all on the screen, and its prompt a number."""
    await expect(lab.cell(0).locator(".jp-InputPrompt")).to_have_text("[1]:", timeout=60_000)
    text = await lab.cell(0).locator(".jp-OutputArea-output pre").first.inner_text()
    assert text.split() == [str(i) for i in range(LINES)]
    await lab.cell(0).locator(".jp-RenderedSVG img").wait_for()


async def edit_and_save(lab: Lab) -> None:
    """An ordinary save, which would ask if the file had changed behind the page's back."""
    await lab.write("after = 1")
    await lab.save()
    assert await lab.dialog.count() == 0


async def test_opened_in_the_middle(chromium: Browser, served: Served, shots: Path) -> None:
    source = CELL.format(lines=LINES, wait="go on 1")
    await run_and_leave(chromium, served, shots, "Middle.ipynb", source)
    async with page(chromium, shots, address(served, "Middle.ipynb")) as lab:
        cell = lab.cell(0)
        await lab.shows(cell, str(LINES // 2 - 1))
        await expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")
        await lab.shot("kernel-output-middle")
        assert (await actors(served, "Middle.ipynb"))[0] == "kernel"
        writes = await actors(served, "Middle.ipynb")
        (served.folder / "go on 1").touch()
        await shows_all(lab)
        await lab.saved()

        async def is_saved() -> bool:
            return whole((await served.cells("Middle.ipynb"))[0])

        await until(is_saved)
        assert await actors(served, "Middle.ipynb") != writes
        assert (await actors(served, "Middle.ipynb")).count("kernel") == 1  # the page has taken over
        await edit_and_save(lab)
        await lab.shot("kernel-output-middle-end")
    assert whole((await served.cells("Middle.ipynb"))[0])


async def test_opened_after_the_end(chromium: Browser, served: Served, shots: Path) -> None:
    source = CELL.format(lines=LINES, wait="go on 2")
    await run_and_leave(chromium, served, shots, "End.ipynb", source)
    (served.folder / "go on 2").touch()

    async def is_idle() -> bool:
        return {kernel["execution_state"] for kernel in await served.get("api/kernels")} == {"idle"}

    await until(is_idle)
    async with page(chromium, shots, address(served, "End.ipynb")) as lab:
        await shows_all(lab)
        assert (await actors(served, "End.ipynb"))[0] == "kernel"
        await edit_and_save(lab)
        await lab.shot("kernel-output-end")
    assert whole((await served.cells("End.ipynb"))[0])


async def test_the_reader_edits_while_the_cell_runs(chromium: Browser, served: Served, shots: Path) -> None:
    """What comes for the cell that runs does not get in the way of its reader's own work."""
    source = (
        "import os, time\nprint(10)\nwhile not os.path.exists('go on 3'): time.sleep(0.05)\nprint('the end')"
    )
    await run_and_leave(chromium, served, shots, "Edited.ipynb", source)
    async with page(chromium, shots, address(served, "Edited.ipynb")) as lab:
        await expect(lab.cell(0).locator(".jp-InputPrompt")).to_have_text("[*]:")
        await lab.write("mine = 1")
        await expect(lab.page.locator(".lm-mod-current.jp-mod-dirty")).to_have_count(1)
        (served.folder / "go on 3").touch()
        await lab.shows(lab.cell(0), "the end")
        await expect(lab.cell(0).locator(".jp-InputPrompt")).to_have_text("[1]:")
        assert [cell["source"] for cell in await served.cells("Edited.ipynb")][1] == ""  # not saved by itself
        await lab.save()
        assert await lab.dialog.count() == 0
        first, second = (await served.cells("Edited.ipynb"))[:2]
        assert first["outputs"][0]["text"] == "10\nthe end\n"
        assert second["source"] == "mine = 1"
        ran = await lab.run("print('mine', mine)")
        await lab.shows(ran, re.compile("mine"))


async def until(check: Any) -> None:
    async with asyncio.timeout(60):
        while not await check():
            await asyncio.sleep(0.1)


async def another_client(served: Served) -> None:
    """It gets the messages that wait, and leaves."""
    for kernel in await served.get("api/kernels"):
        async with served.session.ws_connect(f"{served.url}api/kernels/{kernel['id']}/channels") as socket:
            await socket.receive()


@pytest.mark.parametrize("is_taken", [False, True], ids=["its messages wait", "another client had them"])
async def test_a_page_that_was_away_is_not_asked_which_version_counts(
    chromium: Browser, served: Served, shots: Path, is_taken: bool
) -> None:
    """Its computer has slept; meanwhile what came for it was put into the document."""
    source = f"import os, time\nprint(10)\nwhile not os.path.exists('go on 5 {is_taken}'): time.sleep(0.05)\nprint('the end')"
    name = f"Away {is_taken}.ipynb".replace(" ", "-")
    await put(served, name, source)
    connections: list[tuple[WebSocketRoute, WebSocketRoute]] = []
    awake = True

    async def connect(socket: WebSocketRoute) -> None:
        if awake:
            connections.append((socket, socket.connect_to_server()))
        else:
            await socket.close(code=4000)

    async with signed_out(chromium, shots) as lab:
        await lab.page.route_web_socket(re.compile("/api/kernels/[^/]+/channels"), connect)
        await lab.open(address(served, name))
        await lab.idle()
        await lab.save()
        await lab.cell(0).locator(".cm-content").click()
        await lab.page.keyboard.press("Shift+Enter")
        await lab.shows(lab.cell(0), "10")
        awake = False
        for page, server in connections:
            await server.close()
            await page.close(code=4000)

        async def is_written(text: str) -> bool:
            return text in "".join(one["text"] for one in (await served.cells(name))[0]["outputs"])

        await until(lambda: is_written("10"))
        (served.folder / f"go on 5 {is_taken}").touch()
        await until(lambda: is_written("the end"))
        assert (await actors(served, name))[0] == "kernel"
        if is_taken:
            await another_client(served)
        awake = True
        await lab.shows(lab.cell(0), "the end")
        await expect(lab.cell(0).locator(".jp-InputPrompt")).to_have_text("[1]:")
        await edit_and_save(lab)
        lab.watch.check()
    assert (await served.cells(name))[0]["outputs"][0]["text"] == "10\nthe end\n"


async def test_notebook_7_follows_too(chromium: Browser, served: Served, shots: Path) -> None:
    source = (
        "import os, time\nprint(10)\nwhile not os.path.exists('go on 4'): time.sleep(0.05)\nprint('the end')"
    )
    await run_and_leave(chromium, served, shots, "Seven.ipynb", source)
    async with signed_out(chromium, shots) as lab:
        lab.watch.expect(r"page error: .* \(reading 'schema'\)")  # Notebook's own, of its settings
        await lab.page.goto(served.address("notebooks/Seven.ipynb", token=TOKEN))
        await expect(lab.cell(0).locator(".jp-InputPrompt")).to_have_text("[*]:", timeout=30_000)
        await lab.shows(lab.cell(0), "10")
        (served.folder / "go on 4").touch()
        await lab.shows(lab.cell(0), "the end")

        async def is_saved() -> bool:
            return "the end" in (await served.cells("Seven.ipynb"))[0]["outputs"][0]["text"]

        await until(is_saved)
        await lab.shot("kernel-output-notebook")
        lab.watch.check()
