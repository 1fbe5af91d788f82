"""JupyterLab with kernels at a real Jupyter Kernel Gateway, which goes away and comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import per_module
from tests.browser.lab import KERNEL, Lab, signed_out
from tests.browser.served import TOKEN, Served, serve
from tests.gateway import TOKEN as GATEWAY_TOKEN
from tests.gateway import RealGateway

pytestmark = pytest.mark.asyncio(loop_scope="session")


@per_module
async def served(gateway: RealGateway, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    home = tmp_path_factory.mktemp("home")
    flags = (f"--gateway-url={gateway.url}", f"--gateway-token={GATEWAY_TOKEN}")
    async with serve(home / "notebooks", home, *flags) as server:
        yield server


async def test_a_notebook_runs_there(lab: Lab, gateway: RealGateway) -> None:
    await lab.new_notebook("Remote.ipynb")
    cell = await lab.run("import os; print(os.environ['KERNEL_GATEWAY'], os.getpid())")
    [kernel] = gateway.kernels
    await lab.shows(cell, f"1 {kernel.pid}")
    asking = await lab.start("print('Hello', input('Who? '))")
    await lab.answer(asking, "Ada")
    await lab.shows(asking, "Hello Ada")
    await lab.menu("Kernel", "Restart Kernel…")
    await lab.accept("Restart")
    await lab.idle()
    await lab.shows(await lab.run("print('asking' in globals())"), "False")


async def test_a_gateway_that_is_away_for_a_while(
    chromium: Browser, served: Served, gateway: RealGateway, shots: Path
) -> None:
    served.expected.extend(("at its gateway broke", "is gone from its gateway"))
    await served.put("a.txt", "hello")
    async with signed_out(chromium, shots) as lab:
        lab.watch.expect("status 50[23]: |of 50[23] |can't be reached|Untitled.*ipynb")
        await lab.open(served.address("lab", token=TOKEN))
        gateway.kill()
        await lab.page.locator(f".jp-LauncherCard[data-category='Notebook'][title='{KERNEL}']").click()
        await expect(lab.dialog).to_contain_text("Error Starting Kernel")
        await expect(lab.dialog).to_contain_text("can't be reached (Connection refused). Is it running")
        await lab.shot("gateway-away")
        await lab.accept("Ok")
        await lab.reload()  # everything but kernels works
        await lab.accept("No Kernel")
        await lab.open_file("a.txt")

        gateway.start()
        await lab.open(f"{served.url}lab?reset")
        await lab.new_notebook()
        await lab.shows(await lab.run("6 * 7"), "42")
        lab.watch.check()
