"""The file browser: upload, folders, move, duplicate, delete, and addresses that open a file."""

from __future__ import annotations

import random

import pytest
from playwright.async_api import expect

from tests.browser.lab import Lab
from tests.browser.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHUNK = 1024 * 1024  # bytes; JupyterLab sends larger files in pieces of that size


async def test_upload(lab: Lab, served: Served) -> None:
    small, large = b"line\r\n\xc3\xa4 end", random.Random(1).randbytes(3 * CHUNK + 12345)
    await lab.upload(
        {"name": "small.txt", "mimeType": "text/plain", "buffer": small},
        {"name": "large.bin", "mimeType": "application/octet-stream", "buffer": large},
    )
    await lab.shot("uploaded")
    assert await served.read("small.txt") == small
    assert await served.read("large.bin") == large
    versions = (await served.get("api/history/versions/large.bin"))["versions"]
    assert [version["event"] for version in versions] == ["FileSaved", "EntryCreated"]


async def test_folders_move_duplicate_delete(lab: Lab, served: Served) -> None:
    for name in ("dragged.txt", "cut.txt", "stays.txt"):
        await served.put(name, name)
    await lab.refresh()
    await lab.new_folder("data")
    await lab.drag("dragged.txt", "data")
    await lab.with_file("cut.txt", "Cut")
    await lab.enter("data")
    await lab.paste()
    await lab.file("cut.txt").wait_for()
    await lab.with_file("cut.txt", "Duplicate")
    await lab.file("cut-Copy1.txt").wait_for()
    await lab.rename_file("dragged.txt", "dropped.txt")
    await lab.shot("folder")
    assert await served.names("data") == {"dropped.txt", "cut.txt", "cut-Copy1.txt"}
    assert await served.read("data/cut-Copy1.txt") == b"cut.txt"
    await lab.delete("cut.txt")
    assert await served.names("data") == {"dropped.txt", "cut-Copy1.txt"}
    await lab.home()
    await lab.delete("data")  # which is not empty
    assert "data" not in await served.names()
    deleted = (await served.get("api/history/deleted"))["deleted"]
    assert {"data", "data/cut.txt"} <= {entry["path"] for entry in deleted}


async def test_a_renamed_folder_takes_its_open_notebook_along(lab: Lab, served: Served) -> None:
    await lab.new_folder("old")
    await lab.enter("old")
    await lab.new_notebook("Inside.ipynb")
    await lab.run("x = 5")
    await lab.save()
    await lab.home()
    await lab.rename_file("old", "new")
    await lab.shows(await lab.run("print(x)"), "5")
    await lab.save()
    assert [session["path"] for session in await served.get("api/sessions")] == ["new/Inside.ipynb"]
    assert await served.names("new") == {"Inside.ipynb"}
    assert "old" not in await served.names()


async def test_an_address_opens_a_file(lab: Lab, served: Served) -> None:
    folder, name = "50 % #1", "ä + ?.txt"
    await lab.new_folder(folder)
    await served.put(f"{folder}/{name}", "opened by its address")
    await lab.open(served.address(f"lab/tree/{folder}/{name}"))
    await lab.tab(name).wait_for()
    await expect(lab.page.locator(".jp-FileEditor")).to_contain_text("opened by its address")
    await lab.file(name).wait_for()  # the file browser is in the folder
