"""`evstore serve` from its first line to its end."""

from __future__ import annotations

import json
import signal
import socket
import stat
import time
from contextlib import closing, suppress
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import psutil
import pytest

from tests.helpers import make_services, run_test_server
from tests.process.commands import PATIENCE, TOKEN, Served, evstore, info_file, log_of, serving, start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a space in its name and two files in it."""
    folder = tmp_path / "my notebooks"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("from the disk\n")
    (folder / "deep" / "b.txt").write_text("deeper\n")
    return folder


def kernel_of(server: Served) -> psutil.Process:
    """The process of a kernel that has just been started."""
    server.ask("POST", "api/kernels", {"name": "python3"})
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for child in psutil.Process(server.process.pid).children(recursive=True):
            if "ipykernel_launcher" in " ".join(child.cmdline()):
                return child
        time.sleep(0.05)
    raise AssertionError("no kernel has come up")


def gone(process: psutil.Process) -> bool:
    """Whether a process ends within some seconds."""
    return not psutil.wait_procs([process], timeout=10)[1]


class Browser:
    """What keeps cookies."""

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.cookies))

    def log_in(self, url: str, password: str) -> None:
        self.opener.open(f"{url}login").close()
        xsrf = next(cookie.value for cookie in self.cookies if cookie.name == "_xsrf")
        form = urlencode({"password": password, "_xsrf": xsrf})
        self.opener.open(f"{url}login", form.encode()).close()

    def is_in(self, url: str) -> bool:
        try:
            self.opener.open(f"{url}api/me").close()
        except HTTPError as error:
            if error.code != 403:
                raise
            return False
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_it_and_its_kernels(folder: Path, number: signal.Signals) -> None:
    with serving(folder) as server:
        kernel = kernel_of(server)
        server.save("new.txt", "saved")
        code, out, err = server.stop(number)
        assert (code, err) == (0, "")
        assert out.endswith("Stopping; once more forces it.\n")
        assert gone(kernel)
        assert sorted(path.name for path in server.db.parent.iterdir()) == [
            ".gitignore",
            "boot",
            "cookie_secret",
            "folder",
            "folder.lock",
            "log.db",
            "log.db.lock",
            "tmp",
            "trash",
        ]  # the WAL is in the database, and nobody is told of a server


def test_a_request_can_stop_it(folder: Path) -> None:
    with serving(folder) as server:
        server.ask("POST", "api/shutdown")
        assert server.process.wait(PATIENCE) == 0


def test_it_tells_where_it_is(folder: Path) -> None:
    with serving(folder) as server:
        info = json.loads(info_file(server.db).read_text())
        assert info == {"url": server.url, "token": TOKEN, "pid": server.process.pid}
        for private in (info_file(server.db), server.db, server.db.with_name("cookie_secret")):
            assert stat.S_IMODE(private.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.db.parent.stat().st_mode) == 0o700
        _, out, _ = server.stop()
    assert f"    {server.url}lab?token={TOKEN}\n" in out
    assert str(folder) in out


def test_a_token_of_any_characters(folder: Path) -> None:
    with serving(folder, "--token", "a&b#c/é%41") as server:
        _, out, _ = server.stop()
    assert f"    {server.url}lab?token=a%26b%23c%2F%C3%A9%2541\n" in out


def test_the_first_start_takes_in_the_files_and_a_second_one_does_not(folder: Path) -> None:
    with serving(folder) as server:
        assert (server.text("a.txt"), server.text("deep/b.txt")) == ("from the disk\n", "deeper\n")
        server.ask("DELETE", "api/contents/a.txt")
        assert "Took in 2 files in 1 new folder" in server.stop()[1]
    with serving(folder) as server:
        assert server.text("a.txt") is None
        assert "Took in" not in server.stop()[1]


def test_flags_can_come_from_the_environment(folder: Path) -> None:
    settings = {"EVSTORE_BASE_URL": "me", "EVSTORE_DB": str(folder / "x.db")}
    with serving(folder, **settings) as server:
        assert server.url.endswith("/me/")
        assert server.text("a.txt") == "from the disk\n"
        names = {member["name"] for member in server.ask("GET", "api/contents")["content"]}
    assert names == {"a.txt", "deep"}  # and not the log, which lies among them
    assert not log_of(folder).exists()


def test_a_base_url(folder: Path) -> None:
    with serving(folder, "--base-url", "me/too") as server:
        assert server.url.endswith("/me/too/")
        assert server.text("a.txt") == "from the disk\n"


def test_a_taken_port(folder: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        result = evstore("serve", "--no-browser", "--port", port, cwd=folder)
    assert (result.returncode, result.stderr) == (
        1,
        f"Error: Port {port} is taken by another program; choose one with --port.\n",
    )


async def test_the_next_port_when_none_was_asked_for(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        async with (
            make_services(tmp_path, port=port, port_retries=50) as services,
            run_test_server(services) as server,
        ):
            assert port < server.port <= port + 50


def test_what_a_crash_left_behind_is_not_believed(folder: Path) -> None:
    with serving(folder) as server:
        server.save("a.txt", "newer")
        server.process.kill()
        server.process.communicate()
    assert info_file(log_of(folder)).exists()
    result = evstore("restore", "a.txt", "--at", 2, cwd=folder)
    assert result.returncode == 0, result.stderr
    with serving(folder) as again:
        assert again.text("a.txt") == "from the disk\n"


def test_a_login_outlives_a_restart(folder: Path) -> None:
    browser = Browser()
    with serving(folder, "--password", "open sesame") as server:
        assert not browser.is_in(server.url)
        browser.log_in(server.url, "open sesame")
        assert browser.is_in(server.url)
        port = server.url.rsplit(":", 1)[1].strip("/")
    with serving(folder, "--password", "open sesame", "--port", port) as server:
        assert browser.is_in(server.url)
    with serving(folder, "--password", "changed", "--port", port) as server:
        assert not browser.is_in(server.url)


def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    with serving(folder) as server:
        # a stopped kernel does not answer the request to shut down, which keeps the server waiting
        kernel = kernel_of(server)
        kernel.suspend()
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGINT)
        server.process.communicate(timeout=PATIENCE)
        assert server.process.returncode == -signal.SIGINT
        with suppress(psutil.NoSuchProcess):  # it may have gone with the server
            kernel.kill()


def test_stopped_while_it_takes_in_files(folder: Path) -> None:
    for number in range(3000):
        (folder / f"{number}.txt").write_text(f"{number}\n")
    server = start(folder)
    while not server.db.exists():
        time.sleep(0.01)
    server.process.send_signal(signal.SIGINT)
    _, err = server.process.communicate(timeout=PATIENCE)
    assert (server.process.returncode, err) == (1, "Error: Stopped before it was done.\n")
    with serving(folder) as server:
        assert server.text("2999.txt") == "2999\n"


def test_a_session_goes_along_with_its_notebook(folder: Path) -> None:
    with serving(folder) as server:
        wish = {"path": "deep/n.ipynb", "name": "n.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
        server.ask("PUT", "api/contents/deep/n.ipynb", {"type": "notebook"})
        server.ask("POST", "api/sessions", wish)
        server.ask("PATCH", "api/contents/deep/n.ipynb", {"path": "deep/m.ipynb"})
        server.ask("PATCH", "api/contents/deep", {"path": "deeper"})
        deadline = time.monotonic() + PATIENCE
        while (session := server.ask("GET", "api/sessions")[0])["path"] != "deeper/m.ipynb":
            assert time.monotonic() < deadline, session
            time.sleep(0.02)
        assert session["name"] == "m.ipynb"
