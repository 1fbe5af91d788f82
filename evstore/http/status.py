"""/api/status: how busy the server is. Asking for it is no use of the server."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from evstore.http.reply import json_reply
from evstore.http.services import services


async def status(request: web.Request) -> web.Response:
    """GET /api/status: exactly Jupyter's four keys."""
    service = services(request)
    kernels = service.kernels.all()
    last = max([service.activity.last, *(kernel.last_activity.timestamp() for kernel in kernels)])
    return json_reply(
        {
            "started": _iso(service.activity.started),
            "last_activity": _iso(last),
            "kernels": len(kernels),
            "connections": sum(kernel.connections for kernel in kernels),
        }
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
