"""The pytest plugin under which jupyter_server's own tests run against a live evstore.

It stands in for pytest-jupyter, whose fixtures start a jupyter_server: same names, same client (tornado's),
same errors. Tests that do not apply are deselected by not_applicable.toml.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import jupyter_core.paths
import pytest
import tornado.websocket
from jupyter_server.utils import url_path_join
from tornado.escape import url_escape
from tornado.httpclient import HTTPRequest, HTTPResponse

from tests.conftest import contents, contents_dir, folders  # noqa: F401 - fixtures, theirs as they are
from tests.helpers import TOKEN
from tests.jupyter_server import options, remote, source
from tests.jupyter_server.live import LiveServer
from tests.jupyter_server.table import Table

Fetch = Callable[..., Awaitable[HTTPResponse]]
TABLE: pytest.StashKey[Table] = pytest.StashKey()
LEFT_OUT: pytest.StashKey[tuple[int, int]] = pytest.StashKey()

_running: list[LiveServer] = []


# -- which tests -----------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    table = config.stash[TABLE] = Table.read()
    if stale := table.stale_files(config.rootpath / "tests"):
        raise pytest.UsageError(f"not_applicable.toml names files that are not there: {stale}")
    remote.install(_start_remote)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    tests = config.rootpath / "tests"
    if not collection_path.is_relative_to(tests):  # what pytest remembers lies beside them
        return None
    path = collection_path.relative_to(tests).as_posix()
    return True if config.stash[TABLE].excludes_file(path) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    table = config.stash[TABLE]
    ids = {item: item.nodeid.removeprefix("tests/") for item in items}
    if not any("::" in argument for argument in config.args) and (stale := table.stale_tests(ids.values())):
        raise pytest.UsageError(f"not_applicable.toml names tests that are not there: {stale}")
    repeats = [item for item, node_id in ids.items() if table.is_repeat(node_id)]
    others = [item for item, node_id in ids.items() if item not in repeats and table.excludes_test(node_id)]
    items[:] = [item for item in items if item not in repeats and item not in others]
    config.stash[LEFT_OUT] = (len(others), len(repeats))
    config.hook.pytest_deselected(items=repeats + others)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    passed, failed = (len(terminalreporter.stats.get(name, [])) for name in ("passed", "failed"))
    not_applicable, repeats = config.stash.get(LEFT_OUT, (0, 0))
    terminalreporter.write_line(
        f"jupyter_server {source.JUPYTER_SERVER.version}: {passed} tests pass against evstore, {failed} fail, "
        f"{not_applicable} do not apply, {repeats} are repeats, "
        f"{len(config.stash[TABLE].files)} files are not about its surface"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that passes without asking the server anything says nothing about evstore."""
    yield
    if not any(server.requests for server in _running):
        pytest.fail("passed, but evstore was not asked anything: list it in not_applicable.toml")


# -- the server --------------------------------------------------------------------------


class Facade:
    """What tests know as `jp_serverapp`: its settings and, through its API, its kernels.

    It has nothing else on purpose: a test that reaches for more fails, or does not apply.
    """

    __slots__ = ("base_url", "event_logger", "identity_provider", "kernel_manager", "root_dir")

    def __init__(self, server: LiveServer) -> None:
        self.base_url = server.base_url
        self.root_dir = str(server.folder)
        self.identity_provider = Identity()
        self.kernel_manager = KernelManager(server)
        self.event_logger = EventLogger(server)


class EventLogger:
    """`jp_serverapp.event_logger`: tests register schemas and sinks there, and emit on the server's own loop."""

    __slots__ = ("_server",)

    def __init__(self, server: LiveServer) -> None:
        self._server = server

    def register_event_schema(self, schema: Path) -> None:
        events = self._server.events
        self._server.on_loop(lambda: events.register_event_schema(schema))

    def register_handler(self, handler: logging.Handler) -> None:
        events = self._server.events
        self._server.on_loop(lambda: events.register_handler(handler))

    def emit(self, **event: Any) -> None:
        events = self._server.events
        self._server.on_loop(lambda: events.emit(**event))


class Identity:
    """`jp_serverapp.identity_provider`."""

    __slots__ = ()
    token = TOKEN


class KernelManager:
    """`jp_serverapp.kernel_manager`."""

    __slots__ = ("_server",)

    def __init__(self, server: LiveServer) -> None:
        self._server = server

    @property
    def default_kernel_name(self) -> str:
        return self._server.services.config.default_kernel

    @default_kernel_name.setter
    def default_kernel_name(self, name: str) -> None:
        self._server.stop()
        self._server.start(default_kernel=name)

    def get_kernel(self, kernel_id: str) -> object:
        return self._server.services.kernels.get(kernel_id)


