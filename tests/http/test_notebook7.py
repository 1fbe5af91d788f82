"""Notebook 7: its pages, redirects and files (jupyter-surface.md 2.4, last row)."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from notebook import app as upstream

from tests.helpers import TOKEN, Server, StartServer
from tests.http.test_lab import page_config

NAME = "a b%2Fc# ü😀.ipynb"  # no slash in it: a percent sign, a 2 and an F


async def make(server: Server, path: str, kind: str = "file") -> None:
    """A file, directory or notebook at `path`, which is percent-encoded."""
    model: dict[str, Any] = {"type": kind}
    if kind == "file":
        model |= {"format": "text", "content": ""}
    if kind == "notebook":
        model["content"] = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    reply = await server.fetch("PUT", f"/api/contents/{path}", json=model)
    assert reply.status == 201, reply.text


@pytest.fixture
async def full(start_server: StartServer) -> Server:
    """A server below /base/ with a folder, a notebook and a file, with names that need care."""
    server = await start_server(base_url="/base/", app="notebook")
    await make(server, "d%20%C3%BC", "directory")
    await make(server, "d%20%C3%BC/a%20b%252Fc%23%20%C3%BC%F0%9F%98%80.ipynb", "notebook")
    await make(server, "d%20%C3%BC/%25.txt")
    return server


# -- pages ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tree", {"notebookPage": "tree", "treePath": ""}),
        ("/tree/", {"notebookPage": "tree", "treePath": ""}),
        ("/tree/d%20%C3%BC", {"notebookPage": "tree", "treePath": "d ü"}),
        ("/tree/d%20%C3%BC/", {"notebookPage": "tree", "treePath": "d ü"}),
        ("/notebooks/d%20%C3%BC/a%20b%252Fc%23%20%C3%BC%F0%9F%98%80.ipynb", {"notebookPage": "notebooks"}),
        ("/notebooks/d%20%C3%BC%2Fa%20b%252Fc%23.ipynb", {"notebookPage": "notebooks"}),
        ("/notebooks/missing.ipynb", {"notebookPage": "notebooks"}),
        ("/edit/d%20%C3%BC/%25.txt", {"notebookPage": "edit"}),
        ("/edit", {"notebookPage": "edit"}),
        ("/consoles/x", {"notebookPage": "consoles"}),
        ("/consoles/", {"notebookPage": "consoles"}),
        ("/terminals/1", {"notebookPage": "terminals"}),
    ],
)
async def test_pages(full: Server, path: str, expected: dict[str, str]):
    config = page_config(await full.fetch("GET", path))
    assert config | expected == config
    assert (config["baseUrl"], config["frontendUrl"]) == ("/base/", "/base/")
    assert config["fullStaticUrl"] == "/base/static/notebook"
    assert config["fullAppUrl"] == "/base/lab", "where Notebook finds settings, and JupyterLab"
    assert (config["appName"], config["appNamespace"]) == ("Jupyter Notebook", "notebook")
    assert config["token"] == ""


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/", "/base/tree"),
        ("/tree/d%20%C3%BC/%25.txt", "/base/files/d%20%C3%BC/%25.txt"),
        ("/tree/d%20%C3%BC%2F%25.txt", "/base/files/d%20%C3%BC/%25.txt"),
        (
            "/tree/d%20%C3%BC/a%20b%252Fc%23%20%C3%BC%F0%9F%98%80.ipynb",
            "/base/notebooks/d%20%C3%BC/a%20b%252Fc%23%20%C3%BC%F0%9F%98%80.ipynb",
        ),
        ("/notebooks/", "/base/tree"),
        ("/notebooks/d%20%C3%BC", "/base/tree/d%20%C3%BC"),
        ("/notebooks/d%20%C3%BC/", "/base/tree/d%20%C3%BC"),
        (f"/notebooks/d%20%C3%BC%2Fx.ipynb?token={TOKEN}&a=1", "/base/notebooks/d%20%C3%BC%2Fx.ipynb?a=1"),
    ],
)
async def test_redirects(full: Server, path: str, location: str):
    reply = await full.fetch("GET", path)
    assert (reply.status, reply.headers["Location"]) == (302, location)
    if "token" not in path:
        assert (await full.fetch("HEAD", path)).headers["Location"] == location


@pytest.mark.parametrize(
    "path",
    [
        "/tree/missing",
        "/tree/.git",
        "/notebooks/.git",
        "/tree/..%2f..%2fetc",
        "/tree/%ff",
        "/tree/a%00b",
        "/consoles",
        "/terminals",
        "/treex",
    ],
)
async def test_what_has_no_page(full: Server, path: str):
    reply = await full.fetch("GET", path, headers={"Accept": "text/html"})
    assert (reply.status, reply.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


async def test_a_stranger_comes_back_after_the_login(full: Server):
    reply = await full.fetch("GET", "/notebooks/d%20%C3%BC%2Fx.ipynb?a=1", stranger=True)
    assert (
        reply.headers["Location"] == "/base/login?next=/base/notebooks/d%2520%25C3%25BC%252Fx.ipynb%3Fa%3D1"
    )


async def test_what_the_address_says_can_not_break_out_of_the_page(server: Server):
    await make(server, "%3Cscript%3Ealert(1)%3C%2Fscript%3E".replace("%2F", ""), "directory")
    reply = await server.fetch("GET", "/tree/%3Cscript%3Ealert(1)%3Cscript%3E")
    assert page_config(reply)["treePath"] == "<script>alert(1)<script>"
    assert "<script>alert" not in reply.text


async def test_the_page_has_all_keys_that_notebook_gives_its_own(server: Server):
    source = inspect.getsource(upstream.NotebookBaseHandler.get_page_config)
    source += inspect.getsource(upstream.JupyterNotebookApp.initialize_handlers)
    keys = set(re.findall(r'page_config(?:\.setdefault\(|\[)"(\w+)"|^ {12}"(\w+)":', source, re.M))
    keys = {first or second for first, second in keys}
    assert {"frontendUrl", "nbclassic_enabled", "preferredPath"} <= keys
    hub = {"hubPrefix", "hubHost", "hubUser", "shareUrl", "hubServerName"}
    old = {
        "mathjaxConfig",
        "fullMathjaxUrl",
        "jupyterConfigDir",
    }  # which no script reads, and a folder of this machine
    assert keys - hub - old <= set(page_config(await server.fetch("GET", "/tree")))


# -- files ---------------------------------------------------------------------------


async def test_all_that_a_page_names_is_there(server: Server):
    for path in ("/tree", "/notebooks/x.ipynb", "/edit/x", "/consoles/x", "/terminals/1"):
        page = (await server.fetch("GET", path)).text
        addresses = re.findall(r'(?:href|src)="/([^"]+)"', page)
        assert any("main." in address for address in addresses)
        for address in addresses:
            assert (await server.fetch("GET", address)).status == 200, address


async def test_the_bundle_is_there_and_kept(server: Server):
    page = await server.fetch("GET", "/tree")
    address = re.search(r'src="/(static/notebook/main\.[^"]*)"', page.text)
    assert address is not None
    reply = await server.fetch("GET", address[1], stranger=True)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/javascript")
    assert "immutable" in reply.headers["Cache-Control"]
    for wrong in ("..%2fapp.py", "..%2f..%2fsite.py", "missing.js"):
        assert (await server.fetch("GET", f"/static/notebook/{wrong}")).status == 404


async def test_the_users_own_style(server: Server):
    default = await server.fetch("GET", "/custom/custom.css")
    assert (default.status, default.headers["Content-Type"]) == (200, "text/css")
    folder: Path | None = server.services.config.settings_dir
    assert folder is not None
    (folder / "custom").mkdir(parents=True)
    for name in ("custom.css", "logo.svg", "custom.js"):
        (folder / "custom" / name).write_text(f"my {name}")
    assert (await server.fetch("GET", "/custom/custom.css")).text == "my custom.css"
    assert (await server.fetch("GET", "/custom/logo.svg")).text == "my logo.svg"
    for wrong in ("custom.js", "nothing.css", "..%2fcookie_secret"):
        assert (await server.fetch("GET", f"/custom/{wrong}")).status == 404, wrong
    assert (await server.fetch("GET", "/custom/custom.css", stranger=True)).status == 403


async def test_a_typed_address_shows_a_file(server: Server):
    """As /tree leads to /files, which only our own pages may ask for, and who types its address."""
    await make(server, "x.txt")
    cookies = await server.log_in()
    for site, status in (("none", 200), ("cross-site", 403), ("same-site", 403)):
        headers = {"Cookie": cookies["Cookie"], "Sec-Fetch-Site": site}
        assert (await server.fetch("GET", "/files/x.txt", stranger=True, headers=headers)).status == status, (
            site
        )


# -- without it ----------------------------------------------------------------------


async def test_without_notebook_a_page_says_what_to_install(server: Server):
    server.services.lab.installed.discard("notebook")
    for path in ("/tree", "/notebooks/x.ipynb", "/edit/x", "/consoles/x", "/terminals/x"):
        reply = await server.fetch("GET", path)
        assert reply.status == 501
        assert "pip install notebook" in reply.text
    for path in ("/static/notebook/main.js", "/custom/custom.css"):
        reply = await server.fetch("GET", path)
        assert reply.status == 501
        assert "pip install notebook" in reply.json()["message"]
    assert (await server.fetch("GET", "/lab")).status == 200, "JupyterLab does not need it"


async def test_both_have_the_same_extensions_settings_and_urls(server: Server):
    lab, notebook = [page_config(await server.fetch("GET", path)) for path in ("/lab", "/tree")]
    different = {key for key in lab.keys() & notebook.keys() if lab[key] != notebook[key]}
    assert different == {"appName", "appNamespace", "appVersion", "fullStaticUrl"}
    listed = (await server.fetch("GET", "/lab/api/settings?ids_only=true")).json()["settings"]
    assert {"@jupyterlab/apputils-extension:themes", "@jupyter-notebook/application-extension:top"} <= {
        entry["id"] for entry in listed
    }
    assert json.loads(notebook["notebookVersion"])[0] >= 2
