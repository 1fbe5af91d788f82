"""jupyter_server's options as its tests set them (`jp_server_config`), and the settings of evstore that mean the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

KERNELS = {
    "cull_idle_timeout": "cull_idle_timeout",
    "cull_interval": "cull_interval",
    "cull_busy": "cull_busy",
    "cull_connected": "cull_connected",
    "default_kernel_name": "default_kernel",
    "untracked_message_types": "untracked_message_types",
}
SETTINGS: dict[str, dict[str, str]] = {
    "MappingKernelManager": KERNELS,
    "AsyncMappingKernelManager": KERNELS,
    "TerminalManager": {
        "cull_inactive_timeout": "terminal_cull_idle_timeout",
        "cull_interval": "terminal_cull_interval",
    },
    "ServerApp": {"shutdown_no_activity_timeout": "shutdown_no_activity_timeout"},
}
# What chooses between jupyter_server's own classes, comes to evstore by another fixture, or is always so (the
# tests that switch the sandbox off are not run)
IGNORED = frozenset(
    ("kernel_manager_class", "use_pending_kernels", "shutdown_wait_time", "base_url", "nbconvert_csp_sandbox")
)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Config` for jupyter_server's options. Raises LookupError for one that evstore has not."""
    found: dict[str, Any] = {}
    for owner, option, value in _options("", config):
        if option not in IGNORED:
            try:
                found[SETTINGS[owner][option]] = tuple(value) if isinstance(value, list) else value
            except KeyError:
                raise LookupError(f"evstore has no option {owner}.{option}: list the test") from None
    return found


def _options(owner: str, config: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Class, name and value of each option; classes may stand inside of each other."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _options(name, cast("Mapping[str, Any]", value))
        else:
            yield owner, name, value
