"""A document is open in JupyterLab, and its file is deleted by git or by hand: nothing is lost, and nobody is bothered.

What JupyterLab 4 does: nothing, until the document is saved. Its tab stays, with all that is in it, and so do the
kernel and the session; the file browser shows that the file has gone. A save asks for the file first (404), and
then just saves it (201), without a question. The server takes that for what it is: the deleted file comes back, with its history
and its checkpoints, so that File > Revert goes on working. When the folder has gone as well, the file browser says so
once, if it was open there, and goes to the root; every autosave would then fail with a dialog, every two minutes,
as with jupyter_server. Here the folder is made anew for the one file that is saved.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.lab import Lab
from tests.browser.served import Served
from tests.git_repository import commit, git
from tests.notebooks import code_cell, notebook

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE = 30  # seconds for JupyterLab to save by itself
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
ASKED = r"status of 404 .*/Doc\.ipynb\?content=0|status 404: GET .*/Doc\.ipynb\?content=0"  # before a save
AUTOSAVE = """seconds => jupyterapp.serviceManager.settings.save(
    '@jupyterlab/docmanager-extension:plugin', JSON.stringify({autosaveInterval: seconds}))"""


async def events(served: Served, path: str) -> list[str]:
    """What happened to a file, the newest first."""
    versions: list[dict[str, Any]] = (await served.get(f"api/history/versions/{path}"))["versions"]
    return [one["event"] for one in versions]


async def test_a_checkout_deletes_the_file(lab: Lab, served: Served) -> None:
    """Of a branch that does not have it."""
    git(served.folder, "init", "--quiet", "--initial-branch", "main")
    (served.folder / "README").write_text("a project")
    commit(served.folder, "Without the notebook")
    git(served.folder, "checkout", "--quiet", "-b", "with")
    (served.folder / "Doc.ipynb").write_text(json.dumps(notebook(code_cell(""), kernelspec=KERNEL)))
    commit(served.folder, "With the notebook")
    await lab.file("Doc.ipynb").wait_for()
    await lab.open_file("Doc.ipynb")
    await lab.idle()
    await lab.run("x = 'kept'")
    await lab.save()
    before = await events(served, "Doc.ipynb")
    await lab.write("'not saved yet'")
    lab.watch.expect(ASKED)

    git(served.folder, "checkout", "--quiet", "--force", "main")
    await lab.file("Doc.ipynb").wait_for(state="detached")
    await expect(lab.tab("Doc.ipynb")).to_have_count(1)
    assert [one["path"] for one in await served.get("api/sessions")] == ["Doc.ipynb"]
    await lab.shows(await lab.run("; print(x)"), "kept")
    assert await lab.dialog.count() == 0
    await lab.shot("deleted-while-open")

    await lab.save()
    assert await lab.dialog.count() == 0
    await lab.file("Doc.ipynb").wait_for()
    assert "'not saved yet'" in (served.folder / "Doc.ipynb").read_text()
    now = await events(served, "Doc.ipynb")
    assert now == ["CheckpointCreated", "FileSaved", "EntryUndeleted", "EntryDeleted", *before]
    assert git(served.folder, "status", "--porcelain", "Doc.ipynb") == b"?? Doc.ipynb\n"

    await expect(await lab.checkpoints()).to_have_count(3)  # those of before it was deleted, too
    await lab.page.keyboard.press("Escape")
    await lab.revert(1)
    await expect(lab.panel).not_to_contain_text("not saved yet")


async def test_the_folder_goes_as_well(lab: Lab, served: Served) -> None:
    """And JupyterLab, which saves by itself, goes on doing so."""
    await lab.script(AUTOSAVE, 1)
    await lab.reload()
    folder = served.folder / "work"
    folder.mkdir()
    for name in ("Doc.ipynb", "Other.ipynb"):
        (folder / name).write_text(json.dumps(notebook(code_cell(""), kernelspec=KERNEL)))
    await lab.file("work").wait_for()
    await lab.enter("work")
    await lab.open_file("Doc.ipynb")
    await lab.idle()
    await lab.home()
    lab.watch.expect(ASKED)

    async with lab.page.expect_response(
        lambda response: response.status == 201 and "work/Doc.ipynb?" in response.url
    ):
        shutil.rmtree(folder)
        await lab.write("'saved by itself'")
    async with asyncio.timeout(PATIENCE):
        while "saved by itself" not in (folder / "Doc.ipynb").read_text():
            await asyncio.sleep(0.1)
    await lab.saved()
    await lab.script(AUTOSAVE, 120)
    assert await lab.dialog.count() == 0
    assert [path.name for path in folder.iterdir()] == ["Doc.ipynb"]
    assert "EntryUndeleted" in await events(served, "work/Doc.ipynb")
    await lab.file("work").wait_for()
