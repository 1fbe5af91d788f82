"""What the handlers work with: the services, put together once by the composition root."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from evstore.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a handler may call. Handlers get it as `services(request)`."""

    config: Config


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    return request.app[SERVICES]
