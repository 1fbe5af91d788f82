"""What the handlers work with: the services, put together once by the composition root."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from aiohttp import web

from evstore.config import Config
from evstore.core.notebooks import CellCache
from evstore.http.cache import ReplyCache
from evstore.lab import LabLoader
from evstore.lab.config_store import ConfigStore
from evstore.processes.clusters.manager import Clusters
from evstore.processes.convert.converter import Converter
from evstore.processes.kernels.manager import Kernels
from evstore.processes.kernels.specs import Specs
from evstore.processes.rst.renderer import Renderer
from evstore.processes.terminals.manager import Terminals
from evstore.services.auth import AllowAll, Auth, Authorizer
from evstore.services.checkpoints import Checkpoints
from evstore.services.contents import Contents
from evstore.services.detached_output import DetachedOutput
from evstore.services.event_publisher import EventPublisher
from evstore.services.history import History
from evstore.services.legacy_notebooks import OldNotebooks
from evstore.services.sessions import Sessions
from evstore.services.uploads import Uploads
from evstore.store.store import Store
from evstore.worktree.working_folder import WorkingFolder


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
    store: Store
    contents: Contents
    old_notebooks: OldNotebooks
    checkpoints: Checkpoints
    history: History
    uploads: Uploads
    replies: ReplyCache
    lab: LabLoader
    sections: ConfigStore
    kernelspecs: Specs
    kernels: Kernels  # closed when the application shuts down
    sessions: Sessions
    kernel_output: DetachedOutput
    clusters: Clusters  # closed when the application shuts down
    terminals: Terminals  # closed when the application shuts down
    announcer: EventPublisher
    converter: Converter  # closed when the application shuts down
    folder: WorkingFolder | None = None  # None: all there is, is in the log
    rst: Renderer = field(default_factory=Renderer)
    authorizer: Authorizer = field(default_factory=AllowAll)
    cells: CellCache = field(default_factory=CellCache)
    activity: Activity = field(default_factory=Activity)
    stop: asyncio.Event = field(default_factory=asyncio.Event)  # set: the server shuts down


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    return request.app[SERVICES]
