"""The kernels that a gateway can start."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast
from urllib.parse import unquote

from evstore.core.errors import NotFound
from evstore.processes.gateway.api import Gateway, nonsense
from evstore.processes.kernels.specs import KernelSpec

FOLDER = "/kernelspecs/"  # in the addresses of resources


class GatewaySpecs:
    """A gateway's `Specs`. Every call asks it: kernels may be installed there any time."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._default = ""

    async def all(self) -> dict[str, KernelSpec]:
        """Raises GatewayError."""
        answer = await self._gateway.kernelspecs()
        self._default = str(answer.get("default") or "")
        specs = answer.get("kernelspecs")
        if not isinstance(specs, dict):
            raise nonsense(self._gateway, "a list without kernelspecs")
        return {name: self._read(name, model) for name, model in cast("dict[str, Any]", specs).items()}

    async def get(self, name: str) -> KernelSpec:
        """Raises NotFound, and GatewayError."""
        try:
            return self._read(name, await self._gateway.kernelspec(name))
        except NotFound:
            raise NotFound(f"Kernel spec {name} not found") from None

    def default_among(self, names: Collection[str]) -> str:
        """The gateway's default, if it has that; otherwise the first."""
        return self._default if self._default in names or not names else min(names)

    async def resource(self, name: str, file: str) -> bytes:
        """Raises NotFound, and GatewayError."""
        return await self._gateway.resource(name, file)

    def _read(self, name: str, model: object) -> KernelSpec:
        """A kernelspec from Jupyter's model of it. Resources are addresses there, below some base URL."""
        fields = _object(model)
        spec = _object(fields.get("spec"))
        if not spec:
            raise nonsense(self._gateway, "a kernelspec without its spec")
        resources = {
            key: unquote(address.rpartition(FOLDER)[2].partition("/")[2])
            for key, address in _object(fields.get("resources")).items()
            if isinstance(address, str) and FOLDER in address
        }
        required: dict[str, Any] = {"argv": [], "display_name": name, "language": ""}
        return KernelSpec(str(fields.get("name") or name), required | spec, resources)


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
