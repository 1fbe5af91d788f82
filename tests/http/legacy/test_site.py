"""The single-directory server: notebooks by their ids (jupyter-surface.md B32 to B41)."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import quote, unquote

import nbformat
import pytest

from evstore.core import notebooks
from evstore.core.events import Author, format_id
from evstore.core.paths import ContentPath
from evstore.log import bodies
from evstore.services.contents import SaveRequest
from tests.helpers import Server, StartServer

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def notebook(*sources: str) -> dict[str, Any]:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


async def made(server: Server, *sources: str, name: str = "a") -> str:
    """The id of a new notebook."""
    reply = await server.fetch("POST", f"/notebooks?name={quote(name)}", json=notebook(*sources))
    assert reply.status == 200, reply.text
    return reply.json()


async def path_of(server: Server, entry: str) -> str:
    """Where a notebook is, from the address of its page."""
    reply = await server.fetch("GET", f"/{entry}")
    assert reply.status == 302, reply.text
    return unquote(reply.headers["Location"]).removeprefix("/lab/tree/")


async def sources(server: Server, entry: str) -> list[str]:
    reply = await server.fetch("GET", f"/notebooks/{entry}")
    return ["".join(cell["source"]) for cell in reply.json()["cells"]]


async def test_the_list_has_the_notebooks_of_the_root_with_their_kernels(server: Server):
    ids = [await made(server, name=name) for name in ("b", "ä")]
    await server.fetch("PUT", "/api/contents/sub", json={"type": "directory"})
    below = await server.fetch("POST", "/api/notebooks/sub")
    assert below.status == 201
    reply = await server.fetch("GET", "/notebooks")
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("application/json")
    assert reply.headers["Vary"] == "Accept"
    expected = [
        {"name": name, "notebook_id": one, "kernel_id": None} for name, one in zip("bä", ids, strict=True)
    ]
    assert reply.json() == expected
    started = (await server.fetch("POST", f"/kernels?notebook={ids[0]}")).json()
    found = (await server.fetch("GET", "/notebooks", headers={"Accept": "application/json"})).json()
    assert [one["kernel_id"] for one in found] == [started["kernel_id"], None]


async def test_a_new_notebook_is_empty_or_the_body(server: Server):
    empty = await server.fetch("POST", "/notebooks")
    assert empty.status == 200 and uuid.UUID(empty.json())
    assert empty.headers["Location"] == f"/{empty.json()}"
    assert await path_of(server, empty.json()) == "Untitled.ipynb"
    metadata = (await server.fetch("GET", f"/notebooks/{empty.json()}")).json()["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    full = await made(server, "1", name="ü 1")
    assert (await path_of(server, full), await sources(server, full)) == ("ü 1.ipynb", ["1"])
    again = await made(server, "2", name="ü 1")
    assert (await path_of(server, again), await sources(server, full)) == ("ü 11.ipynb", ["1"])


async def test_a_notebook_of_version_3_names_itself(server: Server):
    v3 = nbformat.v3
    sheet = v3.new_worksheet(cells=[v3.new_code_cell(input="print 1")])
    old = v3.new_notebook(metadata=v3.new_metadata(name="Own name"), worksheets=[sheet])
    entry = (await server.fetch("POST", "/notebooks", data=json.dumps(old))).json()
    assert await path_of(server, entry) == "Own name.ipynb"
    found = (await server.fetch("GET", f"/notebooks/{entry}?nbformat=3")).json()
    assert "".join(found["worksheets"][0]["cells"][0]["input"]) == "print 1"


async def test_a_notebook_is_given_as_a_file(server: Server):
    entry = await made(server, "x = 1", name='ä "b"')
    reply = await server.fetch("GET", f"/notebooks/{entry}")
    assert reply.status == 200 and reply.headers["Content-Type"] == "application/json"
    name = quote('ä "b".ipynb')
    disposition = f"attachment; filename=\"? _b_.ipynb\"; filename*=utf-8''{name}"
    assert reply.headers["Content-Disposition"] == disposition
    assert "Last-Modified" in reply.headers
    assert reply.body == (await server.fetch("GET", f"/files/{name}")).body
    plain = await made(server, name="plain")
    reply = await server.fetch("GET", f"/notebooks/{plain}")
    assert 'attachment; filename="plain.ipynb"' in reply.headers["Content-Disposition"]


async def test_a_notebook_as_a_script_and_back(server: Server):
    entry = await made(server, "x = 1\ny", name="a")
    reply = await server.fetch("GET", f"/notebooks/{entry}?format=py")
    assert reply.headers["Content-Type"] == "application/x-python"
    assert 'filename="a.py"' in reply.headers["Content-Disposition"]
    assert reply.text.startswith("# -*- coding: utf-8 -*-\n# <nbformat>3.0</nbformat>\n")
    assert "\n# <codecell>\n\nx = 1\ny\n" in reply.text
    script = reply.text + "\n# <markdowncell>\n\n# Words äö\n"
    second = await server.fetch("POST", "/notebooks?format=py&name=b", data=script.encode())
    assert second.status == 200, second.text
    assert await sources(server, second.json()) == ["x = 1\ny", "Words äö"]
    assert (await server.fetch("GET", f"/notebooks/{second.json()}")).json()["nbformat"] == 4
    put = await server.fetch("PUT", f"/notebooks/{entry}?format=py", data=b"# <codecell>\nz\n")
    assert put.status == 204 and await sources(server, entry) == ["z"]


async def test_put_saves_and_renames(server: Server):
    entry, other = await made(server, "1"), await made(server, "other", name="other")
    saved = await server.fetch("PUT", f"/notebooks/{entry}", json=notebook("2"))
    assert (saved.status, saved.body) == (204, b"") and "Evstore-Offset" in saved.headers
    before = server.services.store.offset
    renamed = await server.fetch("PUT", f"/notebooks/{entry}?name=b%20b", json=notebook("3"))
    assert renamed.status == 204
    assert (await path_of(server, entry), await sources(server, entry)) == ("b b.ipynb", ["3"])
    log = (await server.fetch("GET", f"/api/history/log?after={before}")).json()["events"]
    assert [(one["event"], one["entry"]) for one in log] == [("EntryMoved", entry), ("FileSaved", entry)]
    taken = await server.fetch("PUT", f"/notebooks/{entry}?name=other", json=notebook("4"))
    assert (taken.status, taken.json()["message"]) == (409, "Notebook with name already exists: other.ipynb")
    assert await sources(server, entry) == ["3"] and await sources(server, other) == ["other"]


async def test_an_id_stays_through_renames_moves_and_an_undelete(server: Server):
    """B37: the address of a notebook lasts."""
    entry = await made(server, "1")
    await server.fetch("PUT", "/api/contents/sub", json={"type": "directory"})
    await server.fetch("PATCH", "/api/contents/a.ipynb", json={"path": "sub/ä b.ipynb"})
    await server.fetch("PATCH", "/api/contents/sub", json={"path": "Other"})
    assert await path_of(server, entry) == "Other/ä b.ipynb"
    assert await path_of(server, entry.upper()) == "Other/ä b.ipynb"
    assert await sources(server, entry) == ["1"]
    kernel = (await server.fetch("POST", f"/kernels?notebook={entry}")).json()["kernel_id"]
    (session,) = (await server.fetch("GET", "/api/sessions")).json()
    assert (session["path"], session["kernel"]["id"]) == ("Other/ä b.ipynb", kernel)
    assert (await server.fetch("DELETE", f"/notebooks/{entry}")).status == 204
    gone = await server.fetch("GET", f"/{entry}")
    assert (gone.status, gone.json()["message"]) == (404, f"Notebook does not exist: {entry}")
    await server.fetch("POST", "/api/history/undelete", json={"entry": entry})
    assert await path_of(server, entry) == "Other/ä b.ipynb"


@pytest.mark.parametrize("kind", ["never", "deleted", "directory", "text", "hidden", "in a deleted folder"])
async def test_ids_of_what_is_no_notebook(server: Server, kind: str):
    entry = await made(server) if kind == "deleted" else str(uuid.uuid4())
    if kind == "deleted":
        await server.fetch("DELETE", f"/notebooks/{entry}")
    elif kind != "never":
        entry = await something_else(server, kind)
    for method, path, body in [
        ("GET", f"/notebooks/{entry}", None),
        ("PUT", f"/notebooks/{entry}", notebook()),
        ("DELETE", f"/notebooks/{entry}", None),
        ("GET", f"/{entry}", None),
        ("GET", f"/{entry}/copy", None),
        ("POST", f"/kernels?notebook={entry}", None),
    ]:
        reply = await server.fetch(method, path, json=body)
        assert reply.status == 404, (method, path, reply.text)
        assert reply.json()["message"] == f"Notebook does not exist: {entry}"
    page = await server.fetch("GET", f"/{entry}", headers=HTML)
    assert page.status == 404 and f"Notebook does not exist: {entry}" in page.text


async def something_else(server: Server, kind: str) -> str:
    """The id of an entry that is no notebook, or none that anybody may see."""
    if kind == "in a deleted folder":
        entry = await made(server)
        await server.fetch("PUT", "/api/contents/d", json={"type": "directory"})
        await server.fetch("PATCH", "/api/contents/a.ipynb", json={"path": "d/a.ipynb"})
        await server.fetch("DELETE", "/api/contents/d")
        return entry
    if kind == "hidden":  # as it can only come from the disk
        body = bodies.prepare(notebooks.empty(), server.services.store.known, notebook=True)
        made_there = await server.services.old_notebooks.create(
            ContentPath(""), ".hidden", SaveRequest(body=body), Author.new("disk")
        )
        return format_id(made_there.id)
    file = {"type": "file", "format": "text", "content": "x"}
    body = {"type": "directory"} if kind == "directory" else file
    await server.fetch("PUT", "/api/contents/x.ipynb.txt", json=body)
    found = await server.services.contents.exists(ContentPath("x.ipynb.txt"))
    assert found is not None
    return format_id(found.id)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "", b"{", 400, "is not JSON"),
        ("POST", "", b"[1]", 400, "must be a JSON object"),
        ("POST", "", b'{"nbformat": 9, "cells": []}', 400, "are unknown here"),
        ("POST", "", b"\xff", 400, "is not JSON"),
        ("POST", "", b"{" * 100_000, 400, "is not JSON"),
        ("POST", "?format=html", b"{}", 400, "notebooks are given as json or py"),
        ("POST", "?format=py", b"\xff", 400, "not UTF-8"),
        ("POST", "?name=a/b", b"", 200, None),  # there is no body, so the server picks the name
        ("GET", "/{id}?format=xml", None, 400, "notebooks are given as json or py"),
        ("GET", "/{id}?nbformat=7", None, 400, "nbformat 3 or 4"),
        ("PUT", "/{id}", b"", 400, "No notebook JSON data provided"),
        ("PUT", "/{id}", b"null", 400, "must be a JSON object"),
        ("PUT", "/{id}?name=../x", b'{"nbformat": 4, "metadata": {}, "cells": []}', 404, None),
        ("PUT", "/{id}?name=x/y", b'{"nbformat": 4, "metadata": {}, "cells": []}', 400, "can't be the name"),
        ("POST", "?name=.x", b'{"nbformat": 4, "metadata": {}, "cells": []}', 400, "hidden"),
        ("PUT", "/{id}?name=.x", b'{"nbformat": 4, "metadata": {}, "cells": []}', 400, "hidden"),
        ("PUT", "/a.ipynb", b"{}", 404, "Notebook does not exist: a.ipynb"),
        ("PUT", "/{id}0?format=json", b"{}", 404, "Notebook does not exist"),
        ("DELETE", "/a.ipynb", None, 404, "Notebook does not exist: a.ipynb"),
        ("DELETE", "/%F6", None, 404, "not valid UTF-8"),
        ("PATCH", "/{id}", b"{}", 405, None),
        ("DELETE", "", None, 405, None),
    ],
)
async def test_bad_input(
    server: Server, method: str, path: str, body: bytes | None, status: int, sentence: str | None
):
    entry = await made(server, "kept")
    reply = await server.fetch(method, "/notebooks" + path.replace("{id}", entry), data=body)
    assert reply.status == status, reply.text
    if sentence:
        assert sentence in reply.json()["message"]
    assert (await path_of(server, entry), await sources(server, entry)) == ("a.ipynb", ["kept"])


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PUT", "/{id}")])
async def test_a_script_is_not_said_to_be_json(server: Server, method: str, path: str):
    """Or whatever is no JSON would be taken for a script."""
    entry = await made(server, "kept")
    address = f"/notebooks{path}?format=py".replace("{id}", entry)
    for said, is_taken in (("application/json; charset=utf-8", False), ("application/x-python", True)):
        reply = await server.fetch(method, address, data=b"{", headers={"Content-Type": said})
        assert reply.status in ((200, 204) if is_taken else (400,)), reply.text
        assert is_taken or "Content-Type" in reply.json()["message"]
    assert await sources(server, entry) == (["{"] if path else ["kept"])


async def test_a_notebook_that_can_not_be_read_is_refused(server: Server):
    entry = await made(server)
    broken = {"type": "file", "format": "text", "content": "{"}
    await server.fetch("PUT", "/api/contents/a.ipynb", json=broken)
    for query in ("", "?format=py", "?nbformat=3"):
        reply = await server.fetch("GET", f"/notebooks/{entry}{query}")
        assert reply.status == 400 and "Unreadable Notebook" in reply.json()["message"]


# -- pages -------------------------------------------------------------------------------


async def test_new_makes_a_notebook_for_the_default_kernel_and_leads_to_its_page(server: Server):
    reply = await server.fetch("GET", "/new")
    assert (reply.status, reply.headers["Location"]) == (302, "/lab/tree/Untitled.ipynb")
    content = (await server.fetch("GET", "/api/contents/Untitled.ipynb")).json()["content"]
    assert content["metadata"]["kernelspec"]["name"] == "python3" and content["cells"] == []


async def test_copy_makes_one_beside_the_notebook_and_leads_to_its_page(server: Server):
    entry = await made(server, "1")
    await server.fetch("PUT", "/api/contents/sub", json={"type": "directory"})
    await server.fetch("PATCH", "/api/contents/a.ipynb", json={"path": "sub/a.ipynb"})
    reply = await server.fetch("GET", f"/{entry}/copy")
    assert (reply.status, reply.headers["Location"]) == (302, "/lab/tree/sub/a-Copy1.ipynb")


async def test_browsers_get_a_page_at_notebooks(server: Server):
    """Notebook's, whose addresses begin there as well: it shows the files."""
    reply = await server.fetch("GET", "/notebooks", headers=HTML)
    assert (reply.status, reply.headers["Location"]) == (302, "/tree")
    await made(server)
    page = await server.fetch("GET", "/notebooks/a.ipynb", headers=HTML)
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(("app", "page"), [("lab", "/lab/tree/"), ("notebook", "/notebooks/")])
async def test_the_page_is_that_of_the_front_end_that_opens(start_server: StartServer, app: str, page: str):
    server = await start_server(app=app)
    entry = await made(server, name="ä b")
    name = quote("ä b")
    assert (await server.fetch("GET", f"/{entry}")).headers["Location"] == f"{page}{name}.ipynb"
    assert (await server.fetch("GET", f"/{entry}/copy")).headers["Location"] == f"{page}{name}-Copy1.ipynb"
    assert (await server.fetch("GET", "/new")).headers["Location"] == f"{page}Untitled.ipynb"


