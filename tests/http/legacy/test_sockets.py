"""A kernel's three websockets as IPython 0.12 to 2 had them, with real kernels (jupyter-surface.md B49)."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from evstore.http.legacy.split_channels import SplitChannels
from evstore.processes.kernels.wire import to_v1
from tests.helpers import TOKEN, Server, StartServer
from tests.kernel_client import connected, eventually, kernel_model, start_kernel
from tests.old_client import OldClient, OldKernel, tour


@pytest.fixture
async def client(server: Server) -> AsyncIterator[OldClient]:
    async with OldClient(server.url, TOKEN) as client:
        yield client


@pytest.fixture
async def kernel(client: OldClient) -> OldKernel:
    return await client.open(await client.start_kernel())


async def test_the_tour(server: Server):
    """All that users of IPython 2 did, by its own requests and messages."""
    said: list[str] = []
    await tour(server.url, TOKEN, said.append)
    assert said[0] == "created Untitled.ipynb; there are ['Untitled.ipynb']"
    assert "renamed to old tour 2.ipynb" in said[1]
    assert said[2] == "restored: '6 * 7'; copied to 'old tour 2-Copy1.ipynb'"
    assert said[3:] == [
        "printed '42\\n' as execution 1",
        "asked for input, printed 'hello old friend\\n': ok",
    ]
    assert (await server.fetch("GET", "/api/notebooks")).json() == []
    assert (await server.fetch("GET", "/kernels")).json() == []


@pytest.mark.parametrize("prefix", ["kernels", "api/kernels"])
async def test_messages_have_the_form_of_their_time(server: Server, prefix: str):
    """B49: no channel, no buffers, no version; types, streams and replies of protocol 4."""
    async with OldClient(server.url, TOKEN, kernels=prefix) as client:
        kernel = await client.open(await client.start_kernel())
        asked = await kernel.send(
            "shell",
            "execute_request",
            {
                "code": "x = 1\nprint('a')\nx",
                "silent": False,
                "user_variables": ["x"],
                "user_expressions": {},
            },
        )
        heard = await kernel.until(
            "iopub",
            lambda one: (
                one["content"].get("execution_state") == "idle"
                and one["parent_header"].get("msg_id") == asked
            ),
        )
        mine = [one for one in heard if one["parent_header"].get("msg_id") == asked]
        assert [one["msg_type"] for one in mine] == ["status", "pyin", "stream", "pyout", "status"]
        for one in heard:
            assert one.keys() == {"header", "parent_header", "metadata", "content", "msg_id", "msg_type"}
            assert "version" not in one["header"]
            assert (one["msg_id"], one["msg_type"]) == (one["header"]["msg_id"], one["header"]["msg_type"])
        assert mine[2]["content"] == {"name": "stdout", "data": "a\n"}
        assert mine[3]["content"]["data"] == {"text/plain": "1"}
        reply = await kernel.receive("shell")
        assert reply["msg_type"] == "execute_reply" and reply["content"]["user_variables"] == {}
        assert reply["content"]["user_expressions"]["x"]["data"] == {"text/plain": "1"}
        info = (await kernel.ask("kernel_info_request", {}))["content"]
        assert info["language"] == "python" and info["protocol_version"][0] == 5
        await kernel.close()


async def test_completion_and_help_in_the_old_words(kernel: OldKernel):
    await kernel.execute("def old_function():\n    'What it does'\n")
    found = await kernel.ask(
        "complete_request", {"text": "", "line": "x = old_fun", "block": None, "cursor_pos": 11}
    )
    assert found["content"]["matched_text"] == "old_fun" and found["content"]["matches"] == ["old_function"]
    none = await kernel.ask("complete_request", {"text": "", "line": "qqqq", "cursor_pos": 4})
    assert none["content"] == {"matches": [], "matched_text": "", "status": "ok"}
    told = await kernel.ask("object_info_request", {"oname": "old_function"})
    assert told["msg_type"] == "object_info_reply"
    assert told["content"]["found"] and "What it does" in told["content"]["docstring"]
    nothing = await kernel.ask("object_info_request", {"oname": "qqqq", "detail_level": 0})
    assert nothing["content"]["found"] is False
    _, reply = await kernel.execute("old_function?")
    assert "What it does" in reply["payload"][0]["text"]


async def test_an_error_is_a_pyerr(kernel: OldKernel):
    asked = await kernel.send("shell", "execute_request", {"code": "1/0", "silent": False})
    heard = await kernel.until("iopub", lambda one: one["msg_type"] == "pyerr")
    assert heard[-1]["content"]["ename"] == "ZeroDivisionError"
    reply = (await kernel.until("shell", lambda one: one["parent_header"]["msg_id"] == asked))[-1]
    assert reply["content"]["status"] == "error"


async def test_each_client_gets_its_own_answers_and_questions_and_all_output(client: OldClient):
    kernel_id = await client.start_kernel()
    ann, bob = [await client.open(kernel_id, session=name) for name in ("ann", "bob")]
    printed, _ = await ann.execute("print('to ' + input())", answer="ann")
    assert printed == "to ann\n"
    heard = await bob.until("iopub", lambda one: one["msg_type"] == "stream")
    assert heard[-1]["content"]["data"] == "to ann\n"
    for channel in ("shell", "stdin"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bob.receive(channel), 0.3)
    printed, _ = await bob.execute("print('to ' + input())", answer="bob")
    assert printed == "to bob\n"


async def test_beside_a_client_of_today(server: Server, client: OldClient):
    """Each reads what the other runs in its own words."""
    kernel_id = await start_kernel(server)
    old = await client.open(kernel_id)
    async with connected(server, kernel_id) as new:
        assert await new.run("print('new')") == "new\n"
        assert (await old.execute("print('old')"))[0] == "old\n"
        heard = await new.until(lambda one: one.text == "old\n")
        assert "execute_input" in {one.type for one in heard}
        assert (await kernel_model(server, kernel_id))["connections"] == 2


async def test_three_websockets_are_one_connection(server: Server, client: OldClient, kernel: OldKernel):
    kernel_id = (await server.fetch("GET", "/kernels")).json()[0]
    await kernel.execute("1")
    assert (await kernel_model(server, kernel_id))["connections"] == 1
    await kernel.sockets["stdin"].close()
    await kernel.sockets["shell"].close()
    assert (await kernel_model(server, kernel_id))["connections"] == 1
    await kernel.sockets["iopub"].close()

    async def is_gone() -> bool:
        return (await kernel_model(server, kernel_id))["connections"] == 0

    await eventually(is_gone)


async def open_one(
    server: Server, kernel_id: str, channel: str, query: str = ""
) -> aiohttp.ClientWebSocketResponse:
    return await server.connect(f"/kernels/{kernel_id}/{channel}{query}", max_msg_size=0)


async def text_of(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    return json.loads((await socket.receive(timeout=30)).data)


@pytest.mark.parametrize("cookie", ["", "_xsrf=2|x:y; username-localhost=z", "http://x", "\0"])
async def test_a_client_of_0_12_whose_first_frame_is_a_bare_cookie(server: Server, cookie: str):
    kernel_id = await start_kernel(server)
    iopub, shell = [await open_one(server, kernel_id, channel) for channel in ("iopub", "shell")]
    for socket in (iopub, shell):
        await socket.send_str(cookie)
    header = {"msg_id": "1", "session": "S", "username": "u", "msg_type": "execute_request"}
    content = {"code": "print(5)", "silent": False, "user_variables": [], "user_expressions": {}}
    await shell.send_json({"header": header, "content": content, "parent_header": {}})
    while (heard := await text_of(iopub))["msg_type"] != "stream":
        assert heard["msg_type"] in ("status", "pyin")
    assert heard["content"]["data"] == "5\n"
    assert (await text_of(shell))["content"]["status"] == "ok"


async def test_a_client_with_a_token_needs_no_first_frame(server: Server):
    """It has shown who it is; a listener hears, and a sender is answered."""
    kernel_id = await start_kernel(server)
    iopub = await open_one(server, kernel_id, "iopub")
    shell = await open_one(server, kernel_id, "shell")
    header = {"msg_id": "1", "msg_type": "execute_request"}
    await shell.send_json({"header": header, "content": {"code": "print(5)", "silent": False}})
    assert (await text_of(shell))["content"]["status"] == "ok"
    while (heard := await text_of(iopub))["msg_type"] != "stream":
        pass
    assert heard["content"]["data"] == "5\n"


async def test_a_session_in_the_address_joins_as_well(server: Server):
    kernel_id = await start_kernel(server)
    session = uuid.uuid4().hex
    stdin = await open_one(server, kernel_id, "stdin", f"?session_id={session}")
    shell = await open_one(server, kernel_id, "shell", f"?session_id={session}")
    header = {"msg_id": "1", "msg_type": "execute_request"}
    content = {"code": "input('who? ')", "silent": False, "allow_stdin": True}
    await shell.send_json({"header": header, "content": content})
    asked = await text_of(stdin)
    assert (asked["msg_type"], asked["content"]) == ("input_request", {"prompt": "who? "})
    await stdin.send_json({"header": {"msg_id": "2", "msg_type": "input_reply"}, "content": {"value": "me"}})
    assert (await text_of(shell))["content"]["status"] == "ok"


async def test_a_client_that_speaks_protocol_5_is_answered_in_it(server: Server):
    kernel_id = await start_kernel(server)
    iopub, shell = [await open_one(server, kernel_id, one, "?session_id=s") for one in ("iopub", "shell")]
    header = {"msg_id": "1", "msg_type": "execute_request", "version": "5.0"}
    await shell.send_json({"header": header, "content": {"code": "print(5)", "silent": False}})
    while (heard := await text_of(iopub))["msg_type"] != "stream":
        pass
    assert heard["content"] == {"name": "stdout", "text": "5\n"} and heard["header"]["version"][0] == "5"


async def test_a_kernel_that_ends_is_said_to_be_dead(client: OldClient):
    kernel_id = await client.start_kernel()
    kernel = await client.open(kernel_id)
    await kernel.execute("1")
    await client.kill_kernel(kernel_id)
    heard = await kernel.until("iopub", lambda one: one["content"].get("execution_state") == "dead")
    assert heard[-1]["header"] == {"msg_type": "status"} and heard[-1]["parent_header"] == {}
    for channel in ("iopub", "shell", "stdin"):
        frame = await kernel.sockets[channel].receive(timeout=10)
        assert frame.type is aiohttp.WSMsgType.CLOSE, channel


async def test_output_goes_on_after_the_iopub_websocket_comes_again(server: Server, client: OldClient):
    kernel_id = await client.start_kernel()
    kernel = await client.open(kernel_id)
    await kernel.execute("1")
    await kernel.sockets["iopub"].close()
    asked = await kernel.send("shell", "execute_request", {"code": "print('meanwhile')", "silent": False})
    await kernel.until("shell", lambda one: one["parent_header"]["msg_id"] == asked)
    await asyncio.sleep(0.2)
    kernel.sockets["iopub"] = await open_one(server, kernel_id, "iopub")
    await kernel.sockets["iopub"].send_str(f"{kernel.session}:")
    heard = await kernel.until("iopub", lambda one: one["msg_type"] == "stream")
    assert heard[-1]["content"]["data"] == "meanwhile\n"


async def test_a_websocket_that_is_closed_for_good_collects_little(start_server: StartServer):
    """The client has opened all three, closes one, and goes on with the others for days."""
    server = await start_server(kept_output_memory=100_000, kept_output_disk=200_000)
    async with OldClient(server.url, TOKEN) as client:
        kernel_id = await client.start_kernel()
        kernel = await client.open(kernel_id)
        await kernel.execute("1")
        trio = server.services.kernels.get(kernel_id)._pump._clients[kernel.session].link
        assert isinstance(trio, SplitChannels)
        await kernel.sockets["iopub"].close()
        for _ in range(2):
            await kernel.ask("execute_request", {"code": "print('x' * 2_000_000)", "silent": False})
        lane = trio._lanes["iopub"]
        assert lane.outbox.in_memory + lane.outbox.on_disk < 3_000_000

        asked = await kernel.send("shell", "kernel_info_request", {})
        await kernel.until("shell", lambda one: one["parent_header"]["msg_id"] == asked)
        await kernel.sockets["shell"].close()
        await eventually(lambda: is_closed(trio, "shell"))
        frame = to_v1("shell", [b'{"msg_type":"execute_reply"}', b"{}", b"{}", b'"%b"' % (b"x" * 100_000)])
        for _ in range(100):  # replies to what it asked last
            trio.write([frame])
        lane = trio._lanes["shell"]
        assert 0 < lane.outbox.in_memory + lane.outbox.on_disk < 2_000_000


async def is_closed(trio: SplitChannels, channel: str) -> bool:
    return trio._lanes[channel].link is None


async def test_what_is_printed_while_nobody_listens_is_for_who_comes_next(client: OldClient):
    kernel_id = await client.start_kernel()
    first = await client.open(kernel_id, session="first")
    await first.execute("import threading, time")
    code = "def late():\n    time.sleep(0.7)\n    print('late')\nthreading.Thread(target=late).start()"
    await first.execute(code)
    await first.close()
    await asyncio.sleep(1.2)
    second = await client.open(kernel_id, session="second")
    heard = await second.until("iopub", lambda one: one["msg_type"] == "stream")
    assert heard[-1]["content"]["data"].startswith("late")


async def test_a_second_websocket_of_a_session_takes_the_place_of_the_first(
    server: Server, client: OldClient
):
    kernel_id = await client.start_kernel()
    kernel = await client.open(kernel_id)
    await kernel.execute("1")
    first = kernel.sockets["iopub"]
    again = await client.open(kernel_id)
    frame = await first.receive(timeout=10)
    assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 4001)
    assert (await again.execute("print(2)"))[0] == "2\n"


async def test_a_lot_of_output_arrives_whole_and_in_order(kernel: OldKernel):
    printed, _ = await kernel.execute("for i in range(20000): print(i)")
    assert printed == "".join(f"{i}\n" for i in range(20000))


async def test_a_slow_reader_gets_everything_and_holds_up_nobody(server: Server, client: OldClient):
    """It reads nothing of 30 MB until the kernel has long been done."""
    kernel_id = await client.start_kernel()
    slow, other = [await client.open(kernel_id, session=name) for name in ("slow", "other")]
    await slow.sockets["iopub"].close()
    slow.sockets["iopub"] = await server.connect(
        f"/kernels/{kernel_id}/iopub?session_id=slow", max_msg_size=0, receive_timeout=None
    )
    printed, _ = await other.execute(
        "import sys\nfor i in range(300): sys.stdout.write('x' * 100_000); sys.stdout.flush()"
    )
    assert len(printed) == 30_000_000
    seen = 0
    while seen < 30_000_000:
        heard = await slow.receive("iopub")
        seen += len(heard["content"]["data"]) if heard["msg_type"] == "stream" else 0
    assert seen == 30_000_000


async def test_a_restart_leaves_the_websockets_open(server: Server, client: OldClient):
    kernel_id = await client.start_kernel()
    kernel = await client.open(kernel_id)
    await kernel.execute("x = 1")
    reply = await server.fetch("POST", f"/kernels/{kernel_id}/restart")
    assert reply.status == 200 and reply.json()["kernel_id"] == kernel_id
    printed, _ = await kernel.execute("print('x' in globals())")
    assert printed == "False\n"


@pytest.mark.parametrize("path", ["kernels/none/iopub", "api/kernels/none/shell"])
async def test_an_unknown_kernel_is_refused_before_the_upgrade(server: Server, path: str):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await server.connect(path)
    assert refusal.value.status == 404


async def test_addresses_that_are_for_websockets_say_so(server: Server):
    kernel_id = await start_kernel(server)
    reply = await server.fetch("GET", f"/kernels/{kernel_id}/iopub")
    assert (reply.status, reply.json()["message"]) == (400, "This address is for websockets.")
    # only an action by POST
    assert (await server.fetch("GET", f"/kernels/{kernel_id}/control")).status == 405


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", 1007),
        ("[]", 1007),
        ('{"header": []}', 1007),
        ('{"header": {}, "content": 5}', 1007),
        ("{" * 100_000, 1007),
        (b"\x00\x01", 1003),
        ('{"header": {"msg_type": "execute_request"}}', None),
        ('{"header": {"msg_id": "1"}}', None),
        ('{"header": {"msg_id": "1", "msg_type": "complete_request"}, "content": {"line": 5}}', None),
        ('{"header": {"msg_id": "1", "msg_type": "object_info_request"}}', None),
        ('{"header": {"msg_id": "1", "msg_type": ["x"]}}', None),
        ('{"header": {"msg_id": "1", "msg_type": "execute_request", "version": 9e99, "session": []}}', None),
        ('{"header": {"msg_id": "1", "msg_type": "__init__"}}', None),
        (
            '{"header": {"msg_id": "1", "msg_type": "execute_request"}, "content": {"user_variables": 5}}',
            None,
        ),
    ],
)
async def test_bad_frames(
    server: Server, client: OldClient, frame: str | bytes, code: int | None, caplog: pytest.LogCaptureFixture
):
    """What is no message closes the websocket; what is one that can't be passed on is ignored."""
    kernel_id = await client.start_kernel()
    kernel = await client.open(kernel_id)
    await kernel.execute("1")
    shell = kernel.sockets["shell"]
    await (shell.send_bytes(frame) if isinstance(frame, bytes) else shell.send_str(frame))
    if code is None:
        assert (await kernel.execute("print(3)"))[0] == "3\n"
    else:
        assert (await shell.receive(timeout=10)).data == code
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_what_is_sent_on_iopub_is_ignored(kernel: OldKernel):
    await kernel.sockets["iopub"].send_str('{"header": {"msg_id": "1", "msg_type": "shutdown_request"}}')
    await kernel.sockets["iopub"].send_str("nonsense")
    assert (await kernel.execute("print(3)"))[0] == "3\n"
