"""How much of what a kernel prints is kept for those who are not there."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All in bytes."""

    memory: int = (
        8 * MIB
    )  # for each client that is away or slow, and for the cells of a kernel; the rest goes to disk
    disk: int = 1024 * MIB  # likewise
    cell: int = 64 * MIB  # of one cell's text, in the document
