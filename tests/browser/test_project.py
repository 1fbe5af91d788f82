"""A real project in JupyterLab: what git, kernels and editors do in its folder, and what JupyterLab does, together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser import project
from tests.browser.lab import Lab, signed_out
from tests.browser.served import TOKEN, Served, serve
from tests.git_repository import commit, git

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE = 30  # seconds for something to be in the history
GONE = "ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE)"  # what a page meets that asks a server that has stopped
STOPS = r"\b503\b.*/ipyparallel/clusters\b"  # what a page meets that asks, every few seconds, a server that is stopping
ASKS = "has changed on disk since the last time it was opened or saved"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server of the project's folder."""
    home = tmp_path_factory.mktemp("project")
    project.make(home / "nbclient")
    async with serve(home / "nbclient", home) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def on_main(lab: Lab, served: Served) -> None:
    """As it was committed: what a test has left is thrown away, by git, while JupyterLab is open."""
    git(served.folder, "checkout", "--quiet", "--force", "main")
    git(served.folder, "clean", "--quiet", "-d", "--force")
    await until(lambda: same(served))
    await lab.refresh()


async def same(served: Served) -> bool:
    """Whether the tree has the names that git has, and not those that a test left."""
    listed = set(git(served.folder, "ls-files", "-z").decode().split("\0")) - {"", ".gitignore"}
    return listed == {name for name in await below(served, "") if not name.endswith(".pyc")}


async def below(served: Served, path: str) -> set[str]:
    """The paths of all files below a folder."""
    found: set[str] = set()
    for member in (await served.get(f"api/contents/{path}"))["content"]:
        inner = await below(served, member["path"]) if member["type"] == "directory" else {member["path"]}
        found |= inner
    return found


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """What the condition returns when it holds."""
    async with asyncio.timeout(PATIENCE):
        while not (result := await condition()):
            await asyncio.sleep(0.05)
        return result


async def log(served: Served, after: int) -> list[dict[str, Any]]:
    """The events after an offset."""
    return (await served.get(f"api/history/log?after={after}&limit=1000"))["events"]


async def head(served: Served) -> int:
    return (await served.get("api/history/log?after=0&limit=1"))["head"]


async def told(served: Served, after: int, *wanted: tuple[str, str]) -> list[dict[str, Any]]:
    """The events after an offset, as soon as these (event, path) are among them."""

    async def there() -> list[dict[str, Any]] | None:
        events = await log(served, after)
        return events if set(wanted) <= {(one["event"], one["path"]) for one in events} else None

    return await until(there)


async def saves(served: Served, path: str) -> list[dict[str, Any]]:
    """The versions of a file, the newest first."""
    versions = (await served.get(f"api/history/versions/{path}"))["versions"]
    return [one for one in versions if one["event"] == "FileSaved"]


async def user(lab: Lab) -> str:
    """What JupyterLab's user is called."""
    return await lab.script("() => jupyterapp.serviceManager.user.identity.name")


async def to_notebooks(lab: Lab) -> None:
    for folder in project.FILES.split("/"):
        await lab.enter(folder)


async def edit_and_save(lab: Lab, code: str) -> None:
    """An ordinary save: JupyterLab asks nothing."""
    await lab.write(code)
    await lab.save()
    assert await lab.dialog.count() == 0


async def save_is_asked(lab: Lab, button: str) -> None:
    """A save, at which JupyterLab asks whether it is to overwrite what has changed, and this answer."""
    await lab.press("save")
    await lab.dialog.filter(has_text=ASKS).wait_for()
    await lab.accept(button)
    await lab.saved()


async def test_a_save_is_all_that_git_sees(lab: Lab, served: Served) -> None:
    assert project.status(served.folder) == []
    after = await head(served)
    await to_notebooks(lab)
    await lab.open_file(project.CHANGED)
    await lab.idle()
    await lab.run("print('from the browser')")
    await lab.save()
    path = f"{project.FILES}/{project.CHANGED}"
    assert project.status(served.folder) == [f' M "{path}"']
    assert "from the browser" in git(served.folder, "diff").decode()
    events = await told(served, after, ("FileSaved", path))
    assert {one["actor"] for one in events} == {await user(lab)}
    assert {one["path"] for one in events} == {path}


