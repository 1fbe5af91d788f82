"""Kernels that are started and stopped at a gateway."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
from collections.abc import Mapping

from evstore.core.errors import CannotStartAtGateway, GatewayError, NotFound
from evstore.processes.gateway.api import Gateway
from evstore.processes.gateway.connection import Connection
from evstore.processes.kernels.endpoint import Ended
from evstore.processes.kernels.launch_context import LaunchContext

logger = logging.getLogger(__name__)

PREFIX = "KERNEL_"  # of the variables that gateways take


class RemoteProcess:
    """A `Process` at a gateway, which chooses an id of its own for it."""

    def __init__(self, gateway: Gateway, kernel_id: str, name: str) -> None:
        self._gateway = gateway
        self._kernel_id = kernel_id
        self._name = name
        self._remote_id = ""  # "": there is none
        self._connection: Connection | None = None

    @property
    def last_words(self) -> str:
        """A gateway does not pass them on."""
        return ""

    async def launch(self, place: LaunchContext) -> Connection:
        """Have it started, unless the gateway has started it again by itself. Raises CannotStart."""
        try:
            if not await self._is_there():
                self._remote_id = await self._start(place)
                logger.info("Kernel %s is %s at its gateway", self._kernel_id, self._remote_id)
        except (GatewayError, NotFound) as error:
            raise CannotStartAtGateway(
                f"The '{self._name}' kernel could not be started. {error.message}",
                short_message=f"Error starting kernel {self._name}",
            ) from None
        self._connection = Connection(self._gateway, self._remote_id, self._kernel_id)
        return self._connection

    async def poll(self) -> Ended | None:
        """None while nothing else is known."""
        return None if self._connection is None else self._connection.ended

    async def interrupt(self) -> None:
        """Raises NotFound, and GatewayError."""
        await self._gateway.interrupt(self._remote_id)

    async def stop(self, *, now: bool = False, restart: bool = False) -> None:
        """Have it shut down, or started again; `now` with `restart`: nothing, for it has ended there.

        Raises GatewayError, and then it runs on.
        """
        if not self._remote_id:
            return
        try:
            if not restart:
                await self._gateway.delete(self._remote_id)
            elif not now:
                await self._gateway.restart(self._remote_id)
        except NotFound:
            self._remote_id = ""

    def forget_ports(self) -> None:
        """They are the gateway's."""

    async def _is_there(self) -> bool:
        if not self._remote_id:
            return False
        try:
            await self._gateway.look_at(self._remote_id)
        except NotFound:
            return False
        except GatewayError as error:  # the connection will find out
            logger.debug("Kernel %s could not be looked at: %s", self._kernel_id, error.message)
        return True

    async def _start(self, place: LaunchContext) -> str:
        """Returns the gateway's id. When nobody waits for it any more, it is shut down once it has started."""
        environment = kernel_environment(place, self._gateway.config.env)
        starting = asyncio.ensure_future(self._gateway.start(self._name, place.path or "", environment))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._gateway.in_background(self._end_after(starting))
            raise

    async def _end_after(self, starting: asyncio.Future[str]) -> None:
        try:
            await self._gateway.delete(await starting)
        except (GatewayError, NotFound) as error:
            logger.warning("Kernel %s may run on at its gateway: %s", self._kernel_id, error.message)


class GatewayLauncher:
    """A `Launcher` of kernels at a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def process(self, kernel_id: str, name: str) -> RemoteProcess:
        return RemoteProcess(self._gateway, kernel_id, name)

    async def close(self) -> None:
        await self._gateway.close()


def kernel_environment(place: LaunchContext, names: tuple[str, ...]) -> Mapping[str, str]:
    """The environment that is asked for: all of ours that is called KERNEL_..., and
    `names`, and what the client has set.

    Enterprise Gateway wants to know the user and, where folders are shared, the folder:
    https://jupyter-enterprise-gateway.readthedocs.io/en/latest/users/kernel-envs.html
    """
    environment = {"KERNEL_USERNAME": getpass.getuser(), "KERNEL_WORKING_DIR": str(place.folder())}
    for name, value in os.environ.items():
        if name.startswith(PREFIX) or name in names:
            environment[name] = value
    return {**environment, **place.variables}