async def test_print_shows_the_notebook_in_a_sandbox(server: Server):
    entry = await made(server, "x = 'printed'", name="ä b")
    reply = await server.fetch("GET", f"/{entry}/print", headers=HTML)
    assert reply.status == 200 and reply.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = reply.headers["Content-Security-Policy"]
    assert "sandbox allow-scripts" in policy and "allow-same-origin" not in policy
    assert "printed" in reply.text and "<title>ä b</title>" in reply.text
    assert "Content-Disposition" not in reply.headers
    await server.fetch("DELETE", f"/notebooks/{entry}")
    gone = await server.fetch("GET", f"/{entry}/print", headers=HTML)
    assert gone.status == 404 and f"Notebook does not exist: {entry}" in gone.text


@pytest.mark.parametrize(
    "path", ["/notebooks/{id}", "/{id}", "/{id}/copy", "/{id}/print", "/kernels", "/new"]
)
async def test_a_slash_too_many(server: Server, path: str):
    """B1."""
    entry = await made(server)
    reply = await server.fetch("GET", f"{path.format(id=entry)}/?a=b")
    assert (reply.status, reply.headers["Location"]) == (302, f"{path.format(id=entry)}?a=b")


BROWSERS = [
    ({"Sec-Fetch-Site": "none"}, 302),  # typed, or a bookmark
    ({"Sec-Fetch-Site": "same-origin"}, 302),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "cross-site", "Referer": "{ours}/lab"}, 403),
    ({"Sec-Fetch-Site": "none", "Sec-Purpose": "prefetch;prerender"}, 403),
    ({"Sec-Fetch-Site": "nonsense"}, 403),
    ({"Referer": "{ours}/lab"}, 302),
    ({"Referer": "http://evil.com/"}, 403),
    ({"Origin": "{ours}"}, 302),
    ({"Origin": "http://evil.com", "Referer": "{ours}/lab"}, 403),
    ({"Origin": "null"}, 403),
    ({}, 403),
]