async def test_a_checkout_while_jupyterlab_is_open(lab: Lab, served: Served) -> None:
    lab.watch.gone(project.OLD_NAME)
    await to_notebooks(lab)
    await lab.open_file(project.CHANGED)
    await lab.idle()
    after = await head(served)
    git(served.folder, "checkout", "--quiet", "other")
    await lab.file(project.NEW_NAME).wait_for()  # nobody has pressed a button: JupyterLab looks now and then
    await lab.file(project.ONLY_THERE).wait_for()
    await lab.file(project.OLD_NAME).wait_for(state="detached")
    assert await lab.dialog.count() == 0
    await lab.shot("git-checkout")

    new, old = f"{project.FILES}/{project.NEW_NAME}", f"{project.FILES}/{project.OLD_NAME}"
    changed, only = f"{project.FILES}/{project.CHANGED}", f"{project.FILES}/{project.ONLY_THERE}"
    events = await told(
        served, after, ("FileSaved", changed), ("EntryMoved", new), ("EntryDeleted", "LICENSE")
    )
    assert {one["actor"] for one in events} == {"disk"}
    assert {(one["event"], one["path"]) for one in events} == {
        ("EntryMoved", new),
        ("EntryCreated", only),
        ("FileSaved", only),
        ("FileSaved", changed),
        ("EntryDeleted", "LICENSE"),
    }
    versions = (await served.get(f"api/history/versions/{new}"))["versions"]
    assert [one["path"] for one in versions][-1] == old  # its history goes on

    await lab.write("'mine'")
    await lab.press("save")
    await lab.dialog.filter(has_text=ASKS).wait_for()
    await lab.shot("file-changed")
    await lab.accept("Revert")
    await expect(lab.cells.first).to_contain_text(project.WORDS)
    assert project.status(served.folder) == []
    await edit_and_save(lab, "'mine, after all'")
    assert project.status(served.folder) == [f' M "{changed}"']


async def test_there_and_back_again_is_no_change(lab: Lab, served: Served) -> None:
    await to_notebooks(lab)
    await lab.open_file(project.CHANGED)
    await lab.idle()
    for branch in ("other", "main"):
        git(served.folder, "checkout", "--quiet", branch)
        await until(lambda: same(served))
    (served.folder / project.FILES / project.CHANGED).touch()
    await edit_and_save(lab, "'nothing has happened'")


async def test_who_overwrites_is_not_asked_again(lab: Lab, served: Served) -> None:
    path = f"{project.FILES}/{project.CHANGED}"
    file = served.folder / path
    await to_notebooks(lab)
    await lab.open_file(project.CHANGED)
    await lab.idle()
    await edit_and_save(lab, "'mine'")
    theirs = file.read_bytes().replace(b"'mine'", b"'theirs'")
    file.write_bytes(theirs)
    await lab.write("'mine again'")
    await save_is_asked(lab, "Overwrite")
    await edit_and_save(lab, "'and on'")
    versions = await saves(served, path)
    found = [(one["actor"], await served.read_at(path, one["offset"])) for one in versions[:4]]
    me = await user(lab)
    assert [actor for actor, _ in found] == [me, me, "disk", me]
    assert found[2][1] == theirs
    assert file.read_bytes() == found[0][1]


async def test_a_kernel_works_with_files(lab: Lab, served: Served) -> None:
    await lab.new_notebook("Work.ipynb")
    after = await head(served)
    await lab.run(
        "import csv, os\nwith open('table.csv', 'w') as f: csv.writer(f).writerows([[1, 2], [3, 4]])"
    )
    events = await told(served, after, ("EntryCreated", "table.csv"), ("FileSaved", "table.csv"))
    assert {one["actor"] for one in events} == {"disk"}
    await lab.file("table.csv").wait_for()
    await lab.shows(await lab.run("print(open('table.csv').read())"), "3,4")
    await lab.run("os.mkdir('data'); os.rename('table.csv', 'data/numbers.csv')")
    events = await told(served, after, ("EntryMoved", "data/numbers.csv"))
    await lab.file("data").wait_for()
    await lab.file("table.csv").wait_for(state="detached")
    await lab.run("with open('data/numbers.csv', 'a') as f: f.write('5,6\\n')")
    await told(served, events[-1]["offset"], ("FileSaved", "data/numbers.csv"))
    assert [
        one["event"] for one in (await served.get("api/history/versions/data/numbers.csv"))["versions"]
    ] == [
        "FileSaved",
        "EntryMoved",
        "FileSaved",
        "EntryCreated",
    ]
    await lab.run("os.remove('data/numbers.csv')")
    await told(served, after, ("EntryDeleted", "data/numbers.csv"))
    deleted = (await served.get("api/history/deleted/data"))["deleted"]
    assert [(one["path"], one["actor"]) for one in deleted] == [("data/numbers.csv", "disk")]
    await edit_and_save(lab, "'ordinary'")


