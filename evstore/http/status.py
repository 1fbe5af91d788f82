"""/api/status: how busy the server is. Asking for it is no use of the server."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from aiohttp import web

from evstore.http.reply import json_reply
from evstore.http.services import Services, services
from evstore.runtime.background import every

logger = logging.getLogger(__name__)

LOOK = 60.0  # seconds between looks at a server that stops when nobody uses it


async def status(request: web.Request) -> web.Response:
    """GET /api/status: exactly Jupyter's four keys."""
    service = services(request)
    kernels = service.kernels.all()
    return json_reply(
        {
            "started": _iso(service.activity.started),
            "last_activity": _iso(last_activity(service)),
            "kernels": len(kernels),
            "connections": sum(kernel.connections for kernel in kernels),
        }
    )


def last_activity(service: Services) -> float:
    """When somebody last used the server, or a kernel or terminal did something for somebody: seconds since 1970."""
    times = (service.kernels.last_activity, service.terminals.last_activity)
    return max(service.activity.last, *(at.timestamp() for at in times))


def is_running_something(service: Services) -> bool:
    """Whether there is a kernel or a terminal: what a stop of the server would end."""
    return bool(service.kernels.all() or service.terminals.running)


async def stop_when_unused(service: Services) -> None:
    """Stop the server when it has run nothing, and nobody has used it, for as long as the settings say.

    The rules are jupyter_server's (`shutdown_no_activity` in its serverapp.py).
    """
    timeout = service.config.shutdown_no_activity_timeout

    async def look() -> None:
        unused = time.time() - last_activity(service)
        if unused > timeout and not is_running_something(service):
            logger.info("Nothing runs, and there was no activity for %d seconds: the server stops", unused)
            service.stop.set()

    if timeout > 0:
        await every(min(timeout, LOOK), look)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
