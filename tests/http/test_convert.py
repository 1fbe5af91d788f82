"""/nbconvert and /api/nbconvert over real workers: what comes out, and under which headers."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import TOKEN, Server, StartServer
from tests.notebooks import PNG, code_cell, hanging, notebook, plot, printed, shown, text_cell

REPORT = notebook(
    text_cell("# Report ³\n\nSee **this**."),
    code_cell("print(2*6)", printed("12\n")),
    code_cell("plt.show()", plot()),
    code_cell("bad", shown(text_html='<script>alert("xss")</script>', text_plain="plain")),
)
PLAIN = notebook(text_cell("# Title"), code_cell("print(2*6)", printed("12\n")))


async def put(server: Server, path: str, content: dict[str, Any]) -> int:
    """Save a notebook; the offset after it."""
    reply = await server.fetch("PUT", f"api/contents/{path}", json={"type": "notebook", "content": content})
    assert reply.status in (200, 201), reply.text
    return int(reply.headers["Evstore-Offset"])


# -- formats -----------------------------------------------------------------------------


async def test_what_there_is(server: Server) -> None:
    found = (await server.fetch("GET", "api/nbconvert")).json()
    assert {"html", "script", "markdown", "slides", "notebook", "pdf", "latex", "rst"} <= found.keys()
    assert found["html"] == {"output_mimetype": "text/html"}
    assert found["markdown"] == {"output_mimetype": "text/markdown"}
    assert all(formats.keys() == {"output_mimetype"} for formats in found.values())


FILES = {
    "html": ("text/html", "r.html", ["<h1", "Report ³", "12", "data:image/png;base64,", "alert("]),
    "slides": ("text/html", "r.slides.html", ["reveal", "Report ³", "12"]),
    "script": ("text/x-python", "r.py", ["# # Report ³", "print(2*6)"]),
    "python": ("text/x-python", "r.py", ["# # Report ³", "print(2*6)"]),
    "notebook": ("application/json", "r.ipynb", ['"cells"', "Report ³", "12"]),
    "ipynb": ("application/json", "r.ipynb", ['"cells"', "Report ³", "12"]),
}


async def test_one_file(server: Server) -> None:
    await put(server, "r.ipynb", REPORT)
    for format, (mimetype, name, contains) in FILES.items():
        reply = await server.fetch("GET", f"nbconvert/{format}/r.ipynb")
        assert (reply.status, reply.headers["Content-Type"]) == (200, f"{mimetype}; charset=utf-8")
        assert [part for part in contains if part not in reply.text] == [], format
        assert "Content-Disposition" not in reply.headers
        download = await server.fetch("GET", f"nbconvert/{format}/r.ipynb?download=true")
        assert download.headers["Content-Disposition"] == f"attachment; filename*=utf-8''{name}"
        assert [part for part in contains if part not in download.text] == [], format


async def test_a_notebook_stays_what_it_was(server: Server) -> None:
    await put(server, "r.ipynb", REPORT)
    converted = (await server.fetch("GET", "nbconvert/notebook/r.ipynb")).json()
    assert converted["cells"] == json.loads((await server.fetch("GET", "files/r.ipynb")).body)["cells"]


async def test_several_files_come_as_an_archive(server: Server) -> None:
    image = {"picture.png": {"image/png": shown(image_png="aGFsbG8=")["data"]["image/png"]}}
    content = notebook(
        text_cell("![here](attachment:picture.png)", attachments=image), code_cell("plt.show()", plot())
    )
    await put(server, "a%20b.ipynb", content)
    reply = await server.fetch("GET", "nbconvert/markdown/a%20b.ipynb")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/zip")
    assert reply.headers["Content-Disposition"] == "attachment; filename*=utf-8''a%20b.zip"
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        assert set(archive.namelist()) == {"a b.md", "output_1_0.png", "picture.png"}
        text = archive.read("a b.md").decode()
        assert archive.read("output_1_0.png") == PNG
        assert archive.read("picture.png") == b"hallo"
    assert "![png](output_1_0.png)" in text
    assert "![here](picture.png)" in text


async def test_names_in_a_notebook_do_not_lead_out_of_the_archive(server: Server) -> None:
    out = {"../../evil.png": {"image/png": "aGFsbG8="}, "r.md": {"image/png": "aGFsbG8="}}
    output = plot() | {"metadata": {"filename": "../../../up.png"}}
    content = notebook(text_cell("![x](attachment:../../evil.png)", attachments=out), code_cell("x", output))
    await put(server, "r.ipynb", content)
    reply = await server.fetch("GET", "nbconvert/markdown/r.ipynb")
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        assert sorted(archive.namelist()) == ["evil.png", "r.md", "up.png"]
        assert b"![x]" in archive.read("r.md")


async def test_sanitizing(server: Server) -> None:
    await put(server, "r.ipynb", REPORT)
    for given, sanitized in {"": False, "true": True, "True": True, "false": False, "1": False}.items():
        reply = await server.fetch("GET", f"nbconvert/html/r.ipynb?sanitize_html={given}")
        assert ('<script>alert("xss")</script>' in reply.text) != sanitized, given
    reply = await server.fetch("GET", "nbconvert/html/r.ipynb")
    assert '<script>alert("xss")</script>' in reply.text


async def test_a_past_version(server: Server) -> None:
    before = await put(server, "other.ipynb", PLAIN)
    first = await put(server, "r.ipynb", notebook(code_cell("old")))
    await put(server, "r.ipynb", notebook(code_cell("new")))
    assert "new" in (await server.fetch("GET", "nbconvert/script/r.ipynb")).text
    old = await server.fetch("GET", f"nbconvert/script/r.ipynb?at={first}")
    assert "old" in old.text and "new" not in old.text
    assert (await server.fetch("GET", f"nbconvert/script/r.ipynb?at={before}")).status == 404
    assert (await server.fetch("GET", "nbconvert/script/r.ipynb?at=x")).status == 400


async def test_an_old_notebook_file(server: Server) -> None:
    """nbformat 3, as it lies on disks since 2013."""
    old = {
        "metadata": {"name": ""},
        "nbformat": 3,
        "nbformat_minor": 0,
        "worksheets": [
            {
                "cells": [
                    {
                        "cell_type": "code",
                        "input": ["print 12"],
                        "language": "python",
                        "outputs": [{"output_type": "stream", "stream": "stdout", "text": ["12\n"]}],
                        "prompt_number": 1,
                        "collapsed": False,
                        "metadata": {},
                    }
                ],
                "metadata": {},
            }
        ],
    }
    model = {"type": "file", "format": "text", "content": json.dumps(old)}
    await server.fetch("PUT", "api/contents/old.ipynb", json=model)
    reply = await server.fetch("GET", "nbconvert/html/old.ipynb")
    assert (reply.status, "12" in reply.text) == (200, True)


# -- headers and ways in -----------------------------------------------------------------


async def test_headers(start_server: StartServer) -> None:
    """CVE-2026-44727: what is exported can't use the user's session."""
    server = await start_server(base_url="/base/")
    await put(server, "r.ipynb", PLAIN)
    model = (await server.fetch("GET", "files/r.ipynb")).headers["Last-Modified"]
    got = await server.fetch("GET", "nbconvert/html/r.ipynb")
    posted = await server.fetch("POST", "nbconvert/html", json={"name": "r.ipynb", "content": PLAIN})
    assert got.headers["Last-Modified"] == model
    for reply in (got, posted):
        assert reply.status == 200
        assert reply.headers["Content-Security-Policy"] == (
            "frame-ancestors 'self'; report-uri /base/api/security/csp-report; sandbox allow-scripts"
        )
        assert reply.headers["Cache-Control"] == "no-store, no-cache, must-revalidate, max-age=0"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Disposition" not in reply.headers


async def test_only_our_own_pages_can_convert(server: Server) -> None:
    await put(server, "r.ipynb", PLAIN)
    cookies = {"Cookie": (await server.log_in())["Cookie"]}
    for query, referer, status in [
        ("", None, 403),
        ("", "http://evil.com/page", 403),
        ("?_xsrf=wrong", None, 403),
        ("", f"http://{server.host}/lab", 200),
        ("?_xsrf=secret", None, 200),
    ]:
        headers = cookies | ({"Referer": referer} if referer else {})
        reply = await server.fetch("GET", f"nbconvert/script/r.ipynb{query}", stranger=True, headers=headers)
        assert (reply.status, query, referer) == (status, query, referer)


async def test_strangers(server: Server) -> None:
    await put(server, "r.ipynb", PLAIN)
    got = await server.fetch("GET", "nbconvert/html/r.ipynb", stranger=True)
    assert (got.status, got.headers["Location"]) == (302, "/login?next=/nbconvert/html/r.ipynb")
    assert (await server.fetch("POST", "nbconvert/html", stranger=True, json={})).status == 403
    assert (await server.fetch("GET", "api/nbconvert", stranger=True)).status == 403
    cookie = {"Cookie": (await server.log_in())["Cookie"]}
    reply = await server.fetch(
        "POST", "nbconvert/html", stranger=True, headers=cookie, json={"content": PLAIN}
    )
    assert reply.status == 403  # no XSRF
    reply = await server.fetch("GET", f"nbconvert/script/r.ipynb?token={TOKEN}", stranger=True)
    assert reply.status == 200


async def test_what_is_no_notebook_is_a_file(server: Server) -> None:
    """Exported pages ask here for the images beside their notebook."""
    await server.fetch("PUT", "api/contents/d", json={"type": "directory"})
    await server.fetch(
        "PUT", "api/contents/d/a%20b.png", json={"type": "file", "format": "text", "content": ""}
    )
    for path, location in {
        "d/a%20b.png": "/files/d/a%20b.png",
        "d/a%20b.png?at=3&_xsrf=x": "/files/d/a%20b.png?at=3&_xsrf=x",
        "d": "/tree/d",
    }.items():
        reply = await server.fetch("GET", f"nbconvert/html/{path}")
        assert (reply.status, reply.headers["Location"]) == (302, location)


# -- POST --------------------------------------------------------------------------------


async def test_converting_what_is_not_saved(server: Server) -> None:
    reply = await server.fetch("POST", "nbconvert/html", json={"name": "x.ipynb", "content": PLAIN})
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>x</title>" in reply.text
    model = {"name": "dir/x.y.ipynb", "content": REPORT}
    reply = await server.fetch("POST", "nbconvert/markdown", json=model)
    assert reply.headers["Content-Disposition"] == "attachment; filename*=utf-8''x.y.zip"
    assert "print(2*6)" in (await server.fetch("POST", "nbconvert/script", json={"content": PLAIN})).text


BAD = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b"[" * 100_000,
    b"{}",
    b'{"content": null}',
    b'{"content": []}',
    b'{"content": {}}',
    b'{"content": {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 5}}',
    b'{"content": {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "x"}]}}',
    b'{"content": {"nbformat": 4, "nbformat_minor": 5, "metadata": {"language_info": 5}, "cells": []}}',
    b'{"content": {"nbformat": 99, "nbformat_minor": 5, "metadata": {}, "cells": []}}',
    b'{"content": {"nbformat": "4", "metadata": {}, "cells": []}}',
    b'{"name": 5, "content": {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}}',
]


async def test_what_is_no_notebook_is_refused_in_a_sentence(server: Server) -> None:
    for body in BAD:
        reply = await server.fetch("POST", "nbconvert/html", data=body)
        assert reply.status == 400, (body[:100], reply.text)
        assert_plain(reply.json()["message"])
    assert len(server.services.converter.pids) == 1, "none of them is worth a new process"


def assert_plain(message: str) -> None:
    """A sentence, which tells nothing of this machine."""
    assert message[0].isupper() and message[-1] in ".!"
    assert "\n" not in message
    assert "Traceback" not in message
    assert not any(part in message for part in ("/tmp", "/usr", "/root", "/home", "site-packages", ".py"))


async def test_a_file_that_is_no_notebook(server: Server) -> None:
    for body in ("", "no json", '{"cells": 5}', "[]", "\ufffe"):
        model = {"type": "file", "format": "text", "content": body}
        await server.fetch("PUT", "api/contents/n.ipynb", json=model)
        reply = await server.fetch("GET", "nbconvert/html/n.ipynb")
        assert reply.status == 400, body
        assert_plain(reply.json()["message"])


async def test_odd_names(server: Server) -> None:
    for name in ("\ud800", "a\nb", "a\0b", "..", "/", "a/../b", "x" * 5000, "ä\"';"):
        body = json.dumps({"name": name, "content": REPORT})
        reply = await server.fetch("POST", "nbconvert/markdown", data=body.encode())
        assert reply.status == 200, (name, reply.text)
        with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
            assert all("/" not in member and member != ".." for member in archive.namelist())


async def test_half_a_surrogate_pair_in_a_cell(server: Server) -> None:
    content = notebook(text_cell("x\ud800y"), code_cell("\udfff"))
    for format in ("html", "script", "markdown"):
        reply = await server.fetch(
            "POST", f"nbconvert/{format}", data=json.dumps({"content": content}).encode()
        )
        assert reply.status in (200, 422), format
        assert reply.status == 200 or assert_plain(reply.json()["message"]) is None


# -- what does not work ------------------------------------------------------------------


async def test_unknown_formats_and_paths(server: Server) -> None:
    await put(server, "r.ipynb", PLAIN)
    for path in ("nope/r.ipynb", "os.path/r.ipynb", "HTML5/r.ipynb", "%2e%2e/r.ipynb", "html/missing.ipynb"):
        reply = await server.fetch("GET", f"nbconvert/{path}")
        assert reply.status == 404, path
        assert_plain(reply.json()["message"] + "." * (reply.json()["message"][-1] not in ".!"))
    for path in ("html/.hidden.ipynb", "html/d/../r.ipynb", "html/%2e%2e%2fr.ipynb", "html/%00"):
        assert (await server.fetch("GET", f"nbconvert/{path}")).status == 404, path
    assert (await server.fetch("POST", "nbconvert/nope", json={"content": PLAIN})).status == 404


@pytest.mark.parametrize(
    ("format", "program", "says"),
    [("pdf", "xelatex", "xelatex not found"), ("qtpdf", "", "PyQtWebEngine"), ("webpdf", "", "playwright")],
)
async def test_without_the_program_for_it(
    start_server: StartServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    format: str,
    program: str,
    says: str,
) -> None:
    """On a machine without TeX, Qt and a browser for Playwright: the PATH is empty, and so is its cache."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    server = await start_server()
    await put(server, "r.ipynb", notebook(code_cell("1")))  # no Markdown, which pandoc would read
    reply = await server.fetch("GET", f"nbconvert/{format}/r.ipynb")
    assert reply.status == 503
    assert says in reply.json()["message"]
    assert_plain(reply.json()["message"])
    page = await server.fetch("GET", f"nbconvert/{format}/r.ipynb", headers={"Accept": "text/html"})
    # JupyterLab opens a tab
    assert page.headers["Content-Type"].startswith("text/html") and says in page.text