async def test_a_module_that_was_just_saved_is_imported(lab: Lab, served: Served) -> None:
    await lab.new_notebook("Import.ipynb")
    folder, name = project.VERSION.split("/")
    await lab.enter(folder)
    after = await head(served)
    for version in ("my own", "my very own"):
        await lab.open_file(name)
        await lab.page.locator(".jp-FileEditor .cm-content").click()
        await lab.page.keyboard.press("Control+End")
        await lab.page.keyboard.insert_text(f"\n__version__ = {version!r}")
        await lab.menu("File", "Save Python File")
        await lab.saved()
        await lab.tab("Import.ipynb").click()
        cell = await lab.run(
            "import importlib, nbclient, nbclient._version\n"
            "print(importlib.reload(nbclient._version).__version__, nbclient.__file__)"
        )
        await lab.shows(cell, f"{version} {served.folder}/")
    events = await told(served, after, ("FileSaved", project.VERSION))
    saved = [one for one in events if (one["event"], one["path"]) == ("FileSaved", project.VERSION)]
    assert [one["actor"] for one in saved] == [await user(lab)] * 2
    assert [line for line in project.status(served.folder) if "Import.ipynb" not in line] == [
        f" M {project.VERSION}"
    ]


async def test_an_open_notebook_follows_a_rename_on_the_disk(lab: Lab, served: Served) -> None:
    lab.watch.gone(project.CHANGED)
    path, moved = f"{project.FILES}/{project.CHANGED}", f"{project.FILES}/Moved.ipynb"
    await to_notebooks(lab)
    await lab.open_file(project.CHANGED)
    await lab.idle()
    git(served.folder, "mv", path, moved)
    await lab.tab("Moved.ipynb").wait_for()
    await lab.file("Moved.ipynb").wait_for()
    await lab.idle()
    assert [one["path"] for one in await served.get("api/sessions")] == [moved]
    await edit_and_save(lab, "'under its new name'")
    assert project.status(served.folder) == [f'RM "{path}" -> {moved}']


async def test_a_text_file_that_somebody_else_saves(lab: Lab, served: Served) -> None:
    file = served.folder / "README.md"
    was = file.read_text()
    await lab.open_file(file.name, "Editor")
    editor = lab.page.locator(".jp-FileEditor .cm-content")
    await expect(editor).to_contain_text("NBClient")
    new = file.with_name("README.md.new")  # as editors save: a new file in the place of the old one
    new.write_text("Saved by an editor.\n" + was)
    new.rename(file)
    await editor.click()
    await lab.page.keyboard.press("Control+Home")
    await lab.page.keyboard.insert_text("Typed in the browser.\n")
    await lab.page.keyboard.press("Control+s")
    await lab.dialog.filter(has_text=ASKS).wait_for()
    await lab.accept("Overwrite")
    await lab.saved()
    assert file.read_text() == "Typed in the browser.\n" + was
    me, versions = await user(lab), await saves(served, file.name)
    assert [one["actor"] for one in versions][:2] == [me, "disk"]
    assert await served.read_at(file.name, versions[1]["offset"]) == b"Saved by an editor.\n" + was.encode()
    await lab.page.keyboard.insert_text("More.\n")
    await lab.page.keyboard.press("Control+s")
    await lab.saved()
    assert await lab.dialog.count() == 0
    assert file.read_text() == "Typed in the browser.\nMore.\n" + was


async def test_a_server_that_was_restarted_changes_nothing(
    chromium: Browser, shots: Path, tmp_path: Path
) -> None:
    """The page stays open meanwhile, somebody commits, and the next save is an ordinary one."""
    folder, (first, second) = tmp_path / "nbclient", (tmp_path / "first", tmp_path / "second")
    project.make(folder)
    first.mkdir()
    second.mkdir()
    port = f"--port={free_port()}"
    async with signed_out(chromium, shots) as lab:
        async with serve(folder, first, port) as served:
            await lab.open(served.address("lab", token=TOKEN))
            await to_notebooks(lab)
            await lab.open_file(project.CHANGED)
            await lab.idle()
            await lab.run("print(1)")
            await lab.save()
            assert project.status(folder) == [f' M "{project.FILES}/{project.CHANGED}"']
            lab.watch.check()
            # it comes when the restart takes long
            lost = lab.dialog.filter(has_text="Server Connection Error")
            await lab.page.add_locator_handler(lost, lambda shown: shown.locator("button").click())
            for pattern in (GONE, "status 404: .*/api/(kernels|sessions)/"):
                lab.watch.expect(pattern)
        commit(folder, "while no server runs")
        async with serve(folder, second, port) as served:
            await edit_and_save(lab, "'as if nothing had been'")
            assert project.status(folder) == [f' M "{project.FILES}/{project.CHANGED}"']
            me, path = await user(lab), f"{project.FILES}/{project.CHANGED}"
            assert [one["actor"] for one in await saves(served, path)] == [
                me,
                me,
                "import",
            ]  # a file is not taken in anew
        lab.watch.check()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
