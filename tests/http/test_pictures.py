"""Exports take along the pictures that lie beside the notebook, as they were at that moment, and nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers import Server, StartServer
from tests.http.test_convert import put
from tests.notebooks import PNG, code_cell, notebook, shown, text_cell

OTHER = PNG + b"another"
WITH_PICTURE = notebook(text_cell("![A plot](../img/my%20plot.png)"), code_cell("1 + 1"))


def as_data(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


async def put_picture(server: Server, path: str, picture: bytes) -> int:
    model = {"type": "file", "format": "base64", "content": base64.b64encode(picture).decode()}
    reply = await server.fetch("PUT", f"api/contents/{path}", json=model)
    assert reply.status in (200, 201), reply.text
    return int(reply.headers["Evstore-Offset"])


@pytest.fixture
async def project(server: Server) -> Server:
    """A notebook in `work` with a picture in `img`."""
    for folder in ("work", "img"):
        await server.fetch("PUT", f"api/contents/{folder}", json={"type": "directory"})
    await put_picture(server, "img/my%20plot.png", PNG)
    await put(server, "work/n.ipynb", WITH_PICTURE)
    return server


async def unpacked(server: Server, address: str) -> dict[str, bytes]:
    """The files that an export comes to."""
    reply = await server.fetch("GET", address)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/zip"), reply.text
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    ("format", "name", "says"),
    [
        ("markdown", "n.md", b"![A plot](my-plot.png)"),
        ("latex", "n.tex", b"{my-plot.png}"),
        ("rst", "n.rst", b":: my-plot.png"),
        ("asciidoc", "n.asciidoc", b"my-plot.png"),
    ],
)
async def test_an_archive_has_them(project: Server, format: str, name: str, says: bytes) -> None:
    files = await unpacked(project, f"nbconvert/{format}/work/n.ipynb")
    assert files.keys() == {name, "my-plot.png"}
    assert files["my-plot.png"] == PNG
    assert says in files[name]


@pytest.mark.parametrize("format", ["html", "slides"])
async def test_a_page_has_them_in_it(project: Server, format: str) -> None:
    page = (await project.fetch("GET", f"nbconvert/{format}/work/n.ipynb?download=true")).text
    assert f'src="{as_data(PNG)}"' in page
    assert "my%20plot" not in page


@pytest.mark.parametrize("format", ["notebook", "script"])
async def test_what_shows_no_pictures_stays_as_it_is(project: Server, format: str) -> None:
    assert (
        "![A plot](../img/my%20plot.png)"
        in (await project.fetch("GET", f"nbconvert/{format}/work/n.ipynb")).text
    )


async def test_as_of_then(project: Server) -> None:
    then = await put_picture(project, "img/my%20plot.png", OTHER)
    await project.fetch("DELETE", "api/contents/img/my%20plot.png")
    page = (await project.fetch("GET", f"nbconvert/html/work/n.ipynb?at={then}")).text
    assert as_data(OTHER) in page
    page = (await project.fetch("GET", f"nbconvert/html/work/n.ipynb?at={then - 1}")).text
    assert as_data(PNG) in page
    now = await project.fetch("GET", "nbconvert/html/work/n.ipynb")
    assert (now.status, 'src="../img/my%20plot.png"' in now.text) == (200, True)


async def test_what_a_kernel_has_just_drawn(project: Server, tmp_path: Path) -> None:
    (tmp_path / "folder" / "img" / "my plot.png").write_bytes(OTHER)
    page = (await project.fetch("GET", "nbconvert/html/work/n.ipynb")).text
    assert as_data(OTHER) in page


async def test_pictures_without_versions(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server(max_versioned_size=100)
    (tmp_path / "folder" / "large.png").write_bytes(PNG * 10)
    output = shown(text_html='<img src="large.png">')
    await put(server, "n.ipynb", notebook(text_cell("![](/large.png)"), code_cell("x", output)))
    page = (await server.fetch("GET", "nbconvert/html/n.ipynb")).text
    assert page.count(as_data(PNG * 10)) == 2


async def test_notebooks_of_old(server: Server) -> None:
    await put_picture(server, "p.png", PNG)
    await put(server, "n.ipynb", notebook(text_cell("![](files/p.png)")))
    assert as_data(PNG) in (await server.fetch("GET", "nbconvert/html/n.ipynb")).text


async def test_no_way_out(server: Server, tmp_path: Path) -> None:
    """Neither above the folder, nor by a link, nor to what is hidden, or is no picture."""
    folder = tmp_path / "folder"
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "p.png").write_bytes(b"secret")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "here").symlink_to(tmp_path)
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    targets = [
        "../secret.png",
        "../../../../../../../../../" + str(tmp_path).lstrip("/") + "/secret.png",
        str(tmp_path / "secret.png"),
        "..%2fsecret.png",
        f"file://{tmp_path}/secret.png",
        ".hidden/p.png",
        ".evstore/p.png",
        "link.png",
        "here/secret.png",
        "folder.png",
        "pipe.png",
        "nothing%00.png",
        "%ff%ed.png",
        "a" * 5000 + ".png",
        "\\secret.png",
    ]
    await put(server, "n.ipynb", notebook(*(text_cell(f"![]({target})") for target in targets)))
    for format in ("html", "markdown"):
        reply = await server.fetch("GET", f"nbconvert/{format}/n.ipynb")
        assert reply.status == 200, reply.text
        assert "secret</" not in reply.text and base64.b64encode(b"secret").decode() not in reply.text
        assert "attachment" not in reply.headers.get("Content-Disposition", ""), format


async def test_no_more_than_there_is_room_for(server: Server, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "folder" / f"{name}.png").write_bytes(os.urandom(14 * 1024 * 1024))
    await put(server, "n.ipynb", notebook(text_cell("![](a.png) ![](b.png) ![](c.png)")))
    files = await unpacked(server, "nbconvert/markdown/n.ipynb")
    assert files.keys() == {"n.md", "a.png", "b.png"}


XELATEX = """#!{python}
import re
tex = open("notebook.tex").read()
with open("notebook.pdf", "wb") as pdf:
    for name in re.findall(r"includegraphics(?:\\[.*?\\])?\\{{(.+?)\\}}", tex):
        pdf.write(open(name, "rb").read())
"""


async def test_pdf(project: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TeX that puts nothing but the pictures into its document finds them where it works."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in ("xelatex", "bibtex"):
        (programs / program).write_text(XELATEX.format(python=sys.executable))
        (programs / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    reply = await project.fetch("GET", "nbconvert/pdf/work/n.ipynb")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/pdf"), reply.text
    assert reply.body == PNG
