"""/rstservice/render, with the real docutils in its real process (jupyter-surface.md B50)."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil
import pytest

from evstore.core.errors import Invalid, NotInstalled
from evstore.processes.rst import renderer
from evstore.processes.rst.renderer import Renderer
from tests.helpers import Server, make_services, run_test_server

URL = "/rstservice/render"
ENDLESS = b"* a\n" * 200_000  # docutils needs half a minute for it


def workers() -> list[psutil.Process]:
    """The processes that render something."""
    processes = psutil.Process().children(recursive=True)
    return [one for one in processes if is_worker(one)]


def is_worker(process: psutil.Process) -> bool:
    try:
        return "evstore.processes.rst.worker" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


async def test_a_text_becomes_a_page_in_a_sandbox(server: Server):
    text = "Größe\n=====\n\n*a* `link <http://x/>`_ :math:`x^2`\n\n.. code:: python\n\n   print(1)\n"
    reply = await server.fetch("POST", URL, data=text.encode())
    assert reply.status == 200 and reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "sandbox allow-scripts" in reply.headers["Content-Security-Policy"]
    assert '<h1 class="title">Größe</h1>' in reply.text and "<em>a</em>" in reply.text
    assert "msup" in reply.text and "print" in reply.text
    assert "site-packages" not in reply.text and "<script" not in reply.text
    empty = await server.fetch("POST", URL)
    assert empty.status == 200 and "<body>" in empty.text


@pytest.mark.parametrize(
    "text",
    [
        ".. include:: /etc/passwd",
        ".. include:: /etc/passwd\n   :literal:",
        ".. include:: <isonum.txt>",
        ".. csv-table:: x\n   :file: /etc/passwd",
        ".. csv-table:: x\n   :url: file:///etc/passwd",
        ".. raw:: html\n   :file: /etc/passwd",
        ".. raw:: html\n   :url: file:///etc/passwd",
        ".. code:: text\n   :file: /etc/passwd",
        ".. image:: /etc/passwd\n   :loading: embed\n   :scale: 50",
        ".. figure:: file:///etc/passwd\n   :figwidth: image\n\n   x",
        ".. math::\n   :class: x\n\n   \\input{/etc/passwd}",
        ".. role:: raw-html(raw)\n   :format: html\n\n:raw-html:`<script>alert(1)</script>`",
        ".. raw:: html\n\n   <script>alert(1)</script>",
        ".. |x| raw:: html\n\n   <script>alert(1)</script>\n\n|x|",
    ],
)
async def test_nothing_of_this_machine_and_no_scripts_get_in(server: Server, text: str):
    reply = await server.fetch("POST", URL, data=text.encode())
    assert reply.status == 200, reply.text
    assert "root:" not in reply.text and "©" not in reply.text  # what /etc/passwd and isonum.txt hold
    assert "<script" not in reply.text
    assert "base64" not in reply.text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"\xff\xfe\x00", "Invalid RST: Unable to decode input data."),
        (b"* " * 5000, "Invalid RST: it is nested too deeply."),
        (b"".join(b" " * i + b"* a\n\n" for i in range(900)), "Invalid RST: it is nested too deeply."),
    ],
)
async def test_what_is_not_valid_is_refused(server: Server, text: bytes, sentence: str):
    reply = await server.fetch("POST", URL, data=text)
    assert reply.status == 400
    assert reply.json()["message"].startswith(sentence), reply.text
    assert "Traceback" not in reply.text and "/" not in reply.json()["message"]


async def test_a_text_that_is_too_long_is_refused(server: Server):
    reply = await server.fetch("POST", URL, data=b"x" * (renderer.MAX_TEXT + 1))
    assert reply.status == 413


async def test_what_takes_too_long_ends_with_its_process():
    with pytest.raises(Invalid, match=r"takes longer than 1 s"):
        await Renderer(patience=1).render(ENDLESS)
    assert workers() == []


@pytest.mark.parametrize(
    "text",
    [
        "".join(f".. |{i}| replace:: " + f"|{i + 1}| " * 10 + "\n" for i in range(20))
        + ".. |20| replace:: x\n\n|0|\n",
        "* " * 5000,
        "".join(" " * i + "* a\n\n" for i in range(800)),
        "> " * 3000,
        "(" * 50_000,
        "\0" * 1000,
    ],
    ids=["substitutions", "bullets", "lists in lists", "quotes", "brackets", "nul"],
)
async def test_texts_that_are_made_to_hurt(server: Server, text: str, caplog: pytest.LogCaptureFixture):
    """Whatever docutils makes of them, the server goes on, and says nothing of itself."""
    rendering = asyncio.create_task(server.fetch("POST", URL, data=text.encode()))
    assert (await server.fetch("GET", "/api/status")).status == 200
    reply = await rendering
    assert reply.status in (200, 400), reply.text
    if reply.status == 400:
        assert reply.json()["message"].startswith("Invalid RST")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_many_at_once_take_turns(server: Server):
    replies = await asyncio.gather(*(server.fetch("POST", URL, data=b"*a*") for _ in range(6)))
    assert [reply.status for reply in replies] == [200] * 6


async def test_nothing_goes_on_for_a_client_that_has_left(tmp_path: Path):
    async with make_services(tmp_path) as services:
        patient = replace(services, rst=Renderer(patience=1000))
        async with run_test_server(patient) as server:
            with pytest.raises(TimeoutError):
                await server.fetch("POST", URL, data=ENDLESS, timeout=aiohttp.ClientTimeout(total=2))
            async with asyncio.timeout(15):  # seconds; by itself it goes on until the system ends it
                while workers():
                    await asyncio.sleep(0.1)


async def test_only_so_many_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(renderer, "MAX_WAITING", 3)
    async with make_services(tmp_path) as services, run_test_server(services) as server:
        slow = [asyncio.create_task(server.fetch("POST", URL, data=ENDLESS)) for _ in range(3)]
        while len(workers()) < renderer.AT_ONCE:
            await asyncio.sleep(0.05)
        reply = await server.fetch("POST", URL, data=b"x")
        assert reply.status == 503 and reply.headers["Retry-After"] == "1"
        assert "try again" in reply.json()["message"]
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        while (reply := await server.fetch("POST", URL, data=b"x")).status != 200:
            assert reply.status == 503


async def test_without_docutils_it_says_what_to_install(tmp_path: Path):
    async with make_services(tmp_path) as services:
        without = replace(services, rst=Renderer(module="no_such_docutils"))
        async with run_test_server(without) as server:
            reply = await server.fetch("POST", URL, data=b"x")
    assert reply.status == 503
    assert reply.json()["message"].endswith(f"{sys.executable} -m pip install docutils")
    with pytest.raises(NotInstalled):
        await without.rst.render(b"x")
