"""Static files: what is served, what is not, and how long it may be kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from evstore.core.errors import NotFound
from evstore.http.static import file_response, find_file
from tests.helpers import Server

OUTSIDE = [
    "",
    ".",
    "..",
    "../secret",
    "a/../../secret",
    "a//b",
    "/etc/passwd",
    "a/",
    "\\\\host\\x",
    "//host/x",
    "C:/x",
    "C:\\x",
    "a\\..\\secret",
    "file\0",
    "link",
    "linked/secret",
    "a",
    "missing",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "root/a/b.js").write_text("1")
    (tmp_path / "root-evil").mkdir()
    (tmp_path / "root-evil/secret").write_text("secret")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "root/link").symlink_to(tmp_path / "secret")
    (tmp_path / "root/linked").symlink_to(tmp_path / "root-evil")
    (tmp_path / "root/inside").symlink_to(tmp_path / "root/a/b.js")
    return tmp_path / "root"


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_of_the_folder_is_found(folder: Path, path: str):
    """CVE-2024-35178, CVE-2026-35397, S13, S26."""
    with pytest.raises(NotFound):
        find_file(folder, path)


@pytest.mark.parametrize("path", ["a/b.js", "inside"])
def test_files_inside_are_found(folder: Path, path: str):
    assert find_file(folder, path).read_text() == "1"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("main.efd36b46f3b45eb8.js", True),
        ("remoteEntry.5cbb9d2323598fbda535.js", True),
        ("0031b1860ea4ad75.woff", True),
        ("bootstrap.js", False),
        ("index.html", False),
        ("third-party-licenses.json", False),
        ("defaced.js", False),
    ],
)
def test_hashed_names_are_kept_for_good_and_others_asked_about(tmp_path: Path, name: str, kept: bool):
    response = file_response(tmp_path / name)
    assert ("immutable" in response.headers["Cache-Control"]) is kept
    assert (response.headers["Cache-Control"] == "no-cache") is not kept


@pytest.mark.parametrize(
    "path", ["..%2fguard.py", "%2e%2e/guard.py", "%2Fetc%2Fpasswd", "..%5cguard.py", "favicons"]
)
async def test_paths_out_of_the_static_folder_are_404(server: Server, path: str):
    """S12, S26."""
    assert (await server.fetch("GET", f"/static/{path}", stranger=True)).status == 404
    assert (await server.fetch("GET", f"/static/lab/{path}", stranger=True)).status == 404


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/favicon.ico", "image/x-icon"),
        ("/static/favicons/favicon.ico", "image/x-icon"),
        ("/static/favicons/favicon-busy-1.ico", "image/x-icon"),
        ("/static/base/images/logo.png", "image/png"),
        ("/static/page.css", "text/css"),
    ],
)
async def test_icons_and_styles(server: Server, path: str, kind: str):
    reply = await server.fetch("GET", path, stranger=True)
    assert (reply.status, reply.headers["Content-Type"]) == (200, kind)
    again = await server.fetch("GET", path, headers={"If-None-Match": reply.headers["ETag"]})
    assert again.status == 304
    assert "Set-Cookie" not in reply.headers
