"""What a kernel is doing, by its messages: the rules of jupyter_server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from evstore.processes.kernels.activity import BUSY, IDLE, RESTARTING, STARTING, Activity

START = datetime(2026, 11, 22, tzinfo=UTC)
LATER = START + timedelta(hours=1)


@pytest.mark.parametrize(
    ("before", "status", "parent", "after"),
    [
        (IDLE, "busy", "execute_request", BUSY),
        (BUSY, "idle", "execute_request", IDLE),
        (IDLE, "busy", "comm_msg", BUSY),
        (BUSY, "idle", "debug_request", BUSY),  # answered in the middle of a run
        (BUSY, "idle", "kernel_info_request", BUSY),
        (IDLE, "busy", "kernel_info_request", IDLE),
        (STARTING, "busy", "kernel_info_request", IDLE),
        (RESTARTING, "idle", "kernel_info_request", IDLE),
        (STARTING, "starting", None, STARTING),
        (RESTARTING, "starting", None, STARTING),
        (STARTING, "busy", "execute_request", BUSY),
    ],
)
def test_state(before: str, status: str, parent: str | None, after: str) -> None:
    activity = Activity(START, before)
    activity.note_status(status, parent)
    assert activity.state == after


@pytest.mark.parametrize(
    ("state", "msg_type", "parent", "is_activity"),
    [
        (IDLE, "stream", "execute_request", True),
        (IDLE, "status", "execute_request", True),
        (IDLE, "comm_msg", None, True),
        (IDLE, "status", "kernel_info_request", False),
        (IDLE, "status", "comm_info_request", False),
        (IDLE, "status", "debug_request", False),
        (BUSY, "status", "kernel_info_request", True),  # it is at work
    ],
)
def test_last_activity(state: str, msg_type: str, parent: str | None, is_activity: bool) -> None:
    activity = Activity(START, state)
    activity.note(msg_type, parent, LATER)
    assert activity.at == (LATER if is_activity else START)


@pytest.mark.parametrize(
    ("before", "after"), [(STARTING, IDLE), (RESTARTING, IDLE), (BUSY, BUSY), (IDLE, IDLE)]
)
def test_coming_up(before: str, after: str) -> None:
    activity = Activity(START, before)
    activity.came_up()
    assert activity.state == after


def test_which_messages_count_is_a_setting() -> None:
    activity = Activity(START, IDLE, frozenset(("status", "execute_request")))
    activity.note("status", "execute_request", LATER)
    activity.note_status("busy", "execute_request")
    assert (activity.at, activity.state) == (START, IDLE)
    activity.note("status", "kernel_info_request", LATER)
    activity.note_status("busy", "kernel_info_request")
    assert (activity.at, activity.state) == (LATER, BUSY)
