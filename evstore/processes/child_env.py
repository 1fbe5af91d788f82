"""The environment of the programs that evstore starts: its own, but for its secrets."""

from __future__ import annotations

import os

SECRETS = frozenset(
    (
        "EVSTORE_TOKEN",
        "EVSTORE_PASSWORD",
        "EVSTORE_PASSWORD_HASH",
        "EVSTORE_GATEWAY_TOKEN",
        "JUPYTER_GATEWAY_AUTH_TOKEN",
    )
)


def for_programs(**more: str) -> dict[str, str]:
    """The variables for a kernel, a shell or an engine, with `more`, which win."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS} | more
