"""Variables that clients set for their kernels. Pure.

Kernel Gateway and Enterprise Gateway take `env` in POST /api/kernels: of it the names that begin with
KERNEL_, and those that the operator allows (their `client_envs`). The rest is left out without a word,
for their clients send more than that.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from evstore.core.errors import Invalid

PREFIX = "KERNEL_"
MAX_SIZE = 64 * 1024  # bytes of names and values; systems allow a few megabytes to a process in all


def requested(env: object, allowed: Collection[str] = ()) -> dict[str, str]:
    """What of a request's `env` reaches the kernel. Raises Invalid when it is no environment."""
    if env is None:
        return {}
    if not isinstance(env, dict):
        raise Invalid("The field 'env' must be an object.")
    taken = {
        name: _value(name, value)
        for name, value in cast("dict[str, object]", env).items()
        if name.startswith(PREFIX) or name in allowed
    }
    if sum(len(name.encode()) + len(value.encode()) for name, value in taken.items()) > MAX_SIZE:
        raise Invalid(f"The field 'env' is larger than {MAX_SIZE} bytes.")
    return taken


def _value(name: str, value: object) -> str:
    if "=" in name or "\0" in name:
        raise Invalid(f"{name[:100]!r} can't be the name of a variable.")
    if not isinstance(value, str) or "\0" in value:
        raise Invalid(f"The variable {name[:100]} must be a string without null characters.")
    return value
