"""JupyterLab as its user sees it: plain verbs over menus, tabs, cells and the file browser.

Nothing here sleeps: every verb ends in a state that the page shows.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, FilePayload, Locator, Page, Response, ViewportSize, expect

from tests.browser.watch import Watch

SIZE: ViewportSize = {"width": 1200, "height": 800}
KERNEL = "Python 3 (ipykernel)"
NOTHING = '<svg xmlns="http://www.w3.org/2000/svg"/>'
PATIENCE = 30_000  # milliseconds for the page to show something

# Everything is closed and all kernels end, without a question; the launcher remains
CLEAR = """async () => {
  for (const widget of [...jupyterapp.shell.widgets('main')]) widget.dispose();
  await jupyterapp.serviceManager.sessions.shutdownAll();
  await jupyterapp.serviceManager.kernels.shutdownAll();
}"""


def exactly(text: str) -> re.Pattern[str]:
    return re.compile(rf"^\s*{re.escape(text)}\s*$")


class Lab:
    """One browser tab with JupyterLab in it."""

    def __init__(self, page: Page, watch: Watch, shots: Path) -> None:
        self.page = page
        self.watch = watch
        self.shots = shots
        page.set_default_timeout(PATIENCE)

    # -- the page -------------------------------------------------------------------

    async def open(self, address: str) -> None:
        """Load an address, and wait for JupyterLab."""
        await self.page.goto(address)
        await self.ready()

    async def reload(self) -> None:
        """Reload the page as it is."""
        await self.page.reload()
        await self.ready()

    async def ready(self) -> None:
        """Wait until the splash screen is gone and something is open."""
        await self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        await self.page.locator("#jp-main-dock-panel .lm-TabBar-tab").first.wait_for()

    async def clear(self) -> None:
        """An empty desk: all closed without saving, all kernels ended, the file browser at the root."""
        if await self.dialog.count():  # a test has failed before it
            await self.page.keyboard.press("Escape")
        await self.page.evaluate(CLEAR)
        await self.page.locator(".jp-LauncherCard").first.wait_for()
        await self.home()

    @asynccontextmanager
    async def another(self) -> AsyncGenerator[Lab]:
        """Another tab of the same browser."""
        page = await self.page.context.new_page()
        yield Lab(page, self.watch, self.shots)
        await page.close()

    async def shot(self, name: str) -> None:
        """A screenshot for people to look at."""
        await self.page.screenshot(path=self.shots / f"{name}.png")

    async def script(self, script: str, argument: Any = None) -> Any:
        """What a function in the page returns; `jupyterapp` is JupyterLab."""
        return await self.page.evaluate(script, argument)

    async def until(self, condition: str) -> None:
        """Wait until a condition in the page's own language holds."""
        await self.page.wait_for_function(condition)

    # -- menus and dialogs ----------------------------------------------------------

    async def menu(self, *labels: str) -> None:
        """Choose from the menu bar: `menu("File", "Save Notebook")`."""
        await self.page.locator(".lm-MenuBar-itemLabel", has_text=exactly(labels[0])).click()
        for label in labels[1:]:
            await self.choose(label)

    async def choose(self, label: str) -> None:
        """Choose from the menu that is open."""
        await self.page.locator(".lm-Menu-itemLabel", has_text=exactly(label)).click()

    async def command(self, label: str) -> None:
        """Run a command from the command palette."""
        await self.page.keyboard.press("Control+Shift+C")
        await self.page.locator(".lm-CommandPalette-input").fill(label)
        found = self.page.locator(".lm-CommandPalette-itemLabel", has_text=exactly(label))
        await found.first.click()

    @property
    def dialog(self) -> Locator:
        return self.page.locator(".jp-Dialog")

    async def accept(self, button: str) -> None:
        """Press this button of the dialog, and see it close; another one may open in its place."""
        element = await self.dialog.element_handle()
        await self.dialog.locator("button", has_text=exactly(button)).click()
        await element.wait_for_element_state("hidden")

    async def extension_manager(self) -> Locator:
        """Open the extension manager and confirm its warning. Returns the extensions that it lists."""
        # faces of their authors
        await self.page.route(
            "https://github.com/**", lambda route: route.fulfill(content_type="image/svg+xml", body=NOTHING)
        )
        await self.menu("View", "Extension Manager")
        await self.page.locator(".jp-extensionmanager-disclaimer button", has_text="Yes").click()
        return self.page.locator(".jp-extensionmanager-entry")

    # -- tabs -----------------------------------------------------------------------

    def tab(self, name: str) -> Locator:
        """The tab with this title in the main area."""
        return self.page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text=exactly(name))

    @property
    def panel(self) -> Locator:
        """The notebook in front."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    # -- notebooks ------------------------------------------------------------------

    async def new_notebook(self, name: str = "", *, kernel: str = KERNEL) -> None:
        """Start one from the launcher, with this kernel; with a name, save it under that."""
        await self.page.locator(f".jp-LauncherCard[data-category='Notebook'][title='{kernel}']").click()
        await self.state("Idle", kernel)
        if name:
            await self.save_as_new(name)

    async def save_as_new(self, name: str) -> None:
        """The first save of an untitled notebook."""
        await self.press("save")
        await self.name_it(name, was="Untitled.ipynb")

    async def name_it(self, name: str, *, was: str) -> None:
        """Give the name that the first save of an untitled file asks for."""
        self.watch.gone(was)
        await self.dialog.locator("input").first.fill(name)
        async with self.page.expect_response(is_new_checkpoint):
            await self.accept("Rename and Save")
        await self.tab(name).wait_for()
        await self.saved()

    async def save(self) -> None:
        """Press the save button, and wait until nothing is left to save."""
        async with self.page.expect_response(is_new_checkpoint):
            await self.press("save")
        await self.saved()

    async def rename(self, old: str, new: str) -> None:
        """Rename the notebook in front."""
        self.watch.gone(old)
        await self.menu("File", "Rename Notebook…")
        await self.dialog.locator("input").first.fill(new)
        await self.accept("Rename")
        await self.tab(new).wait_for()

    async def checkpoints(self) -> Locator:
        """Open the dialog to revert, and the list in it, newest first."""
        await self.menu("File", "Revert Notebook to Checkpoint…")
        return self.dialog.locator("option")

    async def revert(self, index: int) -> None:
        """Go back to a checkpoint, 0 is the newest."""
        await self.checkpoints()
        await self.dialog.locator("select").select_option(index=index)
        await self.accept("Ok")
        await self.accept("Revert")

    async def saved(self) -> None:
        """Wait until the notebook in front is saved."""
        await expect(self.page.locator(".lm-mod-current.jp-mod-dirty")).to_have_count(0)

    async def press(self, button: str) -> None:
        """Press a button of the notebook's toolbar, by its `data-jp-item-name`."""
        await self.panel.locator(f".jp-Toolbar-item[data-jp-item-name='{button}']").click()

    @property
    def cells(self) -> Locator:
        """Those cells of the notebook in front that fit on the screen."""
        return self.panel.locator(".jp-Cell")

    def cell(self, index: int) -> Locator:
        return self.panel.locator(f".jp-Cell[data-windowed-list-index='{index}']")

    async def write(self, code: str) -> Locator:
        """Put code into the last cell."""
        last = self.cells.last
        index = int(await last.get_attribute("data-windowed-list-index") or 0)
        await last.locator(".cm-content").click()
        await self.page.keyboard.insert_text(code)
        return self.cell(index)

    async def start(self, code: str) -> Locator:
        """Run code in the last cell, and don't wait for its end."""
        cell = await self.write(code)
        await self.page.keyboard.press("Shift+Enter")
        return cell

    async def run(self, code: str) -> Locator:
        """Run code in the last cell, to its end."""
        cell = await self.start(code)
        await self.finished(cell)
        return cell

    async def answer(self, cell: Locator, text: str) -> None:
        """Type into the field that `input()` shows."""
        await cell.locator(".jp-Stdin-input").fill(text)
        await self.page.keyboard.press("Enter")

    async def in_console(self, code: str) -> None:
        """Run code in the console that is open."""
        await self.page.locator(".jp-CodeConsole-input .cm-content").click()
        await self.page.keyboard.insert_text(code)
        await self.page.keyboard.press("Shift+Enter")

    async def finished(self, cell: Locator) -> None:
        """Wait until the cell shows its execution's number."""
        await expect(cell.locator(".jp-InputPrompt")).to_have_text(
            re.compile(r"^\[\d+\]:$"), timeout=PATIENCE
        )

    async def shows(self, cell: Locator, text: str | re.Pattern[str]) -> None:
        """Wait until this text is in the cell's output."""
        await expect(cell.locator(".jp-OutputArea")).to_contain_text(text, timeout=PATIENCE)

    async def state(self, state: str, kernel: str = KERNEL) -> None:
        """Wait until the status bar shows the kernel in this state."""
        status = self.page.locator("#jp-main-statusbar", has_text=f"{kernel} | {state}")
        await status.wait_for()

    async def idle(self) -> None:
        await self.state("Idle")

    # -- files ----------------------------------------------------------------------

    def file(self, name: str) -> Locator:
        """The line of the file browser with this name."""
        text = self.page.locator(".jp-DirListing-itemText", has_text=exactly(name))
        return self.page.locator(".jp-DirListing-item", has=text)

    async def home(self) -> None:
        """Go to the root."""
        await self.page.locator(".jp-BreadCrumbs-home").click()
        await expect(self.page.locator(".jp-BreadCrumbs-item")).to_have_count(0)

    async def refresh(self) -> None:
        """Read the folder anew."""
        async with self.page.expect_response(lambda response: "/api/contents" in response.url):
            await self.browser_button("refresh")

    async def enter(self, folder: str) -> None:
        """Go into a folder."""
        await self.file(folder).dblclick()
        await self.page.locator(".jp-BreadCrumbs-item", has_text=exactly(folder)).wait_for()

    async def upload(self, *files: FilePayload) -> None:
        """Upload files by the button, and wait until they are in the list."""
        async with self.page.expect_file_chooser() as chooser:
            await self.browser_button("uploader")
        await (await chooser.value).set_files(files)
        for file in files:
            await self.file(file["name"]).wait_for()

    async def browser_button(self, name: str) -> None:
        """Press a button of the file browser's toolbar, by its `data-jp-item-name`."""
        await self.page.locator(f".jp-FileBrowser-toolbar [data-jp-item-name='{name}']").click()

    async def new_folder(self, name: str) -> None:
        await self.browser_button("new-directory")
        await self._name(name)

    async def rename_file(self, old: str, new: str) -> None:
        self.watch.gone(old)
        await self.with_file(old, "Rename")
        await self._name(new)

    async def _name(self, name: str) -> None:
        await self.page.locator(".jp-DirListing-editor").fill(name)
        await self.page.keyboard.press("Enter")
        await self.file(name).wait_for()

    async def open_file(self, name: str, factory: str = "") -> None:
        """Open a file by a double click, or with a certain viewer."""
        if factory:
            await self.with_file(name, "Open With", factory)
        else:
            await self.file(name).dblclick()
        await self.tab(name).last.wait_for()

    async def with_file(self, name: str, *labels: str) -> None:
        """Choose from a file's context menu."""
        await self.file(name).click(button="right")
        for label in labels:
            await self.choose(label)

    async def paste(self) -> None:
        """Paste into the folder that is shown."""
        content = self.page.locator(".jp-DirListing-content")
        box = await content.bounding_box()
        assert box is not None
        # below the last file
        await content.click(button="right", position={"x": 60, "y": box["height"] - 20})
        await self.choose("Paste")

    async def drag(self, name: str, folder: str) -> None:
        """Drag a file onto a folder of the same list, and see it go."""
        start, end = await middle(self.file(name)), await middle(self.file(folder))
        mouse = self.page.mouse
        await mouse.move(*start)
        await mouse.down()
        await mouse.move(start[0] + 10, start[1] + 5, steps=3)  # far enough to be a drag
        await mouse.move(*end, steps=8)
        await mouse.up()
        await self.file(name).wait_for(state="detached")

    async def delete(self, name: str) -> None:
        self.watch.gone(name)
        await self.with_file(name, "Move to Trash")
        await self.accept("Move to Trash")
        await self.file(name).wait_for(state="detached")


@asynccontextmanager
async def signed_out(chromium: Browser, shots: Path) -> AsyncGenerator[Lab]:
    """A tab of a browser without cookies, with nothing loaded."""
    context = await chromium.new_context(viewport=SIZE)
    watch = Watch(context)
    yield Lab(await context.new_page(), watch, shots)
    await context.close()


def is_new_checkpoint(response: Response) -> bool:
    """The last answer of an explicit save."""
    return response.request.method == "POST" and response.url.partition("?")[0].endswith("/checkpoints")


async def middle(locator: Locator) -> tuple[float, float]:
    """The middle of what is shown there."""
    box = await locator.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
