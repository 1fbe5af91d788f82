"""A client sends what the kernel is not ready for yet, and leaves: it is done all the same."""

from __future__ import annotations

import pytest

from tests.closed_page import printed, save, session, stored, written
from tests.helpers import Server
from tests.kernel_client import connected, eventually, nobody_is_connected, start_kernel


async def send_and_leave(server: Server, kernel: str, code: str, **options: str) -> None:
    async with connected(server, kernel, "early") as page:
        await page.execute(code, **options)
    await nobody_is_connected(server, kernel)
    assert not server.services.kernels.get(kernel)._pump.is_ready


async def happened(server: Server) -> bool:
    return (server.services.config.folder / "happened").exists()


@pytest.mark.parametrize("who_comes", ["nobody", "a newcomer", "two newcomers", "the same"])
async def test_what_was_asked_for_too_early_happens(server: Server, who_comes: str) -> None:
    kernel = await start_kernel(server)
    await send_and_leave(server, kernel, f"open({str(server.services.config.folder / 'happened')!r}, 'x')")
    if who_comes == "a newcomer":
        async with connected(server, kernel, "newcomer") as page:
            await page.run("pass")
    elif who_comes == "two newcomers":
        async with connected(server, kernel, "one"), connected(server, kernel, "two") as page:
            await page.run("pass")
    elif who_comes == "the same":
        async with connected(server, kernel, "early") as page:
            await page.run("pass")
    await eventually(lambda: happened(server))


async def test_its_output_goes_into_the_document(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evstore.services.detached_output.GRACE", 0.3)
    monkeypatch.setattr("evstore.services.detached_output.TICK", 0.1)
    await save(server, "c")
    kernel = (await session(server))["kernel"]["id"]
    await send_and_leave(server, kernel, "print('early')", cell="c")
    async with connected(server, kernel, "newcomer") as page:
        await page.run("pass")
        await written(server, "early")
    assert printed(await stored(server)) == "early\n"
