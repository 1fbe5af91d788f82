"""JupyterLab's page, files and API (jupyter-surface.md 2.4)."""

from __future__ import annotations

import html
import inspect
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from jupyterlab.labapp import LabApp
from jupyterlab_server.config import LabConfig

from tests.helpers import TOKEN, Reply, Server, StartServer

THEMES = "@jupyterlab/apputils-extension:themes"
LANGUAGE = "@jupyterlab/translation-extension:plugin"
CSS = "@jupyterlab/theme-light-extension/index.css"


def page_config(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.text
    found = re.search(
        r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', reply.text, re.S
    )
    assert found is not None
    bundle = re.search(r'<script defer="defer"[^>]*main\.', reply.text)
    assert bundle or found.start() < reply.text.index("main."), (
        "the bundle runs after the configuration is there"
    )
    return json.loads(html.unescape(found[1]))


# -- the page ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/lab", {"mode": "multiple-document", "workspace": "default", "treePath": ""}),
        ("/lab?reset", {"workspace": "default"}),
        ("/lab/tree/a/b%20c.ipynb", {"treePath": "a/b c.ipynb"}),
        ("/lab/tree/%F0%9F%98%80%25%23.ipynb", {"treePath": "😀%#.ipynb"}),
        ("/lab/workspaces/my-1_x", {"workspace": "my-1_x", "treePath": ""}),
        ("/lab/workspaces/w/tree/x.py", {"workspace": "w", "treePath": "x.py"}),
        ("/doc/tree/x.ipynb", {"mode": "single-document", "treePath": "x.ipynb"}),
        ("/doc/workspaces/w/tree/x.ipynb", {"mode": "single-document", "workspace": "w"}),
        ("/lab/elsewhere", {"notFoundUrl": "/base/lab/elsewhere"}),
    ],
)
async def test_the_page_knows_from_its_address_what_to_open(
    start_server: StartServer, path: str, expected: dict[str, str]
):
    server = await start_server(base_url="/base/")
    config = page_config(await server.fetch("GET", path))
    assert config | expected == config
    assert ("notFoundUrl" in config) == ("notFoundUrl" in expected)
    assert config["baseUrl"] == "/base/"


async def test_the_page_holds_no_token(server: Server):
    """CVE-2026-40171, CVE-2024-22421: the cookie lets it in, and there is nothing to take away."""
    reply = await server.fetch("GET", "/lab")
    assert page_config(reply)["token"] == ""
    assert TOKEN not in reply.text


async def test_what_the_address_says_can_not_break_out_of_the_page(server: Server):
    attack = "</script><script>alert(1)</script>"
    reply = await server.fetch("GET", f"/lab/tree/{quote(attack, safe='')}")
    assert page_config(reply)["treePath"] == attack
    assert "<script>alert" not in reply.text


async def test_the_page_brings_an_xsrf_cookie_that_scripts_can_read(server: Server):
    """S2; one that the browser has already stays as it is."""
    lines = (await server.fetch("GET", "/lab")).headers.getall("Set-Cookie")
    xsrf = next(line for line in lines if line.startswith("_xsrf="))
    assert xsrf.endswith("; Path=/; Max-Age=2592000; SameSite=Lax")
    cookies = await server.log_in()
    assert "Set-Cookie" not in (await server.fetch("GET", "/lab", stranger=True, headers=cookies)).headers


def keys_set_by_jupyterlab() -> set[str]:
    source = inspect.getsource(LabApp.initialize_handlers)
    return set(re.findall(r'page_config(?:\.setdefault\(|\[)"(\w+)"', source))


async def test_the_page_has_all_keys_that_jupyterlab_gives_its_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    """The front end's configuration as JupyterLab's own server application makes it, key by key."""
    ours = page_config(await server.fetch("GET", "/lab"))
    camel = re.compile("_([a-z])")
    names = [camel.sub(lambda match: match[1].upper(), name) for name in LabConfig.class_trait_names()]
    private = {"extraLabextensionsPath", "labextensionsPath"} | {
        name for name in names if name.endswith("Dir")
    }
    full = {f"full{name[0].upper()}{name[1:]}" for name in names if name.endswith("Url")}
    assert (set(names) | full) - private <= set(ours)
    assert not private & set(ours), "folders of this machine are nobody's business"
    hub_only = {"hubPrefix", "hubHost", "hubUser", "shareUrl", "hubServerName"}
    assert {"token", "news"} < keys_set_by_jupyterlab()
    assert keys_set_by_jupyterlab() - hub_only <= set(ours)
    assert ours["terminalsAvailable"] is True
    assert json.loads(ours["notebookVersion"])[0] >= 2
    assert "stream" in ours["untracked_message_types"]


