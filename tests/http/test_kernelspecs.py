"""Kernelspecs over HTTP: the list, one, and the files that come with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.helpers import Server
from tests.kernel_client import connected, start_kernel

LOGO = b"\x89PNG\r\n\x1a\n"
SPEC = {"argv": [sys.executable, "-c", "pass"], "display_name": "A sample", "language": "sample"}
GARBAGE = {
    "garbage": "garbage",
    "a-list": "[]",
    "empty": "",
    "no-text": b"\xff\xfe",
    "wrong-types": '{"argv": 5, "display_name": []}',
    "unknown-mode": '{"argv": [], "interrupt_mode": "telepathy"}',
    "no-provisioner": json.dumps(SPEC | {"metadata": {"kernel_provisioner": {"provisioner_name": "gone"}}}),
}


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jupyter's folder of kernels for this user."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    folder = tmp_path / "data" / "kernels"
    sample = folder / "Sample"
    sample.mkdir(parents=True)
    (sample / "kernel.json").write_text(json.dumps(SPEC))
    (sample / "kernel.js").write_text("// js")
    (sample / "logo-64x64.png").write_bytes(LOGO)
    (sample / "logo-svg.svg").write_text("<svg/>")
    (sample / "sub").mkdir()
    (sample / "sub" / "resource.txt").write_text("text")
    (sample / "outside.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("what nobody may read")
    (folder / "Sample-evil").mkdir()
    (folder / "Sample-evil" / "x.txt").write_text("what nobody may read")
    return folder


async def test_list(server: Server, kernels: Path) -> None:
    data = (await server.fetch("GET", "/api/kernelspecs")).json()
    assert data["default"] == "python3"
    sample = data["kernelspecs"]["sample"]
    assert (sample["name"], sample["spec"]["display_name"]) == ("sample", "A sample")
    assert set(sample["spec"]) >= {"argv", "display_name", "language", "env", "interrupt_mode", "metadata"}
    assert sample["resources"] == {
        "kernel.js": "/kernelspecs/sample/kernel.js",
        "logo-64x64": "/kernelspecs/sample/logo-64x64.png",
        "logo-svg": "/kernelspecs/sample/logo-svg.svg",
    }
    assert data["kernelspecs"]["python3"]["spec"]["language"] == "python"


async def test_a_broken_one_is_left_out(
    server: Server, kernels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in GARBAGE.items():
        (kernels / name).mkdir()
        (kernels / name / "kernel.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    await server.fetch("GET", "/api/kernelspecs")
    data = (await server.fetch("GET", "/api/kernelspecs")).json()
    assert {"sample", "python3"} <= set(data["kernelspecs"])
    assert not set(GARBAGE) & set(data["kernelspecs"])
    for name in GARBAGE:
        assert (await server.fetch("GET", f"/api/kernelspecs/{name}")).status == 404
        assert (await server.fetch("POST", "/api/kernels", json={"name": name})).status == 501
    assert "Traceback" not in caplog.text
    assert len(caplog.records) == len(GARBAGE)


@pytest.mark.parametrize("name", ["sample", "Sample", "SAMPLE"])
async def test_one_in_any_case(server: Server, kernels: Path, name: str) -> None:
    reply = await server.fetch("GET", f"/api/kernelspecs/{name}")
    assert (reply.status, reply.json()["name"], reply.json()["spec"]["language"]) == (200, "sample", "sample")


@pytest.mark.parametrize("name", ["nonexistent", "..", "%2e%2e%2fsample", "x" * 300, "%F0%9F%A6%86", "a%20b"])
async def test_none(server: Server, kernels: Path, name: str) -> None:
    reply = await server.fetch("GET", f"/api/kernelspecs/{name}")
    assert reply.status == 404
    assert reply.json()["message"]


async def test_the_base_url_is_in_the_addresses(kernels: Path, start_server: object) -> None:
    server = await start_server(base_url="/hub/me/")  # type: ignore[operator]
    sample = (await server.fetch("GET", "/api/kernelspecs/sample")).json()
    assert sample["resources"]["logo-svg"] == "/hub/me/kernelspecs/sample/logo-svg.svg"
    assert (await server.fetch("GET", "/kernelspecs/sample/logo-svg.svg")).status == 200


@pytest.mark.parametrize(
    ("file", "kind", "body"),
    [
        ("logo-64x64.png", "image/png", LOGO),
        ("logo-svg.svg", "image/svg+xml", b"<svg/>"),
        ("sub/resource.txt", "text/plain", b"text"),
    ],
)
async def test_a_file(server: Server, kernels: Path, file: str, kind: str, body: bytes) -> None:
    reply = await server.fetch("GET", f"/kernelspecs/sAmple/{file}")
    assert (reply.status, reply.body) == (200, body)
    assert reply.headers["Content-Type"].startswith(kind)
    assert ("max-age=2592000" in reply.headers.get("Cache-Control", "")) == file.endswith(".png")
    reply = await server.fetch("HEAD", f"/kernelspecs/sample/{file}")
    assert (reply.status, reply.body, int(reply.headers["Content-Length"])) == (200, b"", len(body))


@pytest.mark.parametrize(
    "file",
    [
        "nonexistent.txt",
        "sub",
        "outside.txt",
        "%2e%2e/Sample-evil/x.txt",
        "%2e%2e%2fSample-evil%2fx.txt",
        "sub/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "%2fetc%2fpasswd",
        "a%00b",
        "x" * 300,
    ],
)
async def test_what_is_not_there_or_outside(server: Server, kernels: Path, file: str) -> None:
    reply = await server.fetch("GET", f"/kernelspecs/sample/{file}")
    assert reply.status in (400, 404)
    assert b"what nobody may read" not in reply.body


async def test_files_of_a_kernel_that_is_not_installed(server: Server, kernels: Path) -> None:
    assert (await server.fetch("GET", "/kernelspecs/nonexistent/logo-svg.svg")).status == 404


async def test_strangers_get_no_files(server: Server, kernels: Path) -> None:
    assert (await server.fetch("GET", "/kernelspecs/sample/logo-svg.svg", stranger=True)).status == 403


async def test_the_default_is_one_that_is_installed(kernels: Path, start_server: object) -> None:
    server = await start_server(default_kernel="Sample")  # type: ignore[operator]
    assert (await server.fetch("GET", "/api/kernelspecs")).json()["default"] == "sample"
    server = await start_server(default_kernel="cobol", db=kernels / "other.db")  # type: ignore[operator]
    assert (await server.fetch("GET", "/api/kernelspecs")).json()["default"] == "python3"


async def test_one_that_is_installed_and_removed_while_the_server_runs(server: Server, kernels: Path) -> None:
    async def names() -> set[str]:
        return set((await server.fetch("GET", "/api/kernelspecs")).json()["kernelspecs"])

    assert "late" not in await names()
    assert (await server.fetch("POST", "/api/kernels", json={"name": "late"})).status == 501
    (kernels / "late").mkdir()
    (kernels / "late" / "kernel.json").write_text(json.dumps(SPEC | {"display_name": "Late"}))
    assert "late" in await names()
    (kernels / "late" / "kernel.json").write_text(json.dumps(SPEC | {"display_name": "Changed"}))
    late = (await server.fetch("GET", "/api/kernelspecs/late")).json()
    assert late["spec"]["display_name"] == "Changed"
    reply = await server.fetch("POST", "/api/kernels", json={"name": "Late"})
    assert (reply.status, reply.json()["name"]) == (201, "late")
    (kernels / "late" / "kernel.json").unlink()
    assert "late" not in await names()
    assert (await server.fetch("DELETE", f"/api/kernels/{reply.json()['id']}")).status == 204


async def test_browsers_keep_files_and_ask_whether_they_are_still_true(server: Server, kernels: Path) -> None:
    address = "/kernelspecs/sample/logo-64x64.png"
    reply = await server.fetch("GET", address)
    assert (reply.status, reply.headers["Cache-Control"]) == (200, "max-age=2592000")
    assert reply.headers["Last-Modified"]
    assert "Set-Cookie" not in reply.headers
    same = await server.fetch("GET", address, headers={"If-None-Match": reply.headers["ETag"]})
    assert (same.status, same.body) == (304, b"")
    since = {"If-Modified-Since": reply.headers["Last-Modified"]}
    assert (await server.fetch("GET", address, headers=since)).status == 304
    (kernels / "Sample" / "logo-64x64.png").write_bytes(LOGO + b"new")
    changed = await server.fetch("GET", address, headers={"If-None-Match": reply.headers["ETag"]})
    assert (changed.status, changed.body) == (200, LOGO + b"new")
    part = await server.fetch("GET", address, headers={"Range": "bytes=1-3"})
    assert (part.status, part.body) == (206, b"PNG")


async def test_variables_of_a_kernelspec(
    server: Server, kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`${NAME}` in its `env` is what the server's environment, or the client, has under that name."""
    monkeypatch.setenv("BASE", "/opt/base")
    (kernels / "own").mkdir()
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Own",
        "language": "python",
        "env": {
            "PLAIN": "x y",
            "BELOW": "${BASE}/below",
            "WHO": "${KERNEL_USERNAME}!",
            "NONE": "${NOT_THERE}",
        },
    }
    (kernels / "own" / "kernel.json").write_text(json.dumps(spec))
    kernel = await start_kernel(server, name="own", env={"KERNEL_USERNAME": "ann", "BASE": "/evil"})
    async with connected(server, kernel) as client:
        look = "import os; print([os.environ[name] for name in ('PLAIN', 'BELOW', 'WHO', 'NONE')])"
        assert await client.run(look) == "['x y', '/opt/base/below', 'ann!', '${NOT_THERE}']\n"
    [listed] = [
        one
        for name, one in (await server.fetch("GET", "/api/kernelspecs")).json()["kernelspecs"].items()
        if name == "own"
    ]
    assert listed["spec"]["env"] == spec["env"]
