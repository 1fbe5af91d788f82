"""Terminals over HTTP and their websocket, with real shells."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.helpers import Server, StartServer, make_services, run_test_server
from tests.http.terminal_client import BASH, PATIENCE, looking_at, opened, until


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    return await start_server(terminal_shell=BASH)


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def names(server: Server) -> list[str]:
    return [model["name"] for model in (await server.fetch("GET", "/api/terminals")).json()]


# -- the list ----------------------------------------------------------------------------


async def test_list_start_look_and_end(server: Server):
    assert (await server.fetch("GET", "/api/terminals")).json() == []
    reply = await server.fetch("POST", "/api/terminals")
    assert reply.status == 200
    model = reply.json()
    assert set(model) == {"name", "last_activity"}
    assert model["name"] == "1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", model["last_activity"])
    assert (await server.fetch("POST", "/api/terminals")).json()["name"] == "2"
    assert (await server.fetch("GET", "/api/terminals/2")).json()["name"] == "2"
    assert await names(server) == ["1", "2"]
    ended = await server.fetch("DELETE", "/api/terminals/1")
    assert (ended.status, ended.body) == (204, b"")
    assert await names(server) == ["2"]
    assert (await server.fetch("POST", "/api/terminals")).json()["name"] == "1", "the first free number"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_terminal(server: Server, method: str):
    reply = await server.fetch(method, "/api/terminals/7")
    assert (reply.status, reply.json()["message"]) == (404, "Terminal not found: 7")


async def test_a_name_is_used(server: Server):
    assert (await server.fetch("POST", "/api/terminals", json={"name": "my_é1"})).json()["name"] == "my_é1"
    assert (await server.fetch("GET", "/api/terminals/my_%C3%A91")).status == 200
    again = await server.fetch("POST", "/api/terminals", json={"name": "my_é1"})
    assert again.status == 200, "two pages that restore the same layout share it"
    assert await names(server) == ["my_é1"]


@pytest.mark.parametrize(
    "body",
    [
        *({"name": name} for name in ("a/b", "../x", "a b", "-", "x" * 101, "a\x00", 5, [], {}, True)),
        *({"cwd": cwd} for cwd in (5, [], {}, False)),
        [],
        "x",
        7,
    ],
)
async def test_bad_wishes(server: Server, body: Any):
    reply = await server.fetch("POST", "/api/terminals", json=body)
    assert reply.status == 400, reply.text
    assert await names(server) == []


async def test_what_is_not_json(server: Server):
    assert (await server.fetch("POST", "/api/terminals", data=b"{")).status == 400


async def test_two_at_once_have_two_names(server: Server):
    replies = await asyncio.gather(*(server.fetch("POST", "/api/terminals") for _ in range(3)))
    assert sorted(reply.json()["name"] for reply in replies) == ["1", "2", "3"]


async def test_a_shell_that_is_not_there(start_server: StartServer):
    server = await start_server(terminal_shell=("/nowhere/shell",))
    reply = await server.fetch("POST", "/api/terminals")
    assert reply.status == 501
    assert "could not be started" in reply.json()["message"]
    assert await names(server) == []


async def test_terminals_can_be_off(start_server: StartServer):
    server = await start_server(terminals=False)
    for method, path in (
        ("GET", "/api/terminals"),
        ("POST", "/api/terminals"),
        ("GET", "/api/terminals/1"),
        ("DELETE", "/api/terminals/1"),
        ("GET", "/terminals/websocket/1"),
    ):
        reply = await server.fetch(method, path)
        assert reply.status == 404
        assert "--no-terminals" in reply.json()["message"]


@pytest.mark.parametrize("terminals", [True, False])
async def test_the_page_knows_whether_there_are_terminals(start_server: StartServer, terminals: bool):
    server = await start_server(terminals=terminals)
    page = await server.fetch("GET", "/lab")
    assert f'"terminalsAvailable": {str(terminals).lower()}' in page.text


# -- the shell ---------------------------------------------------------------------------


async def test_a_shell_on_a_terminal(server: Server):
    async with opened(server) as client:
        assert client.others == [["setup", {}]]
        assert (await client.run("tty")).startswith("/dev/pts/")
        assert await client.run("echo $TERM") == "xterm-256color\n"
        assert await client.run("echo é‰😀") == "é‰😀\n"
        assert await client.run("test -t 0 && test -t 1 && test -t 2 && echo yes") == "yes\n"


async def test_its_environment(start_server: StartServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EVSTORE_TOKEN", "secret-one")
    monkeypatch.setenv("EVSTORE_PASSWORD", "secret-two")
    monkeypatch.setenv("OF_THE_USER", "kept")
    server = await start_server(terminal_shell=BASH, base_url="/me/")
    async with opened(server) as client:
        variables = dict(line.partition("=")[::2] for line in (await client.run("env")).splitlines())
    assert variables["JUPYTER_SERVER_ROOT"] == str(server.services.config.folder)
    assert variables["JUPYTER_SERVER_URL"] == server.url
    assert variables["OF_THE_USER"] == "kept"
    assert not any("secret" in value for value in variables.values())


async def test_it_is_a_login_shell_of_the_users_own(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    server = await start_server()
    async with opened(server) as client:
        assert await client.run("echo $0; shopt login_shell") == "/bin/bash\nlogin_shell    \ton\n"


async def test_signals_that_python_ignores_are_not_ignored_in_it(server: Server):
    async with opened(server) as client:
        assert await client.run("yes | head -1; echo ${PIPESTATUS[0]}") == "y\n141\n"


@pytest.fixture
def folder(server: Server) -> Path:
    folder = server.services.config.folder
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "a.txt").touch()
    (folder.parent / "outside").mkdir()
    (folder / "link").symlink_to(folder.parent / "outside")
    return folder


@pytest.mark.parametrize(
    ("cwd", "where"),
    [
        ("", ""),
        ("sub/deep", "sub/deep"),
        ("/sub/deep/", "sub/deep"),
        ("sub/gone/deep", "sub"),
        ("sub/a.txt", "sub"),
        ("{folder}/sub", "sub"),
        ("../outside", ""),
        ("sub/../../outside", ""),
        ("link", ""),
        ("/etc", ""),
        ("{folder}-evil", ""),
        ("no\x00name", ""),
        ("~", ""),
    ],
)
async def test_where_it_starts(server: Server, folder: Path, cwd: str, where: str):
    async with opened(server, cwd=cwd.format(folder=folder)) as client:
        assert await client.run("pwd") == f"{(folder / where).resolve()}\n"


# -- several clients -----------------------------------------------------------------------


async def test_all_clients_see_the_same_and_may_type(server: Server):
    async with opened(server) as first, looking_at(server, "1") as second:
        await first.type("echo from''-first\n")
        await second.sees("from-first")
        await second.type("echo from''-second\n")
        await first.sees("from-second")
        await second.sees("from-second")
        assert second.screen.endswith(first.screen.partition("ready")[2])


async def test_a_client_that_comes_later_sees_what_was_printed(server: Server):
    async with opened(server) as first:
        await first.run("printf 'seen-\\033[6n-before'")
    async with looking_at(server, "1") as second:
        await second.sees("seen--before")  # and it is not asked where its cursor is
        assert second.others == [["setup", {}]]
        assert "\x1bc" not in second.screen


async def test_a_client_whose_connection_broke_begins_with_an_empty_screen(server: Server):
    headers = await server.log_in()
    async with opened(server) as first:
        await first.run("echo once")
        lost = await server.connect("/terminals/websocket/1", stranger=True, headers=headers)
        await lost.receive()
        assert lost._response.connection is not None  # pyright: ignore
        lost._response.connection.transport.abort()  # pyright: ignore
        terminal = server.services.terminals.get("1")
        await until(lambda: len(terminal._viewers) == 1)  # pyright: ignore
        async with looking_at(server, "1", stranger=True, headers=headers) as again:
            await again.sees("once")
            assert again.screen.startswith("\x1bc"), "or it would have all of it twice"
        async with looking_at(server, "1", stranger=True, headers=headers) as later:
            await later.sees("once")
            assert not later.screen.startswith("\x1bc")


async def test_the_smallest_client_decides_the_size(server: Server):
    async with opened(server) as first:
        await first.say("set_size", 40, 100, 800, 600)
        assert await first.run("stty size") == "40 100\n"
        async with looking_at(server, "1") as second:
            await second.say("set_size", 50, 80, 800, 600)
            await second.say("set_size", None, None, 0, 0)
            await second.type("echo size-is''-set\n")
            await second.sees("size-is-set")
            await first.sees("size-is-set")
            assert await first.run("stty size") == "40 80\n"
        await until(lambda: len(server.services.terminals.get("1")._viewers) == 1)  # pyright: ignore
        assert await first.run("stty size") == "40 100\n"


async def test_programs_hear_of_a_new_size(server: Server):
    async with opened(server) as client:
        await client.type("trap 'echo resized-to $(stty size)' WINCH; echo is''-set\n")
        await client.sees("is-set")
        await client.say("set_size", 33, 44, 0, 0)
        await client.type("\n")
        await client.sees("resized-to 33 44")


# -- the end -----------------------------------------------------------------------------


async def test_the_shell_ends(server: Server):
    async with opened(server) as client, looking_at(server, "1") as other:
        await client.type("echo last''-words; exit\n")
        assert await client.close_code() == 1000
        assert "last-words" in client.screen
        assert client.others == [["setup", {}], ["disconnect", 1]]
        assert await other.close_code() == 1000
        assert other.others == [["setup", {}], ["disconnect", 1]]
    assert await names(server) == []
    assert (await server.fetch("DELETE", "/api/terminals/1")).status == 404


async def test_delete_tells_the_clients(server: Server):
    async with opened(server) as client:
        assert (await server.fetch("DELETE", "/api/terminals/1")).status == 204
        assert await client.close_code() == 1000
        assert client.others[-1] == ["disconnect", 1]


STUBBORN = "trap '' HUP TERM; echo $BASHPID; while :; do sleep 0.1; done"


async def pids_of(client: Any, *commands: str) -> list[int]:
    """Start commands that print their pid and stay."""
    for command in commands:
        await client.type(command + "\n")
    pids: list[int] = []
    async with asyncio.timeout(PATIENCE):
        while len(pids) < len(commands):
            assert await client.next()
            pids = [int(pid) for pid in re.findall(r"pid(\d+)\r\n", client.screen)]
    return pids


STAYING = (
    "(echo pid$BASHPID; exec sleep 1000) &",
    "nohup sh -c 'echo pid$$ >/dev/tty; exec sleep 1000' >/dev/null &",
    "(trap '' HUP TERM; echo pid$BASHPID; while :; do sleep 0.1; done) &",
    "(echo pid$BASHPID; kill -STOP $BASHPID) &",
)


async def test_delete_ends_all_that_was_started(server: Server):
    async with opened(server) as client:
        shell = int(await client.run("echo $$"))
        pids = await pids_of(client, *STAYING)
        await client.type("exec cat\n")
        assert (await server.fetch("DELETE", "/api/terminals/1")).status == 204
        assert [pid for pid in (shell, *pids) if runs(pid)] == []
        assert not psutil.pid_exists(shell), "no zombie"


async def test_what_a_shell_leaves_running_goes_on_until_the_server_stops(tmp_path: Path):
    async with make_services(tmp_path, terminal_shell=BASH) as services:
        async with run_test_server(services) as server, opened(server) as client:
            pids = await pids_of(client, *STAYING[1:3])
            await client.type("exit\n")
            await client.type("exit\n")  # it warns of jobs that are stopped
            assert await client.close_code() == 1000
            assert await names(server) == []
            await asyncio.sleep(0.1)
            assert [pid for pid in pids if not runs(pid)] == []
        assert [pid for pid in pids if runs(pid)] == []


async def test_a_shell_that_only_closes_its_terminal_is_ended(server: Server):
    async with opened(server) as client:
        shell = int(await client.run("echo $$"))
        await client.type("trap '' HUP; exec 0<&- 1>&- 2>&- sleep 1000\n")
        assert await client.close_code() == 1000
        await until(lambda: not psutil.pid_exists(shell))
    assert await names(server) == []


async def test_when_the_server_stops_nothing_goes_on(tmp_path: Path):
    async with make_services(tmp_path, terminal_shell=BASH) as services, aiohttp.ClientSession() as session:
        async with run_test_server(services) as server:
            own = Server(services, server.port, session)
            async with opened(own) as client:
                shell = int(await client.run("echo $$"))
                pids = await pids_of(client, *STAYING)
                stopping = asyncio.create_task(services.terminals.close())
                assert await client.close_code() == 1012
                assert client.others[-1] == ["disconnect", 1]
                await stopping
            assert (await own.fetch("POST", "/api/terminals")).status == 503
        assert [pid for pid in (shell, *pids) if runs(pid)] == []


# -- input that is not meant well ----------------------------------------------------------


@pytest.mark.parametrize("frame", ["ls", "{}", "[]", "7", "null", '["stdin", 5]', '["stdin"]', "[[]]"])
async def test_what_is_no_frame_closes_the_connection_and_nothing_else(server: Server, frame: str):
    async with opened(server) as client, looking_at(server, "1") as bad:
        await bad.socket.send_str(frame)
        assert await bad.close_code() == 1007
        assert ["disconnect", 1] not in bad.others
        assert await client.run("echo still here") == "still here\n"


@pytest.mark.parametrize("frame", ['["nonsense"]', '["set_size", "a", {}]', '["set_size"]', '["stdin", ""]'])
async def test_what_means_nothing_is_ignored(server: Server, frame: str):
    async with opened(server) as client:
        await client.socket.send_str(frame)
        assert await client.run("echo still here") == "still here\n"


async def test_a_frame_that_is_too_large(server: Server):
    async with opened(server) as client:
        with contextlib.suppress(ConnectionError):  # the server hangs up in the middle of it
            await client.socket.send_bytes(b'["stdin", "' + b"x" * (17 * 1024 * 1024))
        assert await client.close_code() in (1009, 1006)
    async with looking_at(server, "1") as again:
        assert await again.run("echo still here")


@pytest.mark.parametrize("path", ["/terminals/websocket/7", "/terminals/websocket/x_y"])
async def test_the_websocket_of_no_terminal(server: Server, path: str):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await server.connect(path)
    assert refusal.value.status == 404


async def test_its_address_without_an_upgrade(server: Server):
    await server.fetch("POST", "/api/terminals")
    assert (await server.fetch("GET", "/terminals/websocket/1")).status == 400


async def test_input_that_nobody_reads_does_not_keep_the_server(server: Server):
    """The terminal takes some, then no more; the others go on, and it can be ended."""
    async with opened(server) as client:
        await client.type("stty raw; echo is''-raw; sleep 1000\n")
        await client.sees("is-raw")
        typing = asyncio.create_task(client.type("x" * 5_000_000))
        assert (await server.fetch("GET", "/api/terminals")).status == 200
        assert (await server.fetch("DELETE", "/api/terminals/1")).status == 204
        assert await client.close_code() == 1000
        typing.cancel()


async def test_a_large_paste_arrives(server: Server):
    async with opened(server) as client:
        text = "".join(f"line {number} of it\n" for number in range(100_000))
        await client.type(f"head -c {len(text)} | md5sum\n")
        await client.type(text)
        await client.sees(f"{hashlib.md5(text.encode()).hexdigest()}  -\r\n")


# -- activity and idleness -------------------------------------------------------------------


async def test_use_is_activity(server: Server):
    async with opened(server) as client:
        before = (await server.fetch("GET", "/api/terminals/1")).json()["last_activity"]
        await client.run("echo x")
        after = (await server.fetch("GET", "/api/terminals/1")).json()["last_activity"]
        assert after > before
        quiet = await server.fetch("GET", "/api/status")
        await client.run("echo y")
        model = (await server.fetch("GET", "/api/terminals/1?no_track_activity=1")).json()
        assert (await server.fetch("GET", "/api/status")).json()["last_activity"] == model["last_activity"]
        assert model["last_activity"] > quiet.json()["last_activity"]
        await client.type("exit\n")
        await client.close_code()
    last = (await server.fetch("GET", "/api/status")).json()["last_activity"]
    assert last > model["last_activity"], "that it has ended does not make it forgotten"


async def test_asking_for_the_list_is_activity(server: Server):
    before = (await server.fetch("GET", "/api/status")).json()["last_activity"]
    await server.fetch("GET", "/api/terminals")
    assert (await server.fetch("GET", "/api/status")).json()["last_activity"] > before


async def test_idle_ones_are_ended(start_server: StartServer, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    server = await start_server(terminal_shell=BASH, terminal_cull_idle_timeout=2, terminal_cull_interval=1)
    async with opened(server) as used, opened(server) as idle:
        while await names(server) != ["1"]:
            used.screen = ""
            await used.run("echo x")
            await asyncio.sleep(0.2)
        assert await idle.close_code() == 1000
        assert idle.others[-1] == ["disconnect", 1]
        assert await used.run("echo y") == "y\n"
    assert caplog.records == []