@pytest.mark.parametrize("path", ["/new", "/{id}/copy"])
async def test_pages_of_other_sites_can_not_make_notebooks(server: Server, path: str):
    """S20: by a link, an image, a form or a redirect; the user's own cookie goes along with all of them."""
    entry = await made(server)
    cookies = await server.log_in()
    count = 1
    for more, status in BROWSERS:
        headers = {name: value.format(ours=f"http://{server.host}") for name, value in more.items()}
        reply = await server.fetch(
            "GET",
            path.format(id=entry),
            stranger=True,
            headers={"Cookie": cookies["Cookie"], **HTML, **headers},
        )
        assert reply.status == status, (more, reply.text)
        count += status == 302
        assert len((await server.fetch("GET", "/notebooks")).json()) == count, more


async def test_xsrf_opens_them_and_head_changes_nothing(server: Server):
    cookies = await server.log_in()
    headers = {"Cookie": cookies["Cookie"], "Sec-Fetch-Site": "cross-site"}
    wrong = await server.fetch("GET", "/new?_xsrf=wrong", stranger=True, headers=headers)
    right = await server.fetch("GET", "/new?_xsrf=secret", stranger=True, headers=headers)
    head = await server.fetch("HEAD", "/new")
    assert (wrong.status, right.status, head.status) == (403, 302, 405)
    assert len((await server.fetch("GET", "/notebooks")).json()) == 1


