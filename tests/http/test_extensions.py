"""The extension manager, the plugin manager, and what is asked along with them (jupyter-surface.md 2.4).

Installing from a package index is tried in tests/process/test_extension_install.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Reply, Server, StartServer
from tests.http.test_lab import page_config

PATH = "/lab/api/extensions"
HALVES = {"nbdime-jupyterlab"}  # which need an extension of jupyter_server
THEMES = "@jupyterlab/apputils-extension:themes"
NEWS = "@jupyterlab/apputils-extension:announcements"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own `labconfig`."""
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "settings"))
    folder = tmp_path / "settings/labconfig"
    folder.mkdir(parents=True)
    return folder


async def installed(server: Server, query: str = "") -> dict[str, dict[str, Any]]:
    """The installed extensions by name."""
    reply = await server.fetch("GET", f"{PATH}{query}")
    assert reply.status == 200, reply.text
    return {each["name"]: each for each in reply.json()}


async def post(server: Server, body: Any, path: str = PATH) -> Reply:
    return await server.fetch("POST", path, json=body)


async def disabled(server: Server) -> set[str]:
    """What a page that is loaded now leaves out."""
    return set(page_config(await server.fetch("GET", "/lab"))["disabledExtensions"])


# -- reading -------------------------------------------------------------------------


async def test_installed_extensions_are_listed(server: Server):
    found = await installed(server, "?refresh=1")
    pygments = found["jupyterlab_pygments"]
    assert (pygments["installed"], pygments["enabled"], pygments["status"]) == (True, True, "ok")
    assert pygments["installed_version"] == "0.3.0"
    assert pygments["install"]["packageName"] == "jupyterlab_pygments"
    assert "@jupyter-notebook/lab-extension" in found
    assert {"description", "homepage_url", "author", "license", "companion"} <= set(pygments)


async def test_an_extension_without_its_server_half_is_listed_as_such(server: Server):
    """It would only show an error in the page, so it is left out there, and the list says why."""
    found = await installed(server)
    assert found.keys() >= HALVES
    for name in HALVES:
        assert not found[name]["enabled"]
        assert "extension of jupyter_server" in found[name]["description"]
    loaded = {each["name"] for each in page_config(await server.fetch("GET", "/lab"))["federated_extensions"]}
    assert loaded & HALVES == set()
    assert "jupyterlab_pygments" in loaded


@pytest.mark.parametrize(
    ("query", "links"),
    [
        ("", {"last": "page=1&per_page=30", "first": "page=1&per_page=30"}),
        ("?page=1&per_page=5", {"last": "page=1&per_page=5", "first": "page=1&per_page=5"}),
        ("?page=7&per_page=500", {"last": "page=1&per_page=100", "first": "page=1&per_page=100"}),
        (
            "?query=a%26b",
            {"last": "page=1&per_page=30&query=a%26b", "first": "page=1&per_page=30&query=a%26b"},
        ),
    ],
)
async def test_pages_are_linked(start_server: StartServer, query: str, links: dict[str, str]):
    server = await start_server(base_url="/base/")
    reply = await server.fetch("GET", f"{PATH}{query}")
    expected = [f'<{server.url}lab/api/extensions?{link}>; rel="{name}"' for name, link in links.items()]
    assert reply.headers["Link"] == ", ".join(expected)
    assert (reply.json() == []) == ("query" in query), (
        "there is nothing to find where nothing can be installed"
    )


@pytest.mark.parametrize(
    "query", ["page=x", "page=-1", "per_page=1e3", "per_page=", "refresh=yes", "page=9999999999999"]
)
async def test_bad_numbers(server: Server, query: str):
    assert (await server.fetch("GET", f"{PATH}?{query}")).status == 400


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("build", {"status": "stable", "message": ""}),
        ("news", {"news": []}),
        ("update", {"notification": None}),
        (
            "listings/@jupyterlab/extensionmanager-extension/listings.json",
            {
                "blocked_extensions_uris": [],
                "allowed_extensions_uris": [],
                "blocked_extensions": [],
                "allowed_extensions": [],
            },
        ),
    ],
)
async def test_what_is_asked_of_nobody(server: Server, path: str, expected: object):
    assert (await server.fetch("GET", f"/lab/api/{path}")).json() == expected


async def test_nothing_is_built(server: Server):
    assert (await server.fetch("POST", "/lab/api/build")).status == 501
    assert (await server.fetch("DELETE", "/lab/api/build")).status == 404


# -- switching on and off ------------------------------------------------------------


async def test_an_extension_is_switched_off_and_on(server: Server, config: Path):
    reply = await post(server, {"cmd": "disable", "extension_name": "jupyterlab_pygments"})
    assert (reply.status, reply.json()) == (
        201,
        {"status": "ok", "message": None, "needs_restart": ["frontend"]},
    )
    assert "jupyterlab_pygments" in await disabled(server)
    assert not (await installed(server))["jupyterlab_pygments"]["enabled"]
    assert json.loads((config / "page_config.json").read_text())["disabledExtensions"] == {
        "jupyterlab_pygments": True
    }
    assert (await post(server, {"cmd": "enable", "extension_name": "jupyterlab_pygments"})).status == 201
    assert "jupyterlab_pygments" not in await disabled(server)
    assert (await installed(server))["jupyterlab_pygments"]["enabled"]


