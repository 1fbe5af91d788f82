"""Notebooks exported from JupyterLab's menu, and HTML files looked at: in the viewer, at /view, by a pasted link."""

from __future__ import annotations

import pytest
from playwright.async_api import Download, expect

from tests.browser.lab import Lab
from tests.browser.served import TOKEN, Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What a script of it may do shows in its heading
PAGE = """<!doctype html><meta charset="utf-8"><h1>ä</h1><script>
let can = 'no storage';
try { localStorage.x = 1; can = 'storage'; } catch {}
document.querySelector('h1').textContent = `ä script, ${can}, ${location.search}`;
</script>"""


async def exported(lab: Lab, format: str) -> Download:
    """What the menu entry for this format downloads, in a tab of its own that closes at once."""
    async with lab.page.context.expect_event("download") as download:
        await lab.menu("File", "Save and Export Notebook As", format)
        if format == "HTML":
            await lab.accept("Ok")  # sanitized
    return await download.value


async def test_a_notebook_is_exported_to_html(lab: Lab, served: Served) -> None:
    async with lab.page.expect_response("**/api/nbconvert**") as formats:  # with which the menu is filled
        await lab.new_notebook("report.ipynb")
    assert (await formats.value).status == 200
    cell = await lab.run("print(6 * 7)")
    await lab.shows(cell, "42")
    await lab.save()
    download = await exported(lab, "HTML")
    assert download.suggested_filename == "report.html"
    text = (await download.path()).read_text()
    assert "<title>report</title>" in text
    assert "<pre>42\n</pre>" in text
    for format, name in {"Markdown": "report.md", "Executable Script": "report.py"}.items():
        assert (await exported(lab, format)).suggested_filename == name


async def test_an_html_file_is_viewed(lab: Lab, served: Served) -> None:
    await served.put("page.html", PAGE)
    await lab.refresh()
    lab.watch.expect("Blocked script execution in 'blob:")  # JupyterLab's viewer, until the user trusts it
    await lab.open_file("page.html", "HTML Viewer")
    await expect(lab.page.frame_locator(".jp-HTMLViewer iframe").locator("h1")).to_contain_text("ä")
    await lab.shot("html-viewer")
    async with lab.another() as tab:
        await tab.page.goto(served.address("view/page.html"))
        heading = tab.page.frame_locator("#iframe").locator("h1")
        await expect(heading).to_have_text("ä script, no storage, ")
        await expect(tab.page).to_have_title("page.html")
        await tab.shot("view")


async def test_a_pasted_link_with_the_token(lab: Lab, served: Served) -> None:
    await served.put("page.html", PAGE)
    async with lab.another() as tab:
        await tab.page.goto(served.address("files/page.html", token=TOKEN))
        await expect(tab.page.locator("h1")).to_contain_text("ä script, no storage, ?_xsrf=")
        assert TOKEN not in tab.page.url
