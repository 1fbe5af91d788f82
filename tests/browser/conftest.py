"""The real JupyterLab in headless Chromium, on a real server: one browser for all, one server for each module.

Set EVSTORE_SCREENSHOTS to a folder to look at what the tests saw.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.lab import Lab, signed_out
from tests.browser.served import TOKEN, Served, serve

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)

FAILED = pytest.StashKey[bool]()

shared = pytest_asyncio.fixture(scope="session", loop_scope="session")
per_module = pytest_asyncio.fixture(scope="module", loop_scope="session")
per_test = pytest_asyncio.fixture(loop_scope="session")


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for screenshots."""
    folder = os.environ.get("EVSTORE_SCREENSHOTS")
    if folder is None:
        return tmp_path_factory.mktemp("screenshots")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


@shared
async def chromium() -> AsyncIterator[Browser]:
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.fail("There is no Chromium on this machine: `apt install chromium`.")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=FLAGS.split())
        yield browser
        await browser.close()


@per_module
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """The module's server."""
    home = tmp_path_factory.mktemp("home")
    async with serve(home / "notebooks", home) as server:
        yield server


@per_module
async def opened(chromium: Browser, served: Served, shots: Path) -> AsyncIterator[Lab]:
    """JupyterLab, opened by the address that the server printed."""
    async with signed_out(chromium, shots) as lab:
        await lab.open(served.address("lab", token=TOKEN))
        yield lab


@per_test
async def lab(opened: Lab, served: Served, request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """JupyterLab with an empty desk. After the test, neither browser nor server may have complained."""
    await opened.clear()
    yield opened
    if request.node.stash.get(FAILED, False):
        await opened.shot(f"failed-{request.node.name}")
    opened.watch.check()
    assert served.complaints() == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test has failed: its fixture then takes a picture of what was there."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report