async def test_without_a_login_they_are_kept_from_other_sites_too(start_server: StartServer):
    server = await start_server(token="")
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert (await server.fetch("GET", "/new", stranger=True, headers=headers)).status == 403
    assert (await server.fetch("GET", "/notebooks", stranger=True)).json() == []


async def test_strangers_are_sent_to_the_login_and_come_back(server: Server):
    entry = await made(server)
    for path in (f"/{entry}", "/new", f"/{entry}/copy"):
        reply = await server.fetch("GET", path, stranger=True, headers=HTML)
        assert (reply.status, reply.headers["Location"]) == (302, f"/login?next={path}")
    page = await server.fetch("GET", "/notebooks", stranger=True, headers=HTML)
    data = await server.fetch("GET", "/notebooks", stranger=True, headers={"Accept": "application/json"})
    assert (page.status, data.status) == (302, 403)
    assert page.headers["Location"] == "/login?next=/notebooks"


@pytest.mark.parametrize(
    "path",
    ["/0189-0000-7000-8000-000000000000", "/x1890000-0000-7000-8000-000000000000", "/newer", "/a-b-c-d-e"],
)
async def test_only_uuids_are_ids(server: Server, path: str):
    reply = await server.fetch("GET", path)
    assert (reply.status, reply.json()["message"]) == (404, f"There is nothing at {path}")


