"""Around JupyterLab: editors and viewers, settings and themes, workspaces, completion and debugger."""

from __future__ import annotations

import base64

import pytest
from playwright.async_api import expect

from tests.browser.lab import Lab
from tests.browser.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mP8z8BQz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC"
)
BREAK_HERE = "def double(n):\n    m = n + n\n    return m\ndouble(21)"


async def test_a_text_file_and_its_preview(lab: Lab, served: Served) -> None:
    await lab.page.locator(".jp-LauncherCard", has_text="Markdown File").click()
    editor = lab.page.locator(".jp-FileEditor .cm-content")
    await editor.click()
    await lab.page.keyboard.insert_text("# A title\n\nwith *words* and $x^2$\n")
    await lab.menu("File", "Save Markdown File")
    await lab.name_it("Notes.md", was="untitled.md")
    assert await served.read("Notes.md") == b"# A title\n\nwith *words* and $x^2$\n"
    await lab.with_file("Notes.md", "Open With", "Markdown Preview")
    preview = lab.page.locator(".jp-MarkdownViewer")
    await expect(preview.locator("h1")).to_contain_text("A title")
    await preview.locator("mjx-container").wait_for()
    await lab.tab("Notes.md").first.click()
    await editor.click()
    await lab.page.keyboard.press("Control+End")
    await lab.page.keyboard.insert_text("more")
    await lab.page.keyboard.press("Control+s")
    await expect(preview).to_contain_text("more")
    await lab.shot("markdown")


async def test_viewers(lab: Lab) -> None:
    table = "".join(f"{i},{i * i}\n" for i in range(1000))
    await lab.upload(
        {"name": "table.csv", "mimeType": "text/csv", "buffer": f"n,square\n{table}".encode()},
        {"name": "tree.json", "mimeType": "application/json", "buffer": b'{"branch": [1, {"leaf": null}]}'},
        {"name": "red.png", "mimeType": "image/png", "buffer": PIXEL},
        {"name": "page.html", "mimeType": "text/html", "buffer": b"<h1>A page</h1>"},
    )
    for name, viewer in (
        ("table.csv", ".jp-CSVViewer canvas >> nth=0"),
        ("tree.json", ".jp-RenderedJSON :text('branch')"),
        ("red.png", ".jp-ImageViewer img"),
        ("page.html", ".jp-HTMLViewer iframe"),
    ):
        await lab.file(name).dblclick()
        await lab.page.locator(viewer).wait_for()
    await expect(lab.page.frame_locator(".jp-HTMLViewer iframe").locator("h1")).to_have_text("A page")
    await lab.tab("table.csv").click()
    await lab.shot("viewers")


async def test_pictures_beside_a_notebook(lab: Lab, served: Served) -> None:
    """They come from /files, which lets in our own pages only."""
    await lab.new_folder("with picture")
    await lab.enter("with picture")
    await lab.upload({"name": "a b#.png", "mimeType": "image/png", "buffer": PIXEL})
    await lab.clear()
    await lab.enter("with picture")
    await lab.new_notebook("Beside.ipynb")
    await lab.run('from IPython.display import HTML; HTML(\'<img src="a%20b%23.png" id="beside">\')')
    await lab.until("document.querySelector('#beside')?.naturalWidth === 10")


async def test_a_theme_is_remembered(lab: Lab) -> None:
    theme = lab.page.locator("body[data-jp-theme-name='JupyterLab Dark']")
    async with lab.page.expect_response(
        lambda reply: reply.request.method == "PUT" and "themes" in reply.url
    ):
        await lab.menu("Settings", "Theme", "JupyterLab Dark")
    await theme.wait_for(state="attached")
    await lab.reload()
    await theme.wait_for(state="attached")
    await lab.shot("dark")
    await lab.menu("Settings", "Theme", "JupyterLab Light")
    await theme.wait_for(state="detached")


async def test_filter_and_palette(lab: Lab, served: Served) -> None:
    for name in ("one.txt", "two.txt"):
        await served.put(name, name)
    await lab.refresh()
    await lab.browser_button("toggle-file-filter")
    await lab.page.locator(".jp-FileBrowser-filterBox input").fill("tw")
    await lab.file("one.txt").wait_for(state="detached")
    await lab.file("two.txt").wait_for()
    await lab.browser_button("toggle-file-filter")
    await lab.file("one.txt").wait_for()
    await lab.command("Open from Path…")
    await lab.dialog.locator("input").fill("two.txt")
    await lab.accept("Open")
    await expect(lab.page.locator(".jp-FileEditor")).to_contain_text("two.txt")


async def test_the_workspace_comes_back_and_can_be_reset(lab: Lab, served: Served) -> None:
    await served.put("kept.txt", "a tab that stays")
    await lab.refresh()
    async with lab.page.expect_response(
        lambda reply: reply.request.method == "PUT" and "workspaces" in reply.url
    ):
        await lab.file("kept.txt").dblclick()
        await lab.tab("kept.txt").wait_for()
    await lab.reload()
    await lab.tab("kept.txt").wait_for()
    await lab.open(served.address("lab") + "?reset")
    await expect(lab.tab("kept.txt")).to_have_count(0)


async def test_two_who_save_are_both_kept(lab: Lab, served: Served) -> None:
    await lab.new_notebook("Both.ipynb")
    async with lab.another() as other:
        await other.open(served.address("lab/tree/Both.ipynb"))
        await other.idle()
        await other.write("'the other'")
        await other.save()
    await lab.write("'the first'")
    await lab.press("save")
    await lab.dialog.filter(
        has_text="has changed on disk since the last time it was opened or saved"
    ).wait_for()
    await lab.accept("Overwrite")
    await lab.saved()
    versions = (await served.get("api/history/versions/Both.ipynb"))["versions"]
    first, other = [version["offset"] for version in versions if version["event"] == "FileSaved"][:2]
    for offset, source in ((first, "'the first'"), (other, "'the other'")):
        model = await served.get(f"api/contents/Both.ipynb?at={offset}")
        assert [cell["source"] for cell in model["content"]["cells"]] == [source]


async def test_completion_and_debugger(lab: Lab) -> None:
    await lab.new_notebook("Debug.ipynb")
    await lab.run("import os")
    await lab.write("os.getpi")
    await lab.page.keyboard.press("Tab")
    await lab.page.locator(".jp-Completer-item").wait_for()
    await lab.page.keyboard.press("Enter")
    await lab.shows(await lab.run("() > 0"), "True")
    await lab.press("debugger-icon")
    await lab.page.locator(".jp-DebuggerBugButton[aria-pressed='true']").wait_for()
    cell = await lab.write(BREAK_HERE)
    await cell.locator(".cm-breakpoint-gutter .cm-gutterElement").nth(2).click()
    await lab.start("")
    await lab.page.locator(".jp-DebuggerCallstack-body", has_text="double").wait_for()
    await lab.shot("debugger")
    await lab.page.keyboard.press("F9")  # continue
    await lab.finished(cell)
    await lab.shows(cell, "42")
