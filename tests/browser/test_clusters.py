"""The panel of clusters that ipyparallel brings into JupyterLab."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.lab import Lab
from tests.browser.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_start_and_stop(lab: Lab, served: Served) -> None:
    await lab.page.locator(".jp-SideBar [data-id='ipp-cluster-launcher']").click()
    cluster = lab.page.locator(".ipp-ClusterListingItem", has_text="default:")
    await expect(cluster).to_contain_text("State: Stopped")
    await cluster.locator("button", has_text="START").click()
    await expect(cluster).to_contain_text("State: running")
    await lab.shot("clusters")
    (running,) = await served.get("api/clusters")
    assert running["status"] == "running"
    await cluster.locator("button", has_text="STOP").click()
    await expect(cluster).to_contain_text("State: Stopped")
    assert [each["status"] for each in await served.get("api/clusters")] == ["stopped"]
    await lab.page.locator(".jp-SideBar [data-id='filebrowser']").click()
