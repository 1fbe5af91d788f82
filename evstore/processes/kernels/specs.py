"""Kernelspecs: which kernels are installed. Found by jupyter_client, in Jupyter's own folders."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from jupyter_client.kernelspec import KernelSpec as FoundSpec
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from traitlets import TraitError

from evstore.core.errors import NotFound

logger = logging.getLogger(__name__)
quiet = logging.getLogger(f"{__name__}.jupyter_client")  # it logs tracebacks of broken files
quiet.setLevel(logging.CRITICAL)

PYTHON = "python3"
BROKEN = (OSError, ValueError, TypeError, TraitError, NoSuchKernel)  # what reading a kernel.json may raise


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """An installed kernel."""

    name: str  # in lower case: names differ in more than that
    spec: dict[str, Any]  # what kernel.json says: argv, display_name, language, env, ...
    resources: dict[str, str]  # files that front ends want to know of, by what they call them: logos, ...

    @property
    def metadata(self) -> dict[str, object]:
        """What the kernel says beyond the usual fields: its provisioner, when it is culled."""
        metadata: object = self.spec.get("metadata")
        return cast("dict[str, object]", metadata) if isinstance(metadata, dict) else {}


class Specs(Protocol):
    """The kernels that can be started: those of this machine, or of a gateway."""

    async def all(self) -> dict[str, KernelSpec]:
        """The kernelspecs by name. Raises GatewayError."""
        ...

    async def get(self, name: str) -> KernelSpec:
        """The kernelspec of this name. Raises NotFound, and GatewayError."""
        ...

    def default_among(self, names: Collection[str]) -> str:
        """The kernel that is started when none is asked for, when these are there."""
        ...

    async def resource(self, name: str, file: str) -> Path | bytes:
        """A file that comes with a kernel: its path, or what is in it. Raises NotFound, and GatewayError."""
        ...


class _FoundSpec(FoundSpec):
    """What kernel.json says. Many say more than Jupyter knows, which traitlets would complain about on stderr."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**{name: value for name, value in fields.items() if self.has_trait(name)})


class KernelSpecs:
    """The kernels of this machine. Every call looks on the disk, in a thread: they may be installed any time."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._warned: set[str] = set()
        self.manager = KernelSpecManager(log=quiet, kernel_spec_class=_FoundSpec)

    async def all(self) -> dict[str, KernelSpec]:
        """The kernelspecs that can be read, by name. One that can't is warned about and left out."""
        return await asyncio.to_thread(self._all)

    async def get(self, name: str) -> KernelSpec:
        """The kernelspec of this name, in any case. Raises NotFound."""
        return await asyncio.to_thread(self._get, name)

    def default_among(self, names: Collection[str]) -> str:
        """The kernel that is started when none is asked for: the configured one, if it is installed."""
        default = self._default.lower()
        if default in names or not names:
            return default
        return PYTHON if PYTHON in names else min(names)

    async def resource(self, name: str, file: str) -> Path:
        """The path of a file in the kernelspec's folder. Raises NotFound, also for what lies outside."""
        return await asyncio.to_thread(lambda: _file_in(self._folder(self._get(name).name), file))

    def _all(self) -> dict[str, KernelSpec]:
        specs: dict[str, KernelSpec] = {}
        folders: dict[str, str] = self.manager.find_kernel_specs()
        for name in folders:
            try:
                specs[name] = self._read(name)
            except BROKEN as error:
                self._warn(f"Kernelspec {name} in {folders[name]} is left out: {error}")
        return specs

    def _warn(self, what: str) -> None:
        if what not in self._warned:  # every page asks for the list once a minute
            self._warned.add(what)
            logger.warning("%s", what)

    def _get(self, name: str) -> KernelSpec:
        try:
            return self._read(name)
        except NoSuchKernel:
            if name.lower() == "python":  # what old notebooks call it
                return self._get(PYTHON)
            raise NotFound(f"Kernel spec {name} not found") from None
        except BROKEN as error:
            raise NotFound(f"Kernel spec {name} can't be read: {error}") from None

    def _read(self, name: str) -> KernelSpec:
        found: FoundSpec = self.manager.get_kernel_spec(name)
        return KernelSpec(name.lower(), found.to_dict(), _resources(Path(found.resource_dir)))

    def _folder(self, name: str) -> Path:
        found: FoundSpec = self.manager.get_kernel_spec(name)
        return Path(found.resource_dir)


def _resources(folder: Path) -> dict[str, str]:
    names = [name for name in ("kernel.js", "kernel.css") if (folder / name).exists()]
    logos = {path.stem: path.name for path in sorted(folder.glob("logo-*"))}
    return {name: name for name in names} | logos


def _file_in(folder: Path, file: str) -> Path:
    try:
        root = folder.resolve()
        path = (root / file).resolve()
        if path.is_relative_to(root) and path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):  # a name that can't be, a link to itself
        pass
    raise NotFound(f"No such file: {file}")