async def test_without_jupyterlab_a_page_says_what_to_install(server: Server):
    server.services.lab.installed.clear()
    reply = await server.fetch("GET", "/lab")
    assert reply.status == 501
    assert "pip install jupyterlab" in reply.text
    for path in ("/lab/api/settings", "/static/lab/x.js", "/lab/api/themes/x.css"):
        reply = await server.fetch("GET", path)
        assert reply.status == 501
        assert "pip install jupyterlab" in reply.json()["message"]


# -- files ---------------------------------------------------------------------------


async def test_the_bundle_is_there_and_kept(server: Server):
    page = await server.fetch("GET", "/lab")
    address = re.search(r'src="/(static/lab/main\.[^"]*)"', page.text)
    assert address is not None
    reply = await server.fetch("GET", address[1], stranger=True)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/javascript")
    assert "immutable" in reply.headers["Cache-Control"]


async def test_federated_extensions_are_served(server: Server):
    extensions = page_config(await server.fetch("GET", "/lab"))["federated_extensions"]
    assert "jupyterlab_pygments" in {each["name"] for each in extensions}
    for each in extensions:
        reply = await server.fetch("GET", f"/lab/extensions/{each['name']}/{each['load']}")
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "text/javascript"
        assert "default-src 'none'" not in reply.headers["Content-Security-Policy"], "it may start workers"


async def test_an_extension_under_development_is_a_link(
    start_server: StartServer, tmp_path: Path, jupyter_data: Path
):
    source = tmp_path / "source"
    (source / "static").mkdir(parents=True)
    (source / "static/remoteEntry.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    (source / "static/out").symlink_to(tmp_path / "secret")
    (jupyter_data / "labextensions/@org").mkdir(parents=True)
    (jupyter_data / "labextensions/@org/mine").symlink_to(source)
    server = await start_server()
    path = "/lab/extensions/@org/mine/static"
    assert (await server.fetch("GET", f"{path}/remoteEntry.js")).body == b"1"
    for wrong in ("out", "..%2f..%2f..%2fsecret", "", "missing.js"):
        assert (await server.fetch("GET", f"{path}/{wrong}")).status == 404, wrong


@pytest.fixture
def jupyter_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of Jupyter's data."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


async def test_themes(start_server: StartServer, jupyter_data: Path):
    extension = jupyter_data / "labextensions/@org/mine"
    (extension / "themes/@org/mine").mkdir(parents=True)
    package = {"name": "@org/mine", "version": "1", "jupyterlab": {"_build": {"load": "static/x.js"}}}
    (extension / "package.json").write_text(json.dumps(package))
    (extension / "themes/@org/mine/index.css").write_text("a{b:url('images/x.png')}")
    (extension / "themes/@org/mine/x.svg").write_text("<svg/>")
    server = await start_server(base_url="/base/")
    css = await server.fetch("GET", "/lab/api/themes/@org/mine/index.css")
    assert css.text == "a{b:url('/base/lab/api/themes/@org/mine/images/x.png')}"
    assert css.headers["Content-Type"].startswith("text/css")
    svg = await server.fetch("GET", "/lab/api/themes/@org/mine/x.svg")
    assert (svg.status, svg.headers["Content-Type"]) == (200, "image/svg+xml")
    assert (await server.fetch("GET", f"/lab/api/themes/{CSS}")).status == 200
    assert (await server.fetch("GET", "/lab/api/themes/@org/mine/..%2f..%2f..%2fpackage.json")).status == 404


# -- settings ------------------------------------------------------------------------


async def settings(server: Server) -> dict[str, dict[str, Any]]:
    reply = await server.fetch("GET", "/lab/api/settings")
    assert reply.status == 200
    return {entry["id"]: entry for entry in reply.json()["settings"]}


async def test_settings_are_kept_word_for_word(server: Server):
    raw = '{\n  // dark, please\n  "theme": "JupyterLab Dark", /* ü */\n}'
    before = await settings(server)
    assert set(before[THEMES]) == {
        "id",
        "raw",
        "schema",
        "settings",
        "version",
        "created",
        "last_modified",
        "warning",
    }
    assert (await server.fetch("PUT", f"/lab/api/settings/{THEMES}", json={"raw": raw})).status == 204
    one = (await server.fetch("GET", f"/lab/api/settings/{THEMES}")).json()
    assert (one["raw"], one["settings"]) == (raw, {"theme": "JupyterLab Dark"})
    listed = await settings(server)
    assert listed[THEMES]["raw"] == raw
    del listed[THEMES], before[THEMES]
    assert listed == before
    settings_dir = server.services.config.settings_dir
    assert settings_dir is not None
    files = [path for path in settings_dir.rglob("*") if path.is_file()]
    assert [path.read_text() for path in files] == [raw]


async def test_the_list_of_ids(server: Server):
    reply = await server.fetch("GET", "/lab/api/settings?ids_only=true")
    assert {entry["id"] for entry in reply.json()["settings"]} == set(await settings(server))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"raw": "{}"}', 204),
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ('{"raw": 5}', 400),
        ("{}", 400),
        ('{"raw": "{"}', 400),
        ('{"raw": "{\\"theme\\": 5}"}', 400),
        ('{"raw": "' + "[" * 5000 + '"}', 400),
    ],
)
async def test_bad_settings_change_nothing(
    server: Server, caplog: pytest.LogCaptureFixture, body: str, status: int
):
    good = json.dumps({"raw": '{"theme": "x"}'})
    await server.fetch("PUT", f"/lab/api/settings/{THEMES}", data=good)
    reply = await server.fetch("PUT", f"/lab/api/settings/{THEMES}", data=body)
    assert reply.status == status
    kept = (await server.fetch("GET", f"/lab/api/settings/{THEMES}")).json()["raw"]
    assert kept == ("{}" if status == 204 else '{"theme": "x"}')
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "name", ["no:such", "nothing", "..%2f..%2fx:y", "@a/b/../c:d", "a:b:c", "x%00:y", "%2fetc:passwd"]
)
async def test_settings_of_no_plugin(server: Server, name: str):
    """S12."""
    assert (await server.fetch("GET", f"/lab/api/settings/{name}")).status == 404
    assert (await server.fetch("PUT", f"/lab/api/settings/{name}", json={"raw": "{}"})).status == 404


