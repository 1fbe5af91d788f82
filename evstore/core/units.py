"""Units that sizes are written in."""

from __future__ import annotations

MIB = 1024 * 1024  # bytes
