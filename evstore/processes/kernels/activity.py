"""What a kernel's messages say about what it is doing. Pure.

The rules are jupyter_server's (`record_activity` in services/kernels/kernelmanager.py): requests
that front ends make by themselves, and their answers, are neither work nor activity.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

STARTING, IDLE, BUSY, RESTARTING, DEAD = "starting", "idle", "busy", "restarting", "dead"
UNTRACKED = frozenset(
    (
        "comm_info_request",
        "comm_info_reply",
        "kernel_info_request",
        "kernel_info_reply",
        "shutdown_request",
        "shutdown_reply",
        "interrupt_request",
        "interrupt_reply",
        "debug_request",
        "debug_reply",
        "stream",
        "display_data",
        "update_display_data",
        "execute_input",
        "execute_result",
        "error",
        "status",
        "clear_output",
        "debug_event",
        "input_request",
        "input_reply",
        "iopub_welcome",
    )
)


@dataclass(slots=True)
class Activity:
    """A kernel's execution state, and when it last did something for somebody."""

    at: datetime
    state: str = STARTING
    untracked: frozenset[str] = UNTRACKED

    def note(self, msg_type: str, parent_type: str | None, at: datetime) -> None:
        """A message came from the kernel on iopub."""
        if parent_type not in self.untracked or msg_type not in self.untracked or self.state == BUSY:
            self.at = at

    def note_status(self, state: str, parent_type: str | None) -> None:
        """The kernel published its status, in answer to a request of `parent_type`.

        A debug request may be answered in the middle of a long run: its idle is not the kernel's.
        """
        if parent_type not in self.untracked:
            self.state = state
        elif state != STARTING:
            self.came_up()

    def came_up(self) -> None:
        """The kernel answers questions: if it was not doing anything else, it is idle."""
        if self.state in (STARTING, RESTARTING):
            self.state = IDLE
