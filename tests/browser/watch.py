"""What goes wrong in a browser, noted from outside: nothing may, but for a short list."""

from __future__ import annotations

import re
from urllib.parse import quote

from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request, Response, WebError, WebSocket

# What JupyterLab and Notebook do on a faultless server as well.
KNOWN = (
    # Requests that are on their way when a page is left or a view closed: the browser gives them up.
    # What a server breaks off has other names (ERR_EMPTY_RESPONSE, ERR_CONNECTION_RESET, ...).
    re.compile(r"request failed: .* net::ERR_ABORTED$"),
    # What a page asked a kernel, and gave up itself because the notebook was closed: the debugger's first question.
    re.compile(r"console: Could not restore the debugger state: Canceled future for debug_request message"),
    # What comes too late for a view that has been closed: an animation frame of a notebook,
    re.compile(r"page error: TypeError: Cannot read properties of null \(reading 'observe'\)"),
    # and a call to a rate limiter (lumino's Debouncer).
    re.compile(
        r"page error: TypeError: Cannot read properties of null \(reading 'promise'\)\s+at \w+\.invoke "
    ),
    # On each of its pages, Notebook 7.6 asks for the shortcuts of plugins that this page does not have.
    re.compile(
        r"page error: TypeError: Cannot read properties of undefined \(reading 'schema'\)\s+at .*/notebook_core"
    ),
    # Its file browser starts the session of a new notebook, and gives it up for that of the notebook's own page.
    re.compile(r"page error: Error: Disposed\s+at \w+\._handleNewSession .*/notebook_core"),
    # So it does with consoles, in the middle of a console's first question, and with terminals.
    re.compile(r"page error: Error: Canceled future for history_request .*\s+at .*/notebook_core"),
    re.compile(
        r"console: TypeError: Cannot read properties of undefined \(reading 'options'\)\s+at \w+\.setOption "
    ),
    # JupyterLab asks each open page for its name, and Notebook's have none.
    re.compile(r'page error: Window name candidate "null" already exists'),
)


class Watch:
    """Collects console errors, page errors, failed requests, statuses from 400 on and broken websockets."""

    def __init__(self, context: BrowserContext) -> None:
        self.problems: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        context.on("console", self._console)
        context.on("weberror", self._page_error)
        context.on("requestfailed", self._failed)
        context.on("response", self._response)
        context.on("page", self._page)

    def expect(self, pattern: str) -> None:
        """What a test does on purpose is no problem from now on."""
        self._expected.append(re.compile(pattern))

    def gone(self, path: str) -> None:
        """A test renames or deletes `path`, in whatever folder.

        JupyterLab remembers what was opened lately by its path. When a page loads it asks about each, and
        learns from a 404 what it must forget.
        """
        self.expect(rf"/api/contents/([^?]*/)?{re.escape(quote(path))}(/[^?]*)?\?content=0&hash=0&")

    def check(self) -> None:
        """Fail if there was a problem since the last time."""
        problems, self.problems = self.problems, []
        assert not problems, "\n".join(problems)

    def _note(self, problem: str) -> None:
        if not any(pattern.search(problem) for pattern in (*KNOWN, *self._expected)):
            self.problems.append(problem)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            self._note(f"console: {message.text} ({message.location['url']})")

    def _page_error(self, error: WebError) -> None:
        self._note(f"page error: {error.error.stack or error.error}")

    def _failed(self, request: Request) -> None:
        self._note(f"request failed: {request.method} {request.url} {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self._note(f"status {response.status}: {response.request.method} {response.url}")

    def _page(self, page: Page) -> None:
        page.on("crash", lambda _: self._note("the page crashed"))
        page.on("websocket", self._websocket)

    def _websocket(self, socket: WebSocket) -> None:
        socket.on("socketerror", lambda error: self._note(f"websocket: {socket.url} {error}"))
