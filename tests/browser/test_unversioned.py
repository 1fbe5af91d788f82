"""What has no versions, in JupyterLab: opened, edited, run, renamed and deleted without a word of complaint."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.lab import Lab
from tests.browser.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_folder_without_versions(lab: Lab, served: Served) -> None:
    folder = served.folder
    (folder / ".evstoreignore").write_text("data/\n")
    (folder / "data").mkdir()
    (folder / "data" / "table.txt").write_text("from a program")
    (folder / "kept.txt").write_text("with versions")
    (folder / "link.txt").symlink_to("kept.txt")
    await lab.refresh()
    await lab.file("link.txt").wait_for()
    await lab.enter("data")
    await lab.new_notebook("Here.ipynb")
    await lab.shows(await lab.run("print(open('table.txt').read().split()[-1])"), "program")
    await lab.save()
    assert "Here.ipynb" in await served.names("data")
    await lab.open_file("table.txt")
    editor = lab.page.locator(".jp-FileEditor .cm-content")
    await expect(editor).to_contain_text("from a program")
    await editor.click()
    await lab.page.keyboard.type("edited ")
    await lab.menu("File", "Save Text")
    await lab.saved()
    assert b"edited " in (folder / "data" / "table.txt").read_bytes()
    await expect(lab.dialog).to_have_count(0)
    head = (await served.get("api/history/log"))["head"]
    await lab.rename_file("table.txt", "renamed.txt")
    await lab.delete("renamed.txt")
    assert not (folder / "data" / "renamed.txt").exists()
    (thrown,) = (folder / ".evstore" / "trash").glob("*-renamed.txt")
    assert "edited" in thrown.read_text()
    await lab.home()
    await lab.open_file("link.txt")
    await expect(lab.page.locator(".jp-FileEditor").last).to_contain_text("with versions")
    await lab.shot("unversioned")
    assert (await served.get("api/history/log"))["head"] == head
    events = (await served.get("api/history/log?limit=1000"))["events"]
    assert not [one for one in events if (one["path"] or "").startswith("data")]
