"""What the handlers work with: the services, put together once by the composition root."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from aiohttp import web

from evstore.auth import Auth
from evstore.config import Config


@dataclass(slots=True)
class Activity:
    """When the server started and when somebody last used it: seconds since 1970."""

    started: float = field(default_factory=time.time)
    last: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a handler may call. Handlers get it as `services(request)`."""

    config: Config
    auth: Auth
    activity: Activity = field(default_factory=Activity)
    stop: asyncio.Event = field(default_factory=asyncio.Event)  # set: the server shuts down


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    return request.app[SERVICES]
