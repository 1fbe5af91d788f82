"""Culling: kernels that nobody has used for long are shut down. The rules are jupyter_server's.

They stand in `cull_kernel_if_idle` of its services/kernels/kernelmanager.py. A kernelspec may have a
limit of its own, `metadata.cull_idle_timeout`. There a limit of 0 culls at once; here it means what it
means as a setting: never.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from evstore.config import Config
from evstore.core.errors import EvstoreError
from evstore.processes.kernels.activity import BUSY
from evstore.processes.kernels.kernel import Kernel
from evstore.processes.kernels.manager import Kernels
from evstore.runtime.background import every

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Culling:
    """Which kernels are culled."""

    idle_timeout: float  # seconds without activity; 0 or less: culling is off
    interval: float  # seconds between looks at all kernels
    busy: bool  # also those that are executing something
    connected: bool  # also those that somebody is connected to

    @classmethod
    def of(cls, config: Config) -> Culling:
        return cls(
            idle_timeout=config.cull_idle_timeout,
            interval=config.cull_interval,
            busy=config.cull_busy,
            connected=config.cull_connected,
        )

    def allows(self, state: str, idle: float, connections: int, own_timeout: float | None) -> bool:
        """Whether a kernel in this state, `idle` seconds after its last activity, is culled.

        `own_timeout` is its kernelspec's, in the place of the general one.
        """
        timeout = self.idle_timeout if own_timeout is None else own_timeout
        return 0 < timeout < idle and (self.busy or state != BUSY) and (self.connected or not connections)


def own_timeout(metadata: Mapping[str, object]) -> float | None:
    """The limit in a kernelspec's metadata, in seconds; None if there is none, or it is no number."""
    timeout = metadata.get("cull_idle_timeout")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or math.isnan(timeout):
        return None
    return float(timeout)


class Culler:
    """Looks at the running kernels from time to time."""

    def __init__(self, kernels: Kernels, rules: Culling) -> None:
        self._kernels = kernels
        self._rules = rules

    async def run(self) -> None:
        """Cull for as long as the server runs; return at once when culling is off."""
        if self._rules.idle_timeout > 0:
            await every(self._rules.interval, self.cull)

    async def cull(self) -> None:
        """Look at all kernels, once."""
        now = datetime.now(UTC)
        due = [kernel for kernel in self._kernels.all() if self._is_due(kernel, now)]
        await asyncio.gather(*(self._end(kernel, now) for kernel in due))

    def _is_due(self, kernel: Kernel, now: datetime) -> bool:
        return not kernel.is_launching and self._rules.allows(
            kernel.state, _idle(kernel, now), kernel.connections, own_timeout(kernel.metadata)
        )

    async def _end(self, kernel: Kernel, now: datetime) -> None:
        logger.info(
            "Kernel %s (%s) is culled: %s, %d connections, no activity for %d seconds",
            kernel.id,
            kernel.name,
            kernel.state,
            kernel.connections,
            _idle(kernel, now),
        )
        try:
            await kernel.stop(reason="The kernel was shut down because nobody has used it for long.")
        except EvstoreError as error:  # a gateway is away; the next look tries again
            logger.warning("Kernel %s could not be culled: %s", kernel.id, error.message)


def _idle(kernel: Kernel, now: datetime) -> float:
    return (now - kernel.last_activity).total_seconds()
