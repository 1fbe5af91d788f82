"""What JupyterLab shows about itself: extensions, plugins, licenses, languages."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from babel.messages import Catalog
from babel.messages.mofile import write_mo
from playwright.async_api import Browser, Response, expect

from tests.browser.lab import Lab, exactly, signed_out
from tests.browser.served import TOKEN, Served, serve

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLUGIN = "@jupyterlab/imageviewer-extension:plugin"


@pytest_asyncio.fixture(loop_scope="session")
async def alone(
    chromium: Browser, tmp_path: Path, shots: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Lab, Served]]:
    """JupyterLab on a server of its own, which knows some words of French."""
    pack = make_language_pack(tmp_path / "packs")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(pack), os.environ.get("PYTHONPATH")))))
    async with serve(tmp_path / "work", tmp_path) as served, signed_out(chromium, shots) as lab:
        await lab.open(served.address("lab", token=TOKEN))
        yield lab, served
        lab.watch.check()


def make_language_pack(folder: Path) -> Path:
    """A folder for PYTHONPATH with a language pack in it, made as those on PyPI are."""
    messages = folder / "jupyterlab_language_pack_fr_FR/locale/fr_FR/LC_MESSAGES"
    messages.mkdir(parents=True)
    (folder / "jupyterlab_language_pack_fr_FR/__init__.py").touch()
    head = {"language": "fr-FR", "plural_forms": "nplurals=2; plural=(n > 1);"}
    (messages / "jupyterlab.json").write_text(json.dumps({"": head, "Launcher": ["Lanceur"]}))  # for the page
    menus = Catalog(locale="fr_FR")  # for what the server puts into the schemas
    menus.add("File", "Fichier", context="menu")
    with (messages / "jupyterlab.mo").open("wb") as file:
        write_mo(file, menus)
    about = folder / "language_pack_fr-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: language-pack-fr\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[jupyterlab.languagepack]\nfr_FR = jupyterlab_language_pack_fr_FR\n"
    )
    return folder


async def test_extensions(alone: tuple[Lab, Served]) -> None:
    lab, served = alone
    extensions = await lab.extension_manager()
    half = extensions.filter(has_text="nbdime-jupyterlab")
    await expect(half).to_contain_text("which evstore does not run")
    pygments = extensions.filter(has_text="jupyterlab_pygments")
    await expect(pygments.locator("button")).to_have_text(["Disable"])  # and none to uninstall it
    await lab.shot("extensions")
    async with lab.page.expect_response(is_switched):
        await pygments.locator("button").click()
    await expect(pygments.locator("button")).to_have_text(["Enable"])
    assert [
        each["enabled"] for each in await served.get("lab/api/extensions") if "pygments" in each["name"]
    ] == [False]


async def test_a_plugin_is_switched_off(alone: tuple[Lab, Served]) -> None:
    lab, served = alone
    await lab.command("Advanced Plugin Manager")
    manager = lab.page.locator(".jp-pluginmanager")
    await manager.locator(".jp-pluginmanager-Disclaimer-checkbox").click()
    row = manager.locator("tr", has_text=PLUGIN)
    await row.scroll_into_view_if_needed()
    async with lab.page.expect_response(is_switched):
        await row.locator("input[type=checkbox]").click()
    await lab.shot("plugins")
    await lab.page.keyboard.press("Escape")
    await lab.open(served.address("lab") + "?reset")
    assert not await lab.script(f"() => jupyterapp.isPluginActivated({PLUGIN!r})")
    assert await lab.script("() => jupyterapp.isPluginActivated('@jupyterlab/csvviewer-extension:csv')")


def is_switched(reply: Response) -> bool:
    return reply.request.method == "POST" and "/lab/api/" in reply.url and reply.status == 201


async def test_licenses(alone: tuple[Lab, Served]) -> None:
    lab, _ = alone
    await lab.menu("Help", "Licenses")
    bundles = lab.page.locator(".jp-Licenses-Bundles .lm-TabBar-tab")
    await bundles.filter(has_text="@jupyterlab/application-top").wait_for()
    await bundles.filter(has_text="@jupyter-notebook/app").click()
    await lab.page.locator(
        ".jp-Licenses-Grid tr", has=lab.page.locator("th", has_text=exactly("react"))
    ).click()
    await expect(lab.page.locator(".jp-Licenses-Text")).to_contain_text("Permission is hereby granted")
    await lab.shot("licenses")


async def test_another_language(alone: tuple[Lab, Served]) -> None:
    lab, _ = alone
    await lab.page.locator(".lm-MenuBar-itemLabel", has_text=exactly("Settings")).click()
    await lab.choose("Language")
    await lab.page.locator(".lm-Menu-itemLabel", has_text="French").click()
    await lab.dialog.wait_for()
    await lab.shot("language")
    async with lab.page.expect_navigation():
        await lab.dialog.locator("button.jp-mod-accept").click()
    await lab.ready()
    await lab.tab("Lanceur").wait_for()
    await expect(lab.page.locator(".lm-MenuBar-itemLabel", has_text=exactly("Fichier"))).to_have_count(1)
    await lab.shot("french")
