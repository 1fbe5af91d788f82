"""A terminal in JupyterLab: opened, typed into, resized, left and found again, closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Locator

from tests.browser.lab import Lab, exactly
from tests.browser.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

# JupyterLab paints terminals on a canvas, so what they show is read from where it is painted from.
SHOWS = """text => {
  const widget = jupyterapp.shell.currentWidget?.content?._term;
  if (!widget) return false;
  const lines = widget.buffer.active, shown = [];
  for (let i = 0; i < lines.length; i++) shown.push(lines.getLine(i).translateToString(true));
  return shown.join('\\n').includes(text);
}"""


class Screen:
    """The terminal in front, as its user sees it."""

    def __init__(self, lab: Lab, served: Served) -> None:
        self._lab = lab
        self._served = served
        self._measured = 0  # times

    @property
    def node(self) -> Locator:
        return self._lab.page.locator(".jp-Terminal:not(.lm-mod-hidden)")

    async def type(self, text: str) -> None:
        await self.node.click()
        await self._lab.page.keyboard.type(text)
        await self._lab.page.keyboard.press("Enter")

    async def shows(self, text: str) -> None:
        await self._lab.page.wait_for_function(SHOWS, arg=text)

    async def ready(self) -> None:
        """Wait until the shell answers."""
        await self.node.wait_for()
        await self.type("PS1='%'; echo rea''dy")
        await self.shows("ready\n%")

    async def size(self) -> tuple[int, int]:
        """Rows and columns, as programs see them."""
        self._measured += 1
        await self.type(f"clear; stty size > size.txt; echo measu''red {self._measured}")
        await self.shows(f"measured {self._measured}\n")
        rows, columns = (self._served.folder / "size.txt").read_text().split()
        return int(rows), int(columns)


@asynccontextmanager
async def terminal(lab: Lab, served: Served) -> AsyncIterator[Screen]:
    """A new terminal, from the launcher."""
    await lab.page.locator(".jp-LauncherCard", has_text=exactly("Terminal")).click()
    screen = Screen(lab, served)
    await screen.ready()
    try:
        yield screen
    finally:
        await lab.script("() => jupyterapp.serviceManager.terminals.shutdownAll()")
        await lab.page.locator(".jp-Terminal").wait_for(state="detached")


async def test_open_type_and_exit(lab: Lab, served: Served) -> None:
    async with terminal(lab, served) as screen:
        await screen.type("echo é-$((6 * 7)); pwd")
        await screen.shows("é-42\n")
        await screen.shows(str(served.folder))
        await lab.shot("terminal")
        assert [model["name"] for model in await served.get("api/terminals")] == ["1"]
        await screen.type("exit")
        await screen.node.wait_for(state="detached")
        assert await served.get("api/terminals") == []


async def test_it_starts_in_the_folder_that_is_open(lab: Lab, served: Served) -> None:
    await lab.new_folder("on disk, too")
    await lab.enter("on disk, too")
    async with terminal(lab, served) as screen:
        await screen.type("pwd")
        await screen.shows(f"{served.folder}/on disk, too\n")


async def test_its_size_is_that_of_the_window(lab: Lab, served: Served) -> None:
    async with terminal(lab, served) as screen:
        rows, columns = await screen.size()
        before = lab.page.viewport_size
        assert before is not None
        await lab.page.set_viewport_size({"width": 900, "height": 500})
        await lab.until(f"jupyterapp.shell.currentWidget.content._term.rows < {rows}")
        fewer_rows, fewer_columns = await screen.size()
        assert fewer_rows < rows and fewer_columns < columns
        await lab.page.set_viewport_size(before)
        await lab.until(f"jupyterapp.shell.currentWidget.content._term.rows === {rows}")
        assert await screen.size() == (rows, columns)


async def test_what_was_printed_is_there_after_a_reload(lab: Lab, served: Served) -> None:
    async with terminal(lab, served) as screen:
        await screen.type("printf 'before-%s-reload\\n' the; sleep 1000")
        await screen.shows("before-the-reload\n")
        await lab.reload()
        await lab.tab("Terminal 1").click()
        await screen.shows("before-the-reload\n")
        await lab.page.keyboard.press("Control+c")
        await screen.shows("^C")


async def test_a_flood_leaves_the_page_alive(lab: Lab, served: Served) -> None:
    async with terminal(lab, served) as screen:
        await screen.type("clear; seq 3000000; echo do''ne")
        await screen.shows("3000000\ndone\n")
        await screen.type("clear; yes")
        await screen.shows("y\ny\ny\n")
        await lab.page.keyboard.press("Control+c")
        await screen.type("")
        await screen.type("clear; echo sti''ll here")
        await screen.shows("still here\n")


async def test_closing_it_in_the_list_ends_it(lab: Lab, served: Served) -> None:
    async with terminal(lab, served):
        await lab.page.locator("[data-id='jp-running-sessions']").click()
        row = lab.page.locator(".jp-RunningSessions-item", has_text="terminals/1").last
        await row.scroll_into_view_if_needed()
        await row.hover()
        await row.locator(".jp-RunningSessions-itemShutdown").click()
        await lab.page.locator(".jp-Terminal").wait_for(state="detached")
        assert await served.get("api/terminals") == []
        await lab.page.locator("[data-id='filebrowser']").click()