async def test_one_broken_settings_file_does_not_take_the_others_along(server: Server):
    await server.fetch("PUT", f"/lab/api/settings/{THEMES}", json={"raw": '{"theme": "x"}'})
    await server.fetch("PUT", f"/lab/api/settings/{LANGUAGE}", json={"raw": '{"locale": "default"}'})
    settings_dir = server.services.config.settings_dir
    assert settings_dir is not None
    (broken,) = settings_dir.rglob("themes.jupyterlab-settings")
    broken.write_text("{half")
    found = await settings(server)
    assert found[THEMES]["settings"] == {}
    assert found[LANGUAGE]["settings"] == {"locale": "default"}
    assert (await server.fetch("GET", f"/lab/api/settings/{THEMES}")).json()["settings"] == {}


# -- workspaces -----------------------------------------------------------------------


async def test_workspaces(server: Server):
    path = "/lab/api/workspaces"
    assert (await server.fetch("GET", path)).json() == {"workspaces": {"ids": [], "values": []}}
    missing = await server.fetch("GET", f"{path}/default")
    assert (missing.status, missing.json()) == (200, {"data": {}, "metadata": {"id": "/default"}})
    saved = {"data": {"layout": [1, "é"]}, "metadata": {"id": "default"}}
    assert (await server.fetch("PUT", f"{path}/default", json=saved)).status == 204
    assert (
        await server.fetch("PUT", f"{path}/b%20%C3%BC", json={"data": {}, "metadata": {"id": "/b ü"}})
    ).status == 204
    one = (await server.fetch("GET", f"{path}/default")).json()
    assert one["data"] == saved["data"]
    assert set(one["metadata"]) == {"id", "created", "last_modified"}
    listed = (await server.fetch("GET", f"{path}/")).json()["workspaces"]
    assert sorted(listed["ids"]) == ["/b ü", "default"]
    assert one in listed["values"]
    assert (await server.fetch("DELETE", f"{path}/default")).status == 204
    assert (await server.fetch("DELETE", f"{path}/default")).status == 404
    assert (await server.fetch("GET", f"{path}/default")).json()["data"] == {}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "[1]",
        "5",
        "{}",
        '{"data": {}}',
        '{"metadata": {"id": "other"}}',
        '{"metadata": {"id": 5}}',
        "[" * 99_999,
    ],
)
async def test_bad_workspaces_change_nothing(server: Server, body: str):
    reply = await server.fetch("PUT", "/lab/api/workspaces/w", data=body)
    assert reply.status == 400
    assert (await server.fetch("GET", "/lab/api/workspaces")).json()["workspaces"]["ids"] == []


