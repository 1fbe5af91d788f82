"""A notebook with a kernel of another language than Python, in JupyterLab."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.lab import Lab
from tests.browser.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="session")

BASH = "Bash"


async def test_a_notebook_of_bash_from_the_launcher(lab: Lab, served: Served) -> None:
    await lab.new_notebook("Shell.ipynb", kernel=BASH)
    await lab.shows(await lab.run("for i in 1 2 3; do echo line $i; done"), "line 3")
    await lab.run("x=kept")
    await lab.shows(await lab.run("echo $x in $(basename $JPY_SESSION_NAME)"), "kept in Untitled.ipynb")
    endless = await lab.start("echo going; sleep 1000")
    await lab.shows(endless, "going")
    await lab.state("Busy", BASH)
    await lab.press("interrupt")
    await lab.state("Idle", BASH)
    await lab.menu("Kernel", "Restart Kernel…")
    await lab.accept("Restart")
    await lab.state("Idle", BASH)
    again = await lab.run('echo "[$x]"')
    await lab.shows(again, "[]")
    await expect(again.locator(".jp-InputPrompt")).to_have_text("[1]:")
    await lab.save()
    await lab.shot("bash")
    saved = await served.get("api/contents/Shell.ipynb")
    metadata = saved["content"]["metadata"]
    assert metadata["kernelspec"] == {"display_name": "Bash", "language": "bash", "name": "bash"}
    assert metadata["language_info"]["name"] == "bash"
    [kernel] = await served.get("api/kernels")
    assert (kernel["name"], kernel["connections"]) == ("bash", 1)


async def test_from_python_to_bash_in_the_dialog(lab: Lab, served: Served) -> None:
    await lab.new_notebook("Changing.ipynb")
    await lab.shows(await lab.run("print(6 * 7)"), "42")
    await lab.menu("Kernel", "Change Kernel…")
    await lab.dialog.locator("select").select_option(label=BASH)
    await lab.accept("Select")
    await lab.state("Idle", BASH)
    await lab.shows(await lab.run("echo $((6 * 7)) from $BASH"), "42 from")
    [kernel] = await served.get("api/kernels")  # the one of Python is gone
    assert kernel["name"] == "bash"
    [session] = await served.get("api/sessions")
    assert (session["path"], session["kernel"]["id"]) == ("Changing.ipynb", kernel["id"])
