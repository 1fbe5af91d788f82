"""The endpoints about the server itself, and addresses that lead elsewhere."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.helpers import TOKEN, Server, StartServer


async def test_api_tells_the_version_and_no_more(server: Server):
    reply = await server.fetch("GET", "/api", stranger=True)
    assert list(reply.json()) == ["version"]


@pytest.mark.parametrize("base", ["/", "/base/"])
async def test_the_root_leads_to_jupyterlab(start_server: StartServer, base: str):
    server = await start_server(base_url=base)
    reply = await server.fetch("GET", "/")
    assert (reply.status, reply.headers["Location"]) == (302, f"{base}lab")
    if base != "/":
        async with server.session.get(server.url.rstrip("/"), allow_redirects=False) as bare:
            assert bare.headers["Location"] == "/base/login?next=/base"
        async with server.session.get(f"http://{server.host}/api") as outside:
            assert outside.status == 404


# -- slashes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/notebooks/mynotebook/", "/notebooks/mynotebook"),
        ("////foo///", "/foo"),
        ("//example.com/", "/example.com"),
        ("//evil.com", "/evil.com"),
        ("///evil.com/%2f..", "/evil.com/%2f.."),
        ("/\\evil.com/", "/%5Cevil.com"),
        ("/%5cevil.com/", "/%5cevil.com"),
        ("/has/param/?hasparam=true", "/has/param?hasparam=true"),
        ("/api/me/?a=b&c", "/api/me?a=b&c"),
        ("/lab/", "/lab"),
        ("/lab/tree/x/?reset", "/lab/tree/x?reset"),
    ],
)
async def test_slashes_too_many(server: Server, path: str, location: str):
    """CVE-2020-26232, CVE-2020-26215: `//host/` stays on this host; the query is kept, the status 302."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\nConnection: close\r\n\r\n"
    )
    writer.write(request.encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 302 ")
    assert f"\r\nLocation: {location}\r\n" in answer


async def test_slashes_that_belong_there(server: Server):
    for path in ("/api/contents/", "/lab/api/settings/", "/lab/api/workspaces/", "/lab/api/translations/"):
        assert (await server.fetch("GET", path)).status == 200, path


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_what_changes_something_is_not_redirected(server: Server, method: str):
    reply = await server.fetch(method, "/nowhere/")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, POST, PUT")


# -- status, shutdown, reports, events -----------------------------------------------


async def test_status_has_four_keys_and_asking_is_no_activity(server: Server):
    """S15: and it wants a login."""
    first = (await server.fetch("GET", "/api/status")).json()
    assert set(first) == {"started", "last_activity", "kernels", "connections"}
    assert (first["kernels"], first["connections"]) == (0, 0)
    assert first["started"].endswith("Z")
    for path in ("/api/status", "/api/resolvePath?path=x", "/api/me?no_track_activity=1", "/api"):
        await server.fetch("GET", path)
    assert (await server.fetch("GET", "/api/status")).json()["last_activity"] == first["last_activity"]
    await server.fetch("GET", "/api/me")
    assert (await server.fetch("GET", "/api/status")).json()["last_activity"] > first["last_activity"]


async def test_shutdown_stops_the_server_after_its_answer(server: Server):
    assert not server.services.stop.is_set()
    reply = await server.fetch("POST", "/api/shutdown")
    assert (reply.status, reply.body) == (200, b"")
    assert server.services.stop.is_set()


async def test_csp_reports_are_logged_on_one_line(server: Server, caplog: pytest.LogCaptureFixture):
    """S11: without XSRF and Origin, but small and for the signed in."""
    caplog.set_level(logging.WARNING)
    headers = {"Cookie": (await server.log_in())["Cookie"], "Origin": "http://evil.com"}
    report = '{"blocked": "é\n\x1b[31m"}\nFAKE log line: http://x/?token=abc'
    reply = await server.fetch(
        "POST", "/api/security/csp-report", stranger=True, headers=headers, data=report.encode()
    )
    assert reply.status == 200
    (record,) = [each for each in caplog.records if "Content security" in each.getMessage()]
    line = record.getMessage()
    assert "\n" not in line
    assert "\x1b" not in line
    assert "abc" not in line
    large = await server.fetch("POST", "/api/security/csp-report", data=b"x" * 20_000)
    assert large.status == 413


async def test_no_language_servers(server: Server):
    assert (await server.fetch("GET", "/lsp/status")).json()["specs"] == {}


# -- resolvePath ---------------------------------------------------------------------


async def resolve(server: Server, query: str) -> object:
    reply = await server.fetch("GET", f"/api/resolvePath?{query}")
    return reply.json() if reply.status == 200 else reply.status


async def test_paths_are_resolved_below_the_folder(server: Server, monkeypatch: pytest.MonkeyPatch):
    folder = server.services.config.folder
    monkeypatch.setenv("HOME", str(folder))
    await server.fetch("PUT", "/api/contents/sub", json={"type": "directory"})
    file = {"type": "file", "format": "text", "content": "x"}
    await server.fetch("PUT", "/api/contents/sub/a.py", json=file)
    found = {"resolved": [{"scope": "server", "path": "sub/a.py"}]}
    for path in (
        "sub/a.py",
        "/sub/a.py",
        f"{folder}/sub/a.py",
        "~/sub/a.py",
        "~/sub/../sub/a.py",
        "sub//a.py",
    ):
        assert await resolve(server, f"path={path}") == found, path
    nothing: dict[str, list[object]] = {"resolved": []}
    for path in (
        "no.py",
        "../a.py",
        "sub/../../x",
        f"{folder}x/sub/a.py",
        "/etc/passwd",
        "~nobody/x",
        "a%00b",
        ".x",
    ):
        assert await resolve(server, f"path={path}") == nothing, path
    assert await resolve(server, "") == 400


async def test_paths_of_a_kernel_that_is_gone(server: Server):
    answer = await resolve(server, "path=x&kernel=nope")
    assert answer == {
        "resolved": [],
        "unresolved": [{"scope": "kernel", "reason": "Kernel nope could not be found"}],
    }


async def test_paths_as_a_kernel_sees_them(server: Server):
    """Relative ones begin in its folder; what is not there is not told."""
    folder = server.services.config.folder
    (folder / "sub").mkdir()
    (folder / "sub" / "on_disk.py").write_text("")
    kernel = (await server.fetch("POST", "/api/kernels", json={"path": "sub"})).json()["id"]
    found = {"resolved": [{"scope": "kernel", "path": f"{(folder / 'sub').resolve()}/on_disk.py"}]}
    for path in ("on_disk.py", "../sub/on_disk.py"):
        assert await resolve(server, f"path={path}&kernel={kernel}") == found, path
    found["resolved"].insert(0, {"scope": "server", "path": "sub/on_disk.py"})
    assert await resolve(server, f"path={folder}/sub/on_disk.py&kernel={kernel}") == found
    nothing: dict[str, list[object]] = {"resolved": []}
    for path in ("no.py", "a%00b", "x" * 5000, "~nobody/x", "%ff"):
        assert await resolve(server, f"path={path}&kernel={kernel}") == nothing, path
