"""A notebook's day: made, run, saved, renamed, loaded again, reverted."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.lab import Lab
from tests.browser.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURE = """
from IPython.display import SVG
dots = ''.join(f'<circle cx="{30 + 45 * i}" cy="{45 - 22 * (-1) ** i}" r="18" fill="teal"/>' for i in range(9))
SVG(f'<svg xmlns="http://www.w3.org/2000/svg" width="420" height="90">{dots}</svg>')
""".strip()

# The page's end of a comm: it sends back what it gets, buffers too
ECHO = """() => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  kernel.registerCommTarget('echo', comm => {
    comm.onMsg = message => {
      comm.send(message.content.data, {}, message.buffers);
      window.echoed = true;
    };
  });
}"""
COMM = """
from comm import create_comm
comm, came = create_comm('echo'), []
comm.on_msg(came.append)
comm.send({'n': 1.5}, buffers=[bytes(range(5))])
""".strip()


async def test_a_notebook_keeps_its_outputs(lab: Lab, served: Served) -> None:
    await lab.new_notebook()
    await lab.shows(await lab.run("print(6 * 7)"), "42")
    await lab.shows(await lab.run("1 / 0"), "ZeroDivisionError")
    await (await lab.run(PICTURE)).locator("img").wait_for()
    asked = await lab.start("name = input('Who? ')\nprint('Hello', name)")
    await lab.answer(asked, "Ada")
    await lab.shows(asked, "Hello Ada")
    await lab.shot("notebook")
    await lab.save_as_new("Outputs.ipynb")
    saved = await served.cells("Outputs.ipynb")
    await lab.reload()
    await lab.idle()
    for index, text in ((0, "42"), (1, "ZeroDivisionError"), (3, "Hello Ada")):
        await lab.shows(lab.cell(index), text)
    await lab.cell(2).locator("img").wait_for()
    await lab.save()
    assert await served.cells("Outputs.ipynb") == saved
    await lab.shot("notebook-reloaded")


async def test_going_back_to_a_checkpoint_and_forth_again(lab: Lab, served: Served) -> None:
    await lab.new_notebook("Revert.ipynb")
    for number in (1, 2, 3):
        await lab.run(f"print('version', {number})")
        await lab.save()
    await expect(await lab.checkpoints()).to_have_count(5)  # the empty one, the one with a name, and three
    await lab.shot("checkpoints")
    await lab.accept("Cancel")
    await lab.revert(2)
    await expect(lab.cells).to_have_count(2)
    await lab.shows(lab.cell(0), "version 1")
    assert len(await served.cells("Revert.ipynb")) == 2
    await lab.revert(0)  # JupyterLab says that a revert cannot be undone: here it can
    await expect(lab.cells).to_have_count(4)
    await lab.shows(lab.cell(2), "version 3")
    events = [
        version["event"] for version in (await served.get("api/history/versions/Revert.ipynb"))["versions"]
    ]
    assert events.count("FileRestored") == 2


async def test_a_rename_takes_the_kernel_along(lab: Lab, served: Served) -> None:
    await lab.new_notebook("Before.ipynb")
    await lab.run("x = 'still here'")
    await lab.rename("Before.ipynb", "After ü#%.ipynb")
    await lab.file("After ü#%.ipynb").wait_for()
    await lab.shows(await lab.run("print(x)"), "still here")
    await lab.save()
    assert [session["path"] for session in await served.get("api/sessions")] == ["After ü#%.ipynb"]
    await lab.reload()
    await lab.idle()
    await lab.shows(lab.cell(1), "still here")


async def test_a_comm_with_buffers(lab: Lab) -> None:
    await lab.new_notebook("Comm.ipynb")
    await lab.script(ECHO)
    await lab.run(COMM)
    await lab.until("window.echoed")
    back = await lab.run("[(each['content']['data'], *map(bytes, each['buffers'])) for each in came]")
    await lab.shows(back, r"[({'n': 1.5}, b'\x00\x01\x02\x03\x04')]")