async def test_a_notebook_that_nbconvert_fails_on(server: Server) -> None:
    """Valid, but two of its images have the same name."""
    outputs = [plot() | {"metadata": {"filename": "same.png"}} for _ in range(2)]
    await put(server, "r.ipynb", notebook(code_cell("x", *outputs)))
    reply = await server.fetch("GET", "nbconvert/markdown/r.ipynb")
    assert reply.status == 422
    assert_plain(reply.json()["message"])
    assert "same.png" in reply.json()["message"]


async def test_a_conversion_that_takes_too_long(start_server: StartServer) -> None:
    server = await start_server(convert_timeout=0.2)
    await put(server, "r.ipynb", hanging())
    reply = await server.fetch("GET", "nbconvert/html/r.ipynb")
    assert reply.status == 422
    assert reply.json()["message"] == "The conversion was stopped because it took longer than 0.2 seconds."


async def busy(server: Server) -> psutil.Process:
    """The worker, once it is at work."""
    async with asyncio.timeout(30):
        while not server.services.converter.pids:
            await asyncio.sleep(0.02)
        process = psutil.Process(server.services.converter.pids[0])
        while process.cpu_times().user < 2.5:  # more than it takes to get ready
            await asyncio.sleep(0.05)
    return process


async def test_while_the_server_stops(server: Server) -> None:
    await put(server, "r.ipynb", PLAIN)
    await server.services.converter.close()
    reply = await server.fetch("GET", "nbconvert/html/r.ipynb")
    assert (reply.status, reply.json()["message"]) == (503, "The server is stopping.")
    reply = await server.fetch("GET", "api/nbconvert")
    assert (reply.status, reply.json()) == (200, {})


async def test_a_client_that_leaves_in_the_middle(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing goes on for it; others are served meanwhile, and after it."""
    await put(server, "hangs.ipynb", hanging())
    await put(server, "r.ipynb", PLAIN)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"GET /nbconvert/html/hangs.ipynb?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    process = await busy(server)
    assert (await server.fetch("GET", "nbconvert/script/r.ipynb")).status == 200
    writer.transport.abort()
    async with asyncio.timeout(30):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)
    assert (await server.fetch("GET", "nbconvert/script/r.ipynb")).status == 200
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_the_process_is_told_no_secrets(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVSTORE_TOKEN", "hidden-token")
    server = await start_server()
    await put(server, "r.ipynb", PLAIN)
    assert (await server.fetch("GET", "nbconvert/script/r.ipynb")).status == 200
    (pid,) = server.services.converter.pids
    assert "hidden-token" not in psutil.Process(pid).environ().values()