async def test_a_broken_workspace_counts_as_missing(server: Server):
    """A page that can't restore its layout must still start."""
    good = {"data": {"x": 1}, "metadata": {"id": "good"}}
    await server.fetch("PUT", "/lab/api/workspaces/good", json=good)
    await server.fetch("PUT", "/lab/api/workspaces/bad", json={"data": {}, "metadata": {"id": "bad"}})
    settings_dir = server.services.config.settings_dir
    assert settings_dir is not None
    for content in ("", "{half", "[]", '{"metadata": {}}'):
        (broken,) = settings_dir.rglob("bad*.jupyterlab-workspace")
        broken.write_text(content)
        assert (await server.fetch("GET", "/lab/api/workspaces/bad")).json()["data"] == {}
        assert (await server.fetch("GET", "/lab/api/workspaces")).json()["workspaces"]["ids"] == ["good"]


# -- the rest ------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["", "/en", "/default", "/de_DE", "/xx_XX", "/..%2f", "/%00"])
async def test_translations_always_answer(server: Server, locale: str):
    reply = await server.fetch("GET", f"/lab/api/translations{locale}")
    assert reply.status == 200
    assert set(reply.json()) == {"data", "message"}


async def test_licenses(server: Server):
    found = (await server.fetch("GET", "/lab/api/licenses/")).json()
    for bundle in ("@jupyterlab/application-top", "@jupyter-notebook/app"):
        packages = {package["name"]: package for package in found["bundles"][bundle]["packages"]}
        assert packages["react"]["licenseId"] == "MIT"
        assert "Permission is hereby granted" in packages["react"]["extractedText"]
    assert "jupyterlab_pygments" in found["bundles"]
    none = (await server.fetch("GET", "/lab/api/licenses?bundles=nothing")).json()
    assert none == {"bundles": {}}
    csv = await server.fetch("GET", "/lab/api/licenses/?format=csv&download=1")
    assert csv.headers["Content-Type"].startswith("text/csv")
    assert csv.headers["Content-Disposition"] == 'attachment; filename="jupyterlab-licenses.csv"'
    notebook = "/lab/api/licenses?format=markdown&bundles=@jupyter-notebook/app"
    assert "Permission is hereby granted" in (whole := (await server.fetch("GET", notebook)).text)
    short = await server.fetch("GET", f"{notebook}&full_text=0")
    assert "react" in short.text and len(short.text) < len(whole) / 2
    assert (short.headers["Content-Type"], "Content-Disposition" in short.headers) == (
        "text/markdown; charset=utf-8",
        False,
    )
    for query in ("format=pdf", "bundles=("):
        assert (await server.fetch("GET", f"/lab/api/licenses?{query}")).status == 400


@pytest.mark.parametrize("bundles", ["(.|.){0,99}!", "(.|.)*!", ".*.*.*.*!", "(a?)?!", "x?x?x?x?x"])
async def test_the_regular_expression_of_bundles_comes_to_its_end(server: Server, bundles: str):
    reply = await server.fetch("GET", f"/lab/api/licenses?bundles={quote(bundles)}")
    assert reply.status == 400


@pytest.mark.parametrize("path", ["/lab/api/nothing", "/lab/api/listings/x", "/lab/extensions/x"])
async def test_unknown_parts_of_the_api_are_404_and_json(server: Server, path: str):
    reply = await server.fetch("GET", path)
    assert (reply.status, reply.headers["Content-Type"]) == (404, "application/json")
