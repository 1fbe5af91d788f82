"""Notebook 7: files, notebooks, text files, consoles and terminals, each on its own page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Response, expect

from tests.browser.lab import KERNEL, PATIENCE, SIZE, exactly
from tests.browser.nb7 import Notebook7
from tests.browser.served import TOKEN, Served, serve
from tests.browser.watch import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def tree(chromium: Browser, tmp_path: Path, shots: Path) -> AsyncIterator[tuple[Notebook7, Served]]:
    """The page of files of a server of its own, which was started with `--app=notebook`."""
    async with serve(tmp_path / "work", tmp_path, "--app=notebook") as served:
        context = await chromium.new_context(viewport=SIZE)
        page = Notebook7(await context.new_page(), watch := Watch(context), shots)
        await page.open(served.address(token=TOKEN))
        await page.at("/tree")
        yield page, served
        watch.check()
        await context.close()


async def test_a_notebook_from_its_first_line_to_its_old_state(tree: tuple[Notebook7, Served]) -> None:
    files, served = tree
    notebook = await files.new(KERNEL)
    await notebook.at("/notebooks/Untitled.ipynb")
    await notebook.idle()
    await notebook.rename("Untitled.ipynb", "Größe 50%.ipynb")
    await notebook.at("/notebooks/Gr%C3%B6%C3%9Fe%2050%25.ipynb")
    await notebook.shows(await notebook.run("print(6 * 7)"), "42")
    await notebook.save()
    await expect(notebook.checkpoint).to_contain_text("Last Checkpoint:")
    assert await served.names() == {"Größe 50%.ipynb"}
    first = await served.cells("Größe 50%.ipynb")
    assert [cell["source"] for cell in first] == ["print(6 * 7)", ""]
    await notebook.run("1 / 3")
    await notebook.shot("nb7-notebook")
    checkpoints = await notebook.checkpoints()
    await expect(checkpoints.first).to_be_attached()
    await notebook.accept("Cancel")
    await notebook.revert(0)
    await expect(notebook.cells).to_have_count(2)
    await notebook.reload()
    await notebook.idle()
    await notebook.shows(notebook.cell(0), "42")
    await expect(notebook.title).to_have_text("Größe 50%")


async def test_the_checkpoint_indicator_goes_on(tree: tuple[Notebook7, Served]) -> None:
    """It asks for the list again and again, here each second: as often as its setting says."""
    files, served = tree
    setting = f"{served.url}lab/api/settings/@jupyter-notebook/notebook-extension:checkpoints"
    async with served.session.put(setting, json={"raw": '{"checkpointPollingInterval": 1}'}) as reply:
        assert reply.status == 204
    notebook = await files.new(KERNEL)
    await notebook.idle()
    for _ in range(3):
        async with notebook.page.expect_response(is_list_of_checkpoints):
            pass
    await expect(notebook.checkpoint).to_have_text(re.compile("^Last Checkpoint: "))


def is_list_of_checkpoints(reply: Response) -> bool:
    return reply.request.method == "GET" and reply.url.partition("?")[0].endswith("/checkpoints")


async def test_folders_and_deep_addresses(tree: tuple[Notebook7, Served]) -> None:
    files, served = tree
    async with served.session.put(
        f"{served.url}api/contents/d%20%C3%BC", json={"type": "directory"}
    ) as reply:
        assert reply.status == 201
    await files.refresh()
    await files.enter("d ü")
    await files.at("/tree/d%20%C3%BC")
    notebook = await files.new(KERNEL)
    await notebook.at("/notebooks/d%20%C3%BC/Untitled.ipynb")
    await notebook.idle()
    await notebook.rename("Untitled.ipynb", "a+b#.ipynb")
    assert await served.names("d ü") == {"a+b#.ipynb"}
    await notebook.reload()
    await expect(notebook.title).to_have_text("a+b#")
    for address in ("notebooks/d%20%C3%BC%2Fa%2Bb%23.ipynb", "tree/d%20%C3%BC/a+b%23.ipynb"):
        await notebook.open(served.url + address)
        await notebook.idle()
        await expect(notebook.title).to_have_text("a+b#")
    await notebook.open(served.url + "notebooks/d%20%C3%BC")
    await notebook.at("/tree/d%20%C3%BC")
    await notebook.file("a+b#.ipynb").wait_for()


async def test_a_text_file(tree: tuple[Notebook7, Served]) -> None:
    files, served = tree
    await served.put("notes.txt", "one\n")
    await files.refresh()
    async with files.opened() as editor:
        await files.file("notes.txt").dblclick()
    await editor.at("/edit/notes.txt")
    text = editor.page.locator(".jp-FileEditor .cm-content")
    await text.click()
    await editor.page.keyboard.press("Control+End")
    await editor.page.keyboard.insert_text("two\n")
    async with editor.page.expect_response(
        lambda reply: reply.request.method == "PUT" and "contents" in reply.url
    ):
        await editor.page.keyboard.press("Control+s")
    assert await served.read("notes.txt") == b"one\ntwo\n"
    await editor.shot("nb7-edit")
    await editor.page.goto(served.address("tree/notes.txt"))
    await expect(editor.page.locator("body")).to_have_text("one\ntwo\n")


async def test_a_console(tree: tuple[Notebook7, Served]) -> None:
    files, _ = tree
    async with files.opened() as console:
        await files.menu("New", "Console")
        await files.dialog.locator("select").select_option(label=KERNEL)
        await files.accept("Select")
    assert "/consoles/" in console.page.url
    await console.in_console("print(2 ** 100)")
    output = console.page.locator(".jp-CodeConsole-content .jp-OutputArea-output")
    await expect(output).to_have_text("1267650600228229401496703205376\n")
    await console.shot("nb7-console")


async def test_a_terminal(tree: tuple[Notebook7, Served]) -> None:
    files, served = tree
    terminal = await files.new("Terminal")
    await terminal.at("/terminals/1")
    await terminal.page.locator(".jp-Terminal .xterm-helper-textarea").click(force=True)
    await terminal.page.keyboard.type("echo $((6 * 7)) > made.txt\n")
    made = served.folder / "made.txt"
    async with asyncio.timeout(PATIENCE / 1000):
        while not made.is_file() or made.read_text() != "42\n":
            await asyncio.sleep(0.05)
    await terminal.shot("nb7-terminal")


async def test_what_runs_is_listed_and_ended(tree: tuple[Notebook7, Served]) -> None:
    files, served = tree
    notebook = await files.new(KERNEL)
    await notebook.idle()
    await files.page.bring_to_front()
    await files.show("Running")
    line = files.page.locator(".jp-RunningSessions-item", has_text="Untitled.ipynb").last
    await line.wait_for()
    await files.shot("nb7-running")
    await files.page.locator(
        ".jp-RunningSessions-shutdownAll:not([disabled])", has_text="Shut Down All"
    ).first.click()
    await files.accept("Shut Down All")
    await line.wait_for(state="detached")
    assert await served.get("api/kernels") == []


async def test_from_one_front_end_to_the_other(tree: tuple[Notebook7, Served]) -> None:
    files, served = tree
    notebook = await files.new(KERNEL)
    await notebook.idle()
    await notebook.run("kept = 5")
    await notebook.save()
    async with notebook.page.context.expect_page() as opening:
        await notebook.page.locator(".jp-Toolbar-item", has_text=exactly("JupyterLab")).click()
    lab = Notebook7(await opening.value, files.watch, files.shots)
    await lab.page.locator(".jp-NotebookPanel").wait_for()
    assert lab.page.url == served.address("doc/tree/Untitled.ipynb")
    async with lab.opened() as again:
        await lab.page.locator(".jp-Toolbar-item[data-jp-item-name='interfaceSwitcher']").click()
        for item in await lab.page.locator(".lm-Menu-itemLabel", has_text=exactly("Notebook")).all():
            await item.click()
    await again.at("/notebooks/Untitled.ipynb")
    await again.idle()
    await again.shows(await again.run("print(kept)"), "5")


async def test_its_extension_manager(tree: tuple[Notebook7, Served]) -> None:
    files, _ = tree
    await (await files.extension_manager()).filter(has_text="jupyterlab_pygments").wait_for()
    await files.shot("nb7-extensions")


async def test_below_another_address(chromium: Browser, tmp_path: Path, shots: Path) -> None:
    flags = ("--app=notebook", "--base-url=/user/ada%40home/")
    async with serve(tmp_path / "work", tmp_path, *flags) as served:
        context = await chromium.new_context(viewport=SIZE)
        files = Notebook7(await context.new_page(), watch := Watch(context), shots)
        await files.page.goto(served.address("notebooks/x.ipynb"))
        await served.put("x.ipynb", '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
        await files.page.locator("input[type=password]").fill(TOKEN)
        await files.page.keyboard.press("Enter")
        await files.ready()
        await files.at("/user/ada%40home/notebooks/x.ipynb")
        await files.accept("Select")
        await files.idle()
        await files.open(served.address("tree"))
        await files.file("x.ipynb").wait_for()
        watch.check()
        await context.close()
