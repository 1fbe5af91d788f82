"""Ways in and out: the login page, logout, another base url, and shutting down from the menu."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.lab import signed_out
from tests.browser.served import TOKEN, Served, serve

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_login_and_logout(chromium: Browser, served: Served, shots: Path) -> None:
    async with signed_out(chromium, shots) as lab:
        page = lab.page
        await page.goto(served.address("lab/tree/notes.txt"))
        assert page.url.startswith(served.address("login"))
        await lab.shot("login")
        lab.watch.expect(r"401.*/login")
        await page.locator("input[type=password]").fill("wrong")
        await page.keyboard.press("Enter")
        await page.get_by_text("Invalid credentials").wait_for()
        await lab.shot("login-refused")
        await served.put("notes.txt", "let in")
        await page.locator("input[type=password]").fill(TOKEN)
        await page.keyboard.press("Enter")
        await lab.ready()
        await expect(page.locator(".jp-FileEditor")).to_contain_text("let in")
        await lab.menu("File", "Log Out")
        await page.get_by_text("Successfully logged out").wait_for()
        await lab.shot("logout")
        refused = await page.request.get(served.address("api/contents"))
        assert refused.status == 403
        lab.watch.check()
    assert served.complaints() == []


async def test_another_base_url(chromium: Browser, tmp_path: Path, shots: Path) -> None:
    """Below a path with a character that is escaped, as a hub may hand it out."""
    folder = tmp_path / "work"
    async with (
        serve(folder, tmp_path, "--base-url=/user/ada%40home/") as served,
        signed_out(chromium, shots) as lab,
    ):
        assert "/user/ada%40home/" in served.url
        await lab.open(served.address("lab", token=TOKEN))
        await lab.new_notebook("Based.ipynb")
        await lab.shows(await lab.run("print('below a path')"), "below a path")
        await lab.save()
        await lab.reload()
        await lab.idle()
        await lab.shows(lab.cell(0), "below a path")
        await lab.upload({"name": "p.txt", "mimeType": "text/plain", "buffer": b"x"})
        assert await served.names() == {"Based.ipynb", "p.txt"}
        lab.watch.check()


async def test_shutting_down_from_the_menu(chromium: Browser, tmp_path: Path, shots: Path) -> None:
    async with serve(tmp_path / "work", tmp_path) as served, signed_out(chromium, shots) as lab:
        await lab.open(served.address("lab", token=TOKEN))
        await lab.new_notebook("Open.ipynb")
        await lab.save()
        lab.watch.check()
        lab.watch.expect("ERR_CONNECTION_REFUSED")  # the page goes on asking
        await lab.menu("File", "Shut Down")
        await lab.accept("Shut Down")
        await lab.dialog.filter(has_text="You have shut down the Jupyter server").wait_for()
        await served.process.wait()
        lab.watch.check()
