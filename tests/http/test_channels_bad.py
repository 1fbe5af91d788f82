"""Frames that no kernel client sends: one warning, no traceback, and nobody else notices."""

from __future__ import annotations

import logging

import aiohttp
import pytest

from evstore.processes.kernels.wire import to_v1
from tests.helpers import Server
from tests.kernel_client import connected, start_kernel

GOOD = [b'{"msg_id":"1","msg_type":"kernel_info_request"}', b"{}", b"{}", b"{}"]


def v1_with(count: int, *offsets: int, rest: bytes = b"x" * 40) -> bytes:
    return b"".join(n.to_bytes(8, "little") for n in (count, *offsets)) + rest


CLOSED_V1: dict[str, tuple[str | bytes, int]] = {
    "empty": (b"", 1007),
    "a giant count": (v1_with(2**63), 1007),
    "offsets past the end": (v1_with(6, 56, 61, 63, 65, 67, 2**40), 1007),
    "offsets backwards": (v1_with(6, 56, 61, 50, 65, 67, 69), 1007),
    "no message at all": (b"\xff" * 1000, 1007),
    "text": ('{"header": {}}', 1003),
}
CLOSED_DEFAULT: dict[str, tuple[str | bytes, int]] = {
    "not JSON": ("hello", 1007),
    "not an object": ("[1]", 1007),
    "deep": ("[" * 100_000, 1007),
    "a header that is no object": ('{"header": 1}', 1007),
    "a giant count": (b"\xff\xff\xff\xff", 1007),
    "offsets past the end": (b"\0\0\0\1\xff\xff\xff\xff{}", 1007),
}
IGNORED_V1: dict[str, str | bytes] = {
    "a channel for reading": to_v1("iopub", GOOD),
    "an unknown channel": to_v1("heartbeat", GOOD),
    "a header that is not JSON": to_v1("shell", [b"\xff", *GOOD[1:]]),
    "a header without a type": to_v1("shell", [b"{}", *GOOD[1:]]),
}
IGNORED_DEFAULT: dict[str, str | bytes] = {
    "a channel for reading": '{"channel": "iopub", "header": {"msg_id": "1", "msg_type": "x"}}',
    "an unknown channel": '{"channel": "../shell", "header": {"msg_id": "1", "msg_type": "x"}}',
    "no header": "{}",
    "a line break in a name": '{"channel": "a\\nb", "header": {}}',
}


async def send(ws: aiohttp.ClientWebSocketResponse, frame: str | bytes) -> None:
    await (ws.send_str(frame) if isinstance(frame, str) else ws.send_bytes(frame))


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def assert_one_line_each(caplog: pytest.LogCaptureFixture, count: int) -> None:
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == count
    assert all(record.exc_info is None and "\n" not in record.getMessage() for record in said)


@pytest.mark.parametrize(("v1", "cases"), [(True, CLOSED_V1), (False, CLOSED_DEFAULT)], ids=["v1", "default"])
async def test_a_broken_frame_closes_the_websocket(
    server: Server,
    warnings: pytest.LogCaptureFixture,
    v1: bool,
    cases: dict[str, tuple[str | bytes, int]],
) -> None:
    kernel = await start_kernel(server)
    async with connected(server, kernel) as witness:
        for name, (frame, code) in cases.items():
            async with connected(server, kernel, v1=v1) as client:
                await send(client.socket, frame)
                assert await client.closed() == code, name
        assert await witness.run("print('untouched')") == "untouched\n"
    assert_one_line_each(warnings, len(cases))


@pytest.mark.parametrize(
    ("v1", "cases"), [(True, IGNORED_V1), (False, IGNORED_DEFAULT)], ids=["v1", "default"]
)
async def test_a_message_for_no_kernel_is_ignored(
    server: Server, warnings: pytest.LogCaptureFixture, v1: bool, cases: dict[str, str | bytes]
) -> None:
    kernel = await start_kernel(server)
    async with connected(server, kernel, v1=v1) as client:
        for frame in cases.values():
            await send(client.socket, frame)
        assert await client.run("print('still here')") == "still here\n"
    assert_one_line_each(warnings, len(cases))


async def test_a_message_that_is_too_large_closes_the_websocket(
    server: Server, warnings: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evstore.http.kernel_websocket.MAX_MESSAGE", 1000)
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        await client.socket.send_bytes(b"x" * 1001)
        assert await client.closed() == 1009
    assert_one_line_each(warnings, 0)


async def test_a_message_that_the_kernel_can_not_read(
    server: Server, warnings: pytest.LogCaptureFixture
) -> None:
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        await client.request("no_such_request", {})
        await client.request("comm_msg", {"comm_id": "gone", "data": 5})
        await client.request("execute_request", {})
        await client.socket.send_bytes(to_v1("shell", [GOOD[0], b"[", b"]", b"\xff"]))
        assert await client.run("print('still here')") == "still here\n"
    assert_one_line_each(warnings, 0)


async def test_a_client_that_sends_too_much_to_a_kernel_that_starts(
    server: Server, warnings: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evstore.processes.kernels.client.HELD", 10_000)
    kernel = await start_kernel(server)
    async with connected(server, kernel) as client:
        for _ in range(5):
            await client.execute("x" * 5000)
        assert await client.closed() == 1013
    assert_one_line_each(warnings, 1)
