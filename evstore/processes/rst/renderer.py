"""One process for each text, two at a time."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from importlib.util import find_spec

from evstore.core.errors import Busy, Invalid, NotInstalled, TooLarge
from evstore.core.units import MIB
from evstore.processes import child_env
from evstore.processes.rst.worker import INVALID

COMMAND = (
    sys.executable,
    "-P",
    "-m",
    "evstore.processes.rst.worker",
)  # -P: nothing is imported from the folder
INSTALL = f"{sys.executable} -m pip install docutils"
AT_ONCE = 2  # processes
MAX_WAITING = 32  # texts, with those that are being rendered
PATIENCE = 10.0  # seconds for one text
MAX_TEXT = MIB  # bytes
MAX_HTML = 32 * MIB  # bytes


class Renderer:
    """Turns texts into pages."""

    def __init__(self, *, patience: float = PATIENCE, module: str = "docutils") -> None:
        self._patience = patience
        self._module = module  # that must be importable
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def render(self, text: bytes) -> bytes:
        """The HTML page of a text in UTF-8; cancelling this stops it.

        Raises NotInstalled without docutils, TooLarge, Busy when too many wait, and Invalid when it is not valid
        or takes too long.
        """
        if find_spec(self._module) is None:
            raise NotInstalled(f"docutils is not installed here; this installs it: {INSTALL}")
        if len(text) > MAX_TEXT:
            raise TooLarge(f"The text is longer than {MAX_TEXT} bytes.")
        if self._waiting >= MAX_WAITING:
            raise Busy("Too many texts wait to be rendered; try again in a moment.")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._run(text)
        finally:
            self._waiting -= 1

    async def _run(self, text: bytes) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=child_env.for_programs()
        )
        try:
            async with asyncio.timeout(self._patience):
                html, words = await _converse(process, text)
                code = await process.wait()
        except TimeoutError:
            raise Invalid(f"Invalid RST: it takes longer than {self._patience:g} s.") from None
        finally:
            await _end(process)
        if len(html) > MAX_HTML:
            raise Invalid("Invalid RST: what comes out of it is too large.")
        if code == 0:
            return html
        raise Invalid(f"Invalid RST: {words}" if words and code == INVALID else "Invalid RST")


async def _end(process: Process) -> None:
    """When this returns, nothing is left of it, its pipes neither."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    await process.communicate()


async def _converse(process: Process, text: bytes) -> tuple[bytes, str]:
    """The page, up to just more than MAX_HTML bytes, and what is wrong with the text."""
    to, page, errors = process.stdin, process.stdout, process.stderr
    assert to is not None and page is not None and errors is not None
    with contextlib.suppress(ConnectionError):  # it ended early, and says why
        to.write(text)
        await to.drain()
        to.close()
    html = bytearray()
    while len(html) <= MAX_HTML and (block := await page.read(65536)):
        html += block
    if len(html) > MAX_HTML:
        process.kill()
    words = await errors.read(500)
    return bytes(html), words.decode(errors="replace").strip()
