"""Which kernels are culled."""

from __future__ import annotations

import pytest

from evstore.processes.kernels.culling import Culling, own_timeout

HOUR = 3600.0


def culling(idle_timeout: float, *, busy: bool = False, connected: bool = False) -> Culling:
    return Culling(idle_timeout=idle_timeout, interval=HOUR, busy=busy, connected=connected)


@pytest.mark.parametrize(
    ("rules", "state", "idle", "connections", "own", "is_culled"),
    [
        (culling(HOUR), "idle", HOUR + 1, 0, None, True),
        (culling(HOUR), "idle", HOUR, 0, None, False),
        (culling(HOUR), "starting", HOUR + 1, 0, None, True),  # it never answered
        (culling(0), "idle", 1e9, 0, None, False),
        (culling(-1), "idle", 1e9, 0, None, False),
        # somebody needs it
        (culling(HOUR), "busy", HOUR + 1, 0, None, False),
        (culling(HOUR), "idle", HOUR + 1, 1, None, False),
        (culling(HOUR, busy=True), "busy", HOUR + 1, 0, None, True),
        (culling(HOUR, busy=True), "busy", HOUR + 1, 1, None, False),
        (culling(HOUR, connected=True), "idle", HOUR + 1, 2, None, True),
        (culling(HOUR, connected=True), "busy", HOUR + 1, 2, None, False),
        (culling(HOUR, connected=True, busy=True), "busy", HOUR + 1, 2, None, True),
        # its kernelspec has a limit of its own
        (culling(HOUR), "idle", 61, 0, 60.0, True),
        (culling(HOUR), "idle", HOUR + 1, 0, 2 * HOUR, False),
        (culling(HOUR), "idle", 1e9, 0, 0.0, False),
        (culling(HOUR), "idle", 1e9, 0, -1.0, False),
        (culling(HOUR), "busy", 61, 0, 60.0, False),
    ],
)
def test_culling(
    rules: Culling, state: str, idle: float, connections: int, own: float | None, is_culled: bool
) -> None:
    assert rules.allows(state, idle, connections, own) == is_culled


@pytest.mark.parametrize(
    ("metadata", "timeout"),
    [
        ({}, None),
        ({"cull_idle_timeout": 60}, 60.0),
        ({"cull_idle_timeout": 0.5}, 0.5),
        ({"cull_idle_timeout": 0}, 0.0),
        ({"cull_idle_timeout": -1}, -1.0),
        ({"cull_idle_timeout": "60"}, None),
        ({"cull_idle_timeout": None}, None),
        ({"cull_idle_timeout": True}, None),
        ({"cull_idle_timeout": [60]}, None),
        ({"cull_idle_timeout": float("nan")}, None),
    ],
)
def test_a_kernelspecs_own_limit(metadata: dict[str, object], timeout: float | None) -> None:
    assert own_timeout(metadata) == timeout
