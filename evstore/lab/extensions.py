"""The extension manager: what is installed, and, where that is allowed, what else could be.

Done by JupyterLab's own managers. Their coroutines read hundreds of files and wait for PyPI and pip, so they
run on an event loop of their own, in a thread that begins when somebody asks for the first time.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyterlab comes without types)

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict, replace
from typing import Any, TypeVar

from jupyterlab.commands import AppOptions
from jupyterlab.extensions.manager import ActionResult, ExtensionManager, ExtensionPackage
from jupyterlab.extensions.pypi import PyPIExtensionManager
from jupyterlab.extensions.readonly import ReadOnlyExtensionManager

from evstore.config import Config
from evstore.core.errors import Forbidden, Unprocessable
from evstore.lab.folders import Folders
from evstore.lab.plugins import Plugins
from evstore.runtime.loop_thread import LoopThread

HALF = "Its other half is an extension of jupyter_server, which evstore does not run."
READ_ONLY = (
    "Installing extensions from the page is switched off here. Start evstore with --allow-extension-install,"
    " or use pip, and reload the page."
)
T = TypeVar("T")
Step = Callable[[ExtensionManager], Coroutine[Any, Any, T]]


class Extensions:
    """The installed extensions, and a search for others. Closed at the end."""

    def __init__(self, folders: Folders, plugins: Plugins, config: Config) -> None:
        self._folders = folders
        self._plugins = plugins
        self._can_install = config.allow_extension_install
        self._thread: LoopThread | None = None
        self._made: ExtensionManager | None = None
        self._installing = asyncio.Lock()

    async def installed(self, *, refresh: bool) -> list[dict[str, Any]]:
        """What is installed. Kept until `refresh`, for reading it takes half a second."""
        found, _ = await self._list(None, 1, 1, refresh)
        return await asyncio.to_thread(self._as_switched, found)

    async def available(
        self, query: str, page: int, per_page: int, *, refresh: bool
    ) -> tuple[list[dict[str, Any]], int]:
        """One page of what could be installed and has `query` in its name, and the last page's number."""
        if not self._can_install:
            return [], 1
        found, last = await self._list(query, page, per_page, refresh)
        return [asdict(each) for each in found], last or 1

    async def install(self, name: str, version: str | None) -> dict[str, Any]:
        """Install from PyPI, by pip. Raises Forbidden when that is switched off, Unprocessable when it fails."""
        return await self._change(
            f"{name!r:.80}" if version is None else f"{name!r:.80}, version {version!r:.40},",
            lambda manager: manager.is_install_allowed(name, version),
            lambda manager: manager.install(name, version),
        )

    async def uninstall(self, name: str) -> dict[str, Any]:
        """Uninstall by pip. Raises as `install`."""
        return await self._change(
            f"{name!r:.80}",
            lambda manager: manager.is_uninstall_allowed(name),
            lambda manager: manager.uninstall(name),
        )

    async def switch(self, name: str, *, on: bool) -> dict[str, Any]:
        """Enable or disable an extension, by the name that the list gives it. Raises NotFound, Forbidden."""

        def work() -> dict[str, Any]:
            real = {self._normalized(name): name for name in self._plugins.extensions()}
            return self._plugins.switch_extension(real.get(name, name), on=on)

        return await asyncio.to_thread(work)

    async def close(self) -> None:
        """End the thread. What pip has begun it finishes first: half of an extension helps nobody."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.stop)

    async def _list(
        self, query: str | None, page: int, per_page: int, refresh: bool
    ) -> tuple[list[ExtensionPackage], int | None]:
        async def work() -> tuple[list[ExtensionPackage], int | None]:
            manager = self._manager()
            if refresh:
                await manager.refresh(query, page, per_page)
            return await manager.list_extensions(query, page, per_page)

        return await self._run(work())

    async def _change(self, what: str, is_allowed: Step[bool], action: Step[ActionResult]) -> dict[str, Any]:
        if not self._can_install:
            raise Forbidden(READ_ONLY)

        async def work() -> ActionResult:
            manager = self._manager()
            if not await is_allowed(manager):
                raise Unprocessable(f"{what} can't be a package on PyPI, or is blocked.")
            result = await action(manager)
            await manager.refresh(None, 1, 1)
            return result

        async with self._installing:
            result = await self._run(work())
        if result.status == "error":
            raise Unprocessable(_reason(result.message or ""))
        return asdict(result)

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        self._thread = self._thread or LoopThread("extension manager")
        return await self._thread.run(work)

    def _manager(self) -> ExtensionManager:
        if self._made is None:
            folders = self._folders
            options: Any = AppOptions(app_dir=str(folders.app), labextensions_path=folders.labextensions_path)
            self._made = (PyPIExtensionManager if self._can_install else ReadOnlyExtensionManager)(options)
        return self._made

    def _as_switched(self, found: list[ExtensionPackage]) -> list[dict[str, Any]]:
        """What was found, and whether it is on, which is known at any time."""
        disabled = set(map(self._normalized, self._plugins.page_config()["disabledExtensions"]))
        halves = set(map(self._normalized, self._plugins.without_server))
        return [
            asdict(_half(each) if each.name in halves else replace(each, enabled=each.name not in disabled))
            for each in found
        ]

    def _normalized(self, name: str) -> str:
        """An extension's name as the manager lists it: PyPI's has other ones than the front end."""
        return name.replace("@", "").replace("/", "-").replace("_", "-") if self._can_install else name


def manager_metadata(config: Config) -> dict[str, Any]:
    """The page config's `extensionManager`. No folder of this machine is told to those who can't use it."""
    if config.allow_extension_install:
        return {"name": "PyPI", "can_install": True, "install_path": sys.prefix}
    return {"name": "read-only", "can_install": False, "install_path": None}


def _half(extension: ExtensionPackage) -> ExtensionPackage:
    description = f"{extension.description} ({HALF})".lstrip()
    return replace(extension, enabled=False, status="warning", description=description)


def _reason(message: str) -> str:
    """What pip says is wrong, without the folders that it names on the way."""
    errors = [line.removeprefix("ERROR: ") for line in message.splitlines() if line.startswith("ERROR: ")]
    return errors[-1] if errors else "pip could not do it; the server's log says why."