async def test_a_plugin_is_switched_off_and_on(server: Server, config: Path):
    (config / "page_config.json").write_text(
        '{"exposeAppInBrowser": true, "disabledExtensions": {"@a/b:c": true}}'
    )
    for name in (THEMES, "@a/b"):
        body = {"cmd": "disable", "plugin_name": name}
        assert (await post(server, body, "/lab/api/plugins")).status == 201
    assert {THEMES, "@a/b", "@a/b:c"} <= await disabled(server)
    for name in (THEMES, "@a/b:c"):
        body = {"cmd": "enable", "plugin_name": name}
        assert (await post(server, body, "/lab/api/plugins")).status == 201
    assert await disabled(server) & {THEMES, "@a/b", "@a/b:c"} == {"@a/b"}
    assert json.loads((config / "page_config.json").read_text())["exposeAppInBrowser"] is True
    assert os.listdir(config) == ["page_config.json"]


async def test_what_is_locked_stays_as_it_is(server: Server, config: Path):
    rules = {"@locked/extension": True, "@locked/other:plugin": True, "@open/extension": False}
    (config / "page_config.json").write_text(json.dumps({"lockedExtensions": rules}))
    locks = (await server.fetch("GET", "/lab/api/plugins")).json()
    assert locks["allLocked"] is False
    assert {"@locked/extension", "@locked/other:plugin", NEWS} | HALVES == set(locks["lockRules"])
    for name, status in {
        "@locked/extension": 403,
        "@locked/extension:any": 403,
        "@locked/other": 403,  # one of its plugins
        "@locked/other:plugin": 403,
        "@locked/other:another": 201,
        "@open/extension": 201,
        NEWS: 403,
        "nbdime-jupyterlab:plugin": 403,
    }.items():
        for command in ("enable", "disable"):
            reply = await post(server, {"cmd": command, "plugin_name": name}, "/lab/api/plugins")
            assert reply.status == status, name
            assert status == 201 or "locked" in reply.json()["message"]
    reply = await post(server, {"cmd": "enable", "extension_name": "nbdime-jupyterlab"})
    assert reply.status == 403


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (PATH, {"cmd": "disable", "extension_name": "no-such"}, 404),
        (PATH, {"cmd": "destroy", "extension_name": "x"}, 422),
        (PATH, {"cmd": ["enable"], "extension_name": "x"}, 422),
        (PATH, {"cmd": "enable", "extension_name": ""}, 422),
        (PATH, {"cmd": "enable", "extension_name": 5}, 422),
        (PATH, {"cmd": "install", "extension_name": "x", "extension_version": 1}, 400),
        (PATH, {}, 422),
        (PATH, [], 400),
        ("/lab/api/plugins", {"cmd": "enable", "plugin_name": "a\nb"}, 400),
        ("/lab/api/plugins", {"cmd": "enable", "plugin_name": "x" * 201}, 400),
        ("/lab/api/plugins", {"cmd": "install", "plugin_name": "x"}, 422),
        ("/lab/api/plugins", {"cmd": "enable"}, 422),
    ],
)
async def test_bad_requests_change_nothing(server: Server, config: Path, path: str, body: Any, status: int):
    assert (await post(server, body, path)).status == status
    assert os.listdir(config) == []


# -- installing ----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["install", "uninstall"])
async def test_nothing_is_installed_unless_that_is_allowed(server: Server, command: str):
    reply = await post(server, {"cmd": command, "extension_name": "jupyterlab_pygments"})
    assert reply.status == 403
    assert "--allow-extension-install" in reply.json()["message"]
    manager = page_config(await server.fetch("GET", "/lab"))["extensionManager"]
    assert manager == {"name": "read-only", "can_install": False, "install_path": None}


@pytest.mark.parametrize("name", ["--help", "a/b", "../x", "git+https://x", "x; rm", "x>=1", "-r x"])
async def test_only_names_reach_pip(start_server: StartServer, name: str):
    server = await start_server(allow_extension_install=True)
    for command in ("install", "uninstall"):
        reply = await post(server, {"cmd": command, "extension_name": name})
        assert reply.status == 422
        assert "package" in reply.json()["message"]
    body = {"cmd": "install", "extension_name": "x", "extension_version": "1 --pre"}
    assert (await post(server, body)).status == 422


@pytest.mark.parametrize("text", ["{", "\xff", "[1]"])
async def test_a_file_of_the_user_that_can_not_be_read(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
):
    """The page starts all the same, and what is in the file is not written over."""
    file = tmp_path / "own/labconfig/page_config.json"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="latin-1")
    server = await start_server(settings_dir=tmp_path / "own")
    assert await disabled(server) == {NEWS}
    assert await installed(server)
    assert f"{file} is left out" in caplog.text
    reply = await post(server, {"cmd": "disable", "plugin_name": THEMES}, "/lab/api/plugins")
    assert (reply.status, "page_config.json" in reply.json()["message"]) == (422, True)
    assert str(tmp_path) not in reply.text
    assert file.read_text(encoding="latin-1") == text