def _start(home: Path, folder: Path, base_url: str = "/", **config: Any) -> LiveServer:
    server = LiveServer(home, folder, base_url, **config)
    _running.append(server)
    return server


def _start_remote(folder: Path) -> LiveServer:
    """A server for a contents manager; another manager on the same folder shares it."""
    for server in _running:
        if server.folder == folder:
            return server
    home = folder.with_name(f"{folder.name}-home")
    home.mkdir()
    return _start(home, folder)


@pytest.fixture(autouse=True)
def stop_servers() -> Iterator[None]:
    yield
    while _running:
        _running.pop().close()


@pytest.fixture
def live_server(
    tmp_path: Path, jp_root_dir: Path, jp_base_url: str, jp_environ: None, jp_server_config: dict[str, Any]
) -> LiveServer:
    return _start(tmp_path, jp_root_dir, jp_base_url, **options.settings(jp_server_config))


@pytest.fixture
def jp_serverapp(live_server: LiveServer) -> Facade:
    return Facade(live_server)


# -- clients -----------------------------------------------------------------------------


@pytest.fixture
def jp_fetch(live_server: LiveServer, jp_auth_header: dict[str, str]) -> Fetch:
    async def fetch(*parts: str, headers: Any = None, params: Any = None, **kwargs: Any) -> HTTPResponse:
        return await live_server.fetch(
            _address(live_server, parts, params), headers=jp_auth_header | (headers or {}), **kwargs
        )

    return fetch


@pytest.fixture
def jp_ws_fetch(live_server: LiveServer, jp_auth_header: dict[str, str]) -> Callable[..., Awaitable[Any]]:
    async def connect(*parts: str, headers: Any = None, params: Any = None, **kwargs: Any) -> Any:
        live_server.requests += 1
        url = f"ws://{live_server.address}{_address(live_server, parts, params)}"
        return await tornado.websocket.websocket_connect(
            HTTPRequest(url, headers=jp_auth_header | (headers or {})), **kwargs
        )

    return connect


def _address(server: LiveServer, parts: tuple[str, ...], params: Any) -> str:
    """The path and the query, put together as pytest-jupyter does."""
    path = url_path_join(server.base_url, url_escape(url_path_join(*parts), plus=False))
    return f"{path}?{urlencode(params or {})}"


class Client(Protocol):
    """What `http_server_client` can do."""

    async def fetch(self, path: str, **kwargs: Any) -> HTTPResponse: ...


@pytest.fixture
def http_server_client(live_server: LiveServer) -> Client:
    """For requests without the token."""
    return live_server


@pytest.fixture
def jp_auth_header(live_server: LiveServer) -> dict[str, str]:
    return live_server.auth_header


@pytest.fixture
def jp_http_port(live_server: LiveServer) -> int:
    return live_server.port


# -- folders and settings ------------------------------------------------------------------


@pytest.fixture
def jp_base_url() -> str:
    return "/a%40b/"


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    """jupyter_server's options; tests put their own in its place."""
    return {}


@pytest.fixture
def jp_argv() -> list[str]:
    return []


@pytest.fixture
def jp_root_dir(tmp_path: Path) -> Path:
    return _made(tmp_path / "root_dir")


@pytest.fixture
def jp_data_dir(tmp_path: Path) -> Path:
    return _made(tmp_path / "data")


@pytest.fixture
def jp_environ(tmp_path: Path, jp_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jupyter's folders, all in the test's own; kernels find them by the environment."""
    for variable, name in {
        "HOME": "home",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
    }.items():
        monkeypatch.setenv(variable, str(_made(tmp_path / name)))
    for name in ("SYSTEM_JUPYTER_PATH", "ENV_JUPYTER_PATH", "SYSTEM_CONFIG_PATH", "ENV_CONFIG_PATH"):
        monkeypatch.setattr(jupyter_core.paths, name, [str(tmp_path / name.lower())])


@pytest.fixture
def jp_kernelspecs(jp_data_dir: Path) -> None:
    """Kernels to list, one of them with a program that is not there."""
    for name, program in {"sample": "cat", "sample2": "cat", "bad": "non_existent_path"}.items():
        folder = _made(jp_data_dir / "kernels" / name)
        spec = {"argv": [program, "{connection_file}"], "display_name": "Test kernel"}
        (folder / "kernel.json").write_text(json.dumps(spec))
        (folder / "resource.txt").write_text("The very model of a modern major general")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
