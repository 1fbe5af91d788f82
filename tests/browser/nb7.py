"""Notebook 7 as its user sees it: a page for the files, and one for each notebook, text file, console or terminal.

Menus, dialogs, cells and outputs are JupyterLab's, and so are the verbs for them; nothing here sleeps either.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from playwright.async_api import Locator, expect

from tests.browser.lab import KERNEL, PATIENCE, Lab, exactly, is_new_checkpoint

READY = ".jp-FileBrowser, .jp-NotebookPanel, .jp-FileEditor, .jp-ConsolePanel, .jp-Terminal"


class Notebook7(Lab):
    """One browser tab with a page of Notebook 7 in it."""

    async def ready(self) -> None:
        """Wait until what the page is about is there."""
        await self.page.locator(READY).first.wait_for()

    async def idle(self) -> None:
        await self.state("idle")

    async def state(self, state: str) -> None:
        """Wait until the notebook shows its kernel in this state."""
        await self.page.locator(f".jp-Notebook-ExecutionIndicator[data-status='{state}']").wait_for()

    # -- the page of files ----------------------------------------------------------------

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Notebook7]:
        """In the block, something opens another tab; after it, the tab that this yields is ready."""
        tab = Notebook7.__new__(Notebook7)
        async with self.page.context.expect_page() as opening:
            yield tab
        Notebook7.__init__(tab, await opening.value, self.watch, self.shots)
        await tab.ready()

    async def new(self, kind: str) -> Notebook7:
        """Choose from the button New what opens another tab."""
        async with self.opened() as tab:
            await self.menu("New", kind)
        if kind == KERNEL:
            await tab.started(kind)
        return tab

    async def started(self, kernel: str) -> None:
        """Wait until a new notebook has its kernel, which it may have to be told once more.

        The page of files starts it, but not if it has saved the notebook before it has learned of its checkpoints: on
        a busy machine either can be first. It has closed the notebook by then.
        """
        has_kernel = self.page.locator(".jp-KernelName", has_text=exactly(kernel))
        await has_kernel.or_(self.dialog).first.wait_for()
        if await self.dialog.count():
            await self.accept("Select")
            await has_kernel.wait_for()

    async def enter(self, folder: str) -> None:
        await self.file(folder).dblclick()
        await self.page.locator(".jp-BreadCrumbs-item", has_text=exactly(folder)).wait_for()

    async def show(self, tab: str) -> None:
        """Bring `Files` or `Running` to the front."""
        await self.page.locator(".jp-TreePanel .lm-TabBar-tab", has_text=exactly(tab)).click()

    # -- the pages of documents -----------------------------------------------------------

    @property
    def title(self) -> Locator:
        return self.page.locator("#jp-title h1, #jp-title .jp-title")

    @property
    def checkpoint(self) -> Locator:
        """What stands beside the title: how long ago the last checkpoint was."""
        return self.page.locator(".jp-NotebookCheckpoint")

    async def save(self) -> None:
        """Press the save button, and wait until it is done."""
        async with self.page.expect_response(is_new_checkpoint):
            await self.press("save")

    async def rename(self, old: str, new: str) -> None:
        """Rename the document by a click on its title."""
        self.watch.gone(old)
        await self.title.click()
        await self.dialog.locator("input").first.fill(new)
        await self.accept("Rename")
        await expect(self.title).to_have_text(new.removesuffix(".ipynb"), timeout=PATIENCE)

    async def at(self, address: str) -> None:
        """Wait until this is the page's address."""
        await expect(self.page).to_have_url(re.compile(re.escape(address) + "$"), timeout=PATIENCE)
