"""What a kernel goes through while JupyterLab looks on."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.lab import Lab
from tests.browser.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_restart(lab: Lab) -> None:
    await lab.new_notebook("Restart.ipynb")
    await lab.run("x = 1")
    await lab.menu("Kernel", "Restart Kernel…")
    await lab.accept("Restart")
    await lab.idle()
    again = await lab.run("print('x' in globals())")
    await lab.shows(again, "False")
    await expect(again.locator(".jp-InputPrompt")).to_have_text("[1]:")


async def test_restart_and_run_all(lab: Lab) -> None:
    await lab.new_notebook("All.ipynb")
    await lab.run("import os; print('pid', os.getpid())")
    before = await lab.cell(0).locator(".jp-OutputArea-output").inner_text()
    await lab.run("2 ** 10")
    await lab.menu("Kernel", "Restart Kernel and Run All Cells…")
    await lab.accept("Restart")
    await expect(lab.cell(0).locator(".jp-OutputArea-output")).not_to_have_text(before)
    await lab.finished(lab.cell(1))
    await lab.shows(lab.cell(1), "1024")


async def test_interrupt(lab: Lab) -> None:
    await lab.new_notebook("Interrupt.ipynb")
    endless = await lab.start("import time\nprint('going', flush=True)\nwhile True: time.sleep(1)")
    await lab.shows(endless, "going")
    await lab.state("Busy")
    await lab.press("interrupt")
    await lab.shows(endless, "KeyboardInterrupt")
    await lab.idle()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        pytest.param("import os; os._exit(3)", "3", id="exits"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "-9", id="killed"),
    ],
)
async def test_a_kernel_that_dies_comes_back_idle(lab: Lab, served: Served, code: str, status: str) -> None:
    served.expected.append(f"died with exit code {status} and is started again")
    await lab.new_notebook(f"Dies {status}.ipynb")
    await lab.run("x = 1")
    await lab.start(code)
    await lab.dialog.filter(has_text="appears to have died. It will restart automatically").wait_for()
    await lab.shot("kernel-died")
    await lab.accept("Ok")
    await lab.idle()  # nothing has run in it so far
    await lab.shows(await lab.run("print('x' in globals())"), "False")


async def test_two_tabs_and_a_console_on_one_kernel(lab: Lab, served: Served) -> None:
    await lab.new_notebook("Shared.ipynb")
    await lab.run("shared = 'one kernel'")
    await lab.save()
    async with lab.another() as other:
        await other.open(served.address("lab/tree/Shared.ipynb"))
        await other.idle()
        await other.shows(await other.run("print(shared)"), "one kernel")
        await other.start("import time; time.sleep(1)")
        await lab.state("Busy")
        await lab.idle()
    await lab.menu("File", "New Console for Notebook")
    await lab.in_console("shared.upper()")
    await lab.page.locator(".jp-CodeConsole-content").get_by_text("ONE KERNEL").wait_for()
    await lab.shot("console")
    (kernel,) = await served.get("api/kernels")
    assert kernel["connections"] == 2


async def test_a_flood_arrives_whole(lab: Lab, served: Served) -> None:
    await lab.new_notebook("Flood.ipynb")
    await lab.shows(await lab.run("for i in range(20_000): print(i)\nprint('the end')"), "the end")
    await lab.save()
    text = "".join((await served.cells("Flood.ipynb"))[0]["outputs"][0]["text"])
    assert text.split("\n") == [*map(str, range(20_000)), "the end", ""]
