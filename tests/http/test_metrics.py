"""/metrics: numbers for Prometheus, and by jupyter_server's names."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers import Server, StartServer
from tests.kernel_client import connected, eventually, start_kernel

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(server: Server) -> Samples:
    """What Prometheus reads."""
    reply = await server.fetch("GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def requests(found: Samples, method: str, handler: str, status: int) -> float:
    name = "http_request_duration_seconds_count"
    return value(found, name, method=method, handler=handler, status_code=str(status))


async def test_requests_are_counted_by_route(server: Server):
    before = await samples(server)
    for path in (
        "/api/contents",
        "/api/contents/a/b/c",
        "/api/contents/%2e%2e/x",
        "/api/me",
        "/nowhere",
        "/nowhere/",
    ):
        await server.fetch("GET", path)
    await server.fetch("GET", "/api/me", stranger=True)
    await server.fetch("HEAD", "/api/me")
    await server.fetch("PATCH", "/api/me", data="{")
    await server.fetch("LOCK", "/api/me")
    await server.fetch("POST", "/lab/api/news")
    found = await samples(server)
    assert requests(before, "GET", "/api/me", 200) == 0
    assert requests(found, "GET", "/api/contents/{path}", 200) == 1
    assert requests(found, "GET", "/api/contents/{path}", 404) == 2
    assert requests(found, "GET", "/api/me", 200) == 1
    assert requests(found, "GET", "/api/me", 403) == 1
    assert requests(found, "HEAD", "/api/me", 200) == 1
    assert requests(found, "PATCH", "/api/me", 400) == 1
    assert requests(found, "GET", "none", 404) == 1
    assert requests(found, "GET", "none", 302) == 1
    assert requests(found, "other", "none", 405) == 1
    assert requests(found, "POST", "none", 405) == 1
    assert requests(found, "GET", "/metrics", 200) == 1


async def test_what_clients_make_up_makes_no_new_series(server: Server):
    """Neither paths nor methods: a scan of the server must not fill its memory."""

    def series(found: Samples) -> set[frozenset[tuple[str, str]]]:
        return {labels for name, labels in found if name == "http_request_duration_seconds_count"}

    for method, path in (("GET", "/first"), ("MOVE", "/first"), ("MOVE", "/api/contents/first")):
        await server.fetch(method, path)
    await samples(server)
    before = series(await samples(server))
    for number in range(20):
        await server.fetch("GET", f"/nowhere{number}")
    for method in ("LOCK", "UNLOCK", "MKCOL", "COPY", "SEARCH", "TRACE"):
        await server.fetch(method, "/api/contents/x")
        await server.fetch(method, "/x")
    assert series(await samples(server)) - before == set()


async def test_the_log_and_what_waits_for_it(server: Server):
    before = await samples(server)
    for name in ("a", "b"):
        await server.fetch("PUT", f"/api/contents/{name}", json={"type": "directory"})
    found = await samples(server)
    assert value(found, "evstore_events_total", event="EntryCreated") == 2
    assert value(found, "evstore_log_offset") == server.services.store.offset == 2
    assert value(found, "evstore_log_bytes") > value(before, "evstore_log_bytes") > 0
    assert value(found, "evstore_commands_total") == value(before, "evstore_commands_total") + 2
    assert 1 <= value(found, "evstore_commits_total") - value(before, "evstore_commits_total") <= 2
    assert value(found, "evstore_waiting_commands") == 0
    assert value(found, "evstore_is_writable") == 1


async def test_kernels_terminals_and_websockets(server: Server):
    kernel = (await server.fetch("POST", "/api/kernels")).json()
    terminal = (await server.fetch("POST", "/api/terminals")).json()
    sockets = [
        await server.connect(f"/api/kernels/{kernel['id']}/channels"),
        await server.connect(f"/terminals/websocket/{terminal['name']}"),
        await server.connect("/api/events/subscribe"),
    ]
    found = await samples(server)
    assert value(found, "kernel_currently_running_total", type="python3") == 1
    assert value(found, "terminal_currently_running_total") == 1
    for kind in ("kernel", "terminal", "events"):
        assert value(found, "evstore_websocket_clients", kind=kind) == 1, kind
    handlers = {dict(labels).get("handler") for _, labels in found}
    assert not any("websocket" in str(handler) or "channels" in str(handler) for handler in handlers)
    for socket in sockets:
        await socket.close()


async def test_output_that_is_kept_shows(server: Server):
    """For a client that is away."""
    kernel = await start_kernel(server)
    async with connected(server, kernel, "away") as client:
        await client.run("import time")
        await client.execute("time.sleep(0.5); print('x' * 5000)")

    async def is_kept() -> bool:
        found = await samples(server)
        return value(found, "evstore_kernel_output_bytes", place="memory") > 5000

    await eventually(is_kept)


async def test_jupyters_names(server: Server):
    await server.fetch("GET", "/api/me")
    found = await samples(server)
    activity = server.services.activity
    assert value(found, "jupyter_server_started_timestamp_seconds") == pytest.approx(activity.started)
    assert value(found, "jupyter_server_last_activity_timestamp_seconds") == pytest.approx(activity.last)
    assert value(found, "jupyter_server_active_duration_seconds") == pytest.approx(
        activity.last - activity.started
    )
    (version,) = [labels for name, labels in found if name == "jupyter_server_info"]
    assert dict(version) == {"version": (await server.fetch("GET", "/api")).json()["version"]}
    names = {name for name, _ in found}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= names


async def test_a_look_is_no_activity(server: Server):
    before = server.services.activity.last
    await samples(server)
    assert server.services.activity.last == before


async def test_who_may_look(start_server: StartServer):
    server = await start_server()
    assert (await server.fetch("GET", "/metrics", stranger=True)).status == 403
    bearer = {"Authorization": f"Bearer {server.services.config.token}"}
    assert (await server.fetch("GET", "/metrics", stranger=True, headers=bearer)).status == 200
    opened = await start_server(metrics_without_auth=True)
    assert (await opened.fetch("GET", "/metrics", stranger=True)).status == 200
    assert (await opened.fetch("GET", "/api/me", stranger=True)).status == 403


async def test_two_servers_do_not_add_up(start_server: StartServer):
    first, second = await start_server(), await start_server()
    await first.fetch("GET", "/api/me")
    assert requests(await samples(first), "GET", "/api/me", 200) == 1
    assert requests(await samples(second), "GET", "/api/me", 200) == 0
