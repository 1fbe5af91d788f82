"""The site: the application on a port."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from evstore.config import Config
from evstore.core.errors import Unavailable
from evstore.http.app import make_app
from evstore.http.scrub import scrub
from evstore.http.services import Services

MAX_HEADER = 64 * 1024  # bytes of a request line or header: browsers send the cookies of all ports
LINGER = 2.0  # seconds in which the rest of a refused upload is read, so that the client sees the answer
SHUTDOWN = 10.0  # seconds that running requests get to finish
access_logger = logging.getLogger("evstore.access")
connection_logger = logging.getLogger("evstore.connection")


class AccessLogger(AbstractAccessLogger):
    """One line a request, at level debug, without secrets in the address or the Referer (S14)."""

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.DEBUG)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        line = f"{response.status} {request.method} {request.path_qs} {request.remote} {time * 1000:.1f} ms"
        if response.status >= 400 and (referer := request.headers.get("Referer")):
            line += f" referer={referer}"
        self.logger.debug("%s", scrub(line))


class ConnectionLogger(logging.LoggerAdapter[logging.Logger]):
    """What aiohttp says about a connection: bad HTTP from a client is no fault of ours and no traceback."""

    def exception(self, msg: object, *args: object, exc_info: Any = True, **kwargs: Any) -> None:
        if isinstance(exc_info, (HttpProcessingError, web.RequestPayloadError, ConnectionError)):
            self.debug("A request was not HTTP: %s", type(exc_info).__name__)
        else:
            super().exception(msg, *args, exc_info=exc_info, **kwargs)


@asynccontextmanager
async def serving(services: Services, app: web.Application | None = None) -> AsyncGenerator[int]:
    """Serve `app` (by default all of evstore) while the block runs. Yields the port, chosen if it was 0.

    Raises Unavailable, with what to do about it, when the address can't be had.
    """
    runner = web.AppRunner(
        app or make_app(services),
        access_log=access_logger,
        access_log_class=AccessLogger,
        logger=ConnectionLogger(connection_logger),
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
        lingering_time=LINGER,
        shutdown_timeout=SHUTDOWN,
    )
    await runner.setup()
    try:
        await _listen(runner, services.config)
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, config: Config) -> None:
    """Listen on the configured port or, when it is taken and may be another, on the first free one after it."""
    last = min(config.port + config.port_retries, 65535)
    for port in range(config.port, last + 1):
        try:
            await web.TCPSite(runner, config.host, port).start()
            return
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            if error.errno == errno.EACCES:
                why = f"Port {port} needs more rights; choose one above 1023 with --port."
            else:
                why = f"Can't listen on {config.host}, port {port}: {error.strerror or error}."
            raise Unavailable(why) from None
    ports = f"The ports {config.port} to {last} are" if last > config.port else f"Port {config.port} is"
    raise Unavailable(f"{ports} taken by another program; choose one with --port.")
