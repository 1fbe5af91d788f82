"""The single-directory server's addresses in a real browser: which it opens, and which other sites can't use (S20)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.lab import signed_out
from tests.browser.served import TOKEN, Served

pytestmark = pytest.mark.asyncio(loop_scope="session")
EVIL = "http://evil.example/"


async def listed(page: Page, served: Served) -> list[dict[str, Any]]:
    """The old list, as a script would get it with the browser's cookie."""
    reply = await page.request.get(served.address("notebooks"), headers={"Accept": "application/json"})
    assert reply.status == 200
    return await reply.json()


async def test_the_addresses_that_people_type(chromium: Browser, served: Served, shots: Path) -> None:
    async with signed_out(chromium, shots) as lab:
        page = lab.page
        await page.goto(served.address("new", token=TOKEN))  # typed, without having been here before
        await page.wait_for_url("**/lab/tree/Untitled.ipynb")
        await lab.ready()
        (entry,) = [one["notebook_id"] for one in await listed(page, served) if one["name"] == "Untitled"]
        await page.request.patch(
            served.address("api/contents/Untitled.ipynb"),
            data={"path": "Renamed.ipynb"},
            headers={"Authorization": f"token {TOKEN}"},
        )
        await page.goto(served.address(entry))
        await page.wait_for_url("**/lab/tree/Renamed.ipynb")
        await page.goto(served.address(f"{entry}/print"))
        await expect(page.locator("body.jp-Notebook")).to_be_visible()
        assert await page.title() == "Renamed"
        await page.goto(served.address(f"{entry}/copy"))
        await page.wait_for_url("**/lab/tree/Renamed-Copy1.ipynb")
        await page.goto(served.address("notebooks"))
        await page.wait_for_url("**/tree")
        await lab.shot("old-notebooks")


async def test_other_sites_make_no_notebooks(chromium: Browser, served: Served, shots: Path) -> None:
    """By a picture, a frame, a script or a link that the user clicks; the user's cookie is sent with the link."""
    async with signed_out(chromium, shots) as lab:
        page = lab.page
        await page.goto(served.address("tree", token=TOKEN))
        before = await listed(page, served)
        address = served.address("new")
        asked: list[int] = []
        page.on("response", lambda reply: asked.append(reply.status) if reply.url == address else None)

        async def evil(route: Route) -> None:
            html = (
                f"<a href='{address}'>click</a><img src='{address}'><iframe src='{address}'></iframe>"
                f"<script src='{address}'></script>"
            )
            await route.fulfill(content_type="text/html", body=html)

        await page.route(f"{EVIL}**", evil)
        await page.goto(EVIL)
        await page.get_by_text("click").click()
        await page.get_by_text("This address changes something").wait_for()
        await lab.shot("old-refused")
        assert asked.count(403) >= 1 and 302 not in asked
        assert await listed(page, served) == before
    assert served.complaints() == []