# -- kernels -----------------------------------------------------------------------------


async def test_kernels(server: Server):
    """B45 to B48."""
    started = await server.fetch("POST", "/kernels")
    kernel = started.json()["kernel_id"]
    assert started.status == 200 and started.headers["Location"] == f"/{kernel}"
    assert started.json() == {"ws_url": f"ws://{server.host}", "kernel_id": kernel}
    assert (await server.fetch("GET", "/kernels")).json() == [kernel]
    assert (await server.fetch("GET", f"/kernels/{kernel}")).status == 405
    again = await server.fetch("POST", f"/kernels/{kernel}/restart")
    assert (again.status, again.json()) == (200, started.json())
    assert again.headers["Location"] == f"/{kernel}"
    interrupted = await server.fetch("POST", f"/kernels/{kernel}/interrupt")
    assert (interrupted.status, interrupted.body) == (204, b"")
    unknown = await server.fetch("POST", f"/kernels/{kernel}/dance")
    assert unknown.status == 404 and "'dance'" in unknown.json()["message"]
    killed = await server.fetch("POST", f"/kernels/{kernel}/kill")
    assert (killed.status, killed.body) == (204, b"")
    assert (await server.fetch("GET", "/kernels")).json() == []
    for method, path in [("DELETE", ""), ("POST", "/restart"), ("POST", "/kill"), ("POST", "/interrupt")]:
        reply = await server.fetch(method, f"/kernels/{kernel}{path}")
        assert (reply.status, reply.json()["message"]) == (404, f"Kernel does not exist: {kernel}")
    second = (await server.fetch("POST", "/kernels")).json()["kernel_id"]
    assert (await server.fetch("DELETE", f"/kernels/{second}")).status == 204


