"""What the handlers work with: the services, put together once by the composition root."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TypedDict

from aiohttp import web

from evstore.auth import AllowAll, Auth, Authorizer
from evstore.checkpoints import Checkpoints
from evstore.config import Config
from evstore.contents import Contents
from evstore.history import History
from evstore.http.cache import ReplyCache
from evstore.kernels.manager import Kernels
from evstore.kernels.specs import KernelSpecs
from evstore.lab import LabLoader
from evstore.notebooks import CellCache
from evstore.sessions import Sessions
from evstore.store import Store
from evstore.uploads import Uploads


@dataclass(slots=True)
class Activity:
    """When the server started and when somebody last used it: seconds since 1970."""

    started: float = field(default_factory=time.time)
    last: float = field(default_factory=time.time)


class FromStore(TypedDict):
    """What `over_store` makes."""

    store: Store
    contents: Contents
    checkpoints: Checkpoints
    history: History
    uploads: Uploads
    replies: ReplyCache


class FromKernels(TypedDict):
    """What `kernel_services` makes."""

    kernelspecs: KernelSpecs
    kernels: Kernels
    sessions: Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a handler may call. Handlers get it as `services(request)`."""

    config: Config
    auth: Auth
    store: Store
    contents: Contents
    checkpoints: Checkpoints
    history: History
    uploads: Uploads
    replies: ReplyCache
    lab: LabLoader
    kernelspecs: KernelSpecs
    kernels: Kernels  # closed when the application shuts down
    sessions: Sessions
    authorizer: Authorizer = field(default_factory=AllowAll)
    cells: CellCache = field(default_factory=CellCache)
    activity: Activity = field(default_factory=Activity)
    stop: asyncio.Event = field(default_factory=asyncio.Event)  # set: the server shuts down


def over_store(store: Store, config: Config) -> FromStore:
    """The services that a store gives rise to, as arguments of Services."""
    replies = ReplyCache()
    store.subscribe(replies.heard)
    return FromStore(
        store=store,
        contents=Contents(store),
        checkpoints=Checkpoints(store),
        history=History(store),
        uploads=Uploads(config.max_body_size),
        replies=replies,
    )


def kernel_services(config: Config) -> FromKernels:
    """The services for running code, as arguments of Services."""
    kernelspecs = KernelSpecs(config.default_kernel)
    kernels = Kernels(config.folder, kernelspecs, transport=config.kernel_transport)
    return FromKernels(kernelspecs=kernelspecs, kernels=kernels, sessions=Sessions(kernels))


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    return request.app[SERVICES]