async def test_the_kernel_of_a_notebook_is_its_sessions(start_server: StartServer):
    server = await start_server(base_url="/me/", trust_proxy=True)
    entry = await made(server)
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "localhost:99"}
    first = await server.fetch("POST", f"/kernels?notebook={entry}", headers=proxied)
    assert first.json()["ws_url"] == "wss://localhost:99"
    assert first.headers["Location"] == f"/me/{first.json()['kernel_id']}"
    second = await server.fetch("POST", f"/kernels?notebook={entry}")
    assert second.json()["kernel_id"] == first.json()["kernel_id"]
    (session,) = (await server.fetch("GET", "/api/sessions")).json()
    assert (session["path"], session["name"], session["type"]) == ("a.ipynb", "a.ipynb", "notebook")


async def test_a_notebook_whose_kernel_is_not_installed_says_so(server: Server):
    content = notebook()
    content["metadata"]["kernelspec"] = {"name": "cobol", "display_name": "COBOL", "language": "cobol"}
    entry = (await server.fetch("POST", "/notebooks", json=content)).json()
    reply = await server.fetch("POST", f"/kernels?notebook={entry}")
    assert reply.status == 501 and "'cobol'" in reply.json()["message"]
    assert (await server.fetch("GET", "/kernels")).json() == []


@pytest.mark.parametrize("notebook", ["nonsense", "../x", "a.ipynb", "0189"])
async def test_a_kernel_for_no_notebook(server: Server, notebook: str):
    reply = await server.fetch("POST", f"/kernels?notebook={quote(notebook)}")
    assert (reply.status, reply.json()["message"]) == (404, f"Notebook does not exist: {notebook}")
