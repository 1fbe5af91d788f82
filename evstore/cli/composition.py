"""The composition root: from settings to a running server, and back down in the right order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from evstore.config import Config
from evstore.core import notebooks
from evstore.core.errors import Stopped
from evstore.core.events import EntryMoved, Recorded
from evstore.core.paths import ContentPath
from evstore.http.cache import ReplyCache
from evstore.http.server import serving
from evstore.http.services import Services
from evstore.http.status import stop_when_unused
from evstore.lab import LabLoader
from evstore.lab.config_store import ConfigStore
from evstore.log.engine.base import Tx
from evstore.processes.clusters.manager import Clusters
from evstore.processes.convert.converter import Converter
from evstore.processes.gateway.api import Gateway
from evstore.processes.gateway.process import GatewayLauncher
from evstore.processes.gateway.specs import GatewaySpecs
from evstore.processes.kernels.activity import UNTRACKED
from evstore.processes.kernels.culling import Culler, Culling
from evstore.processes.kernels.endpoint import Launcher
from evstore.processes.kernels.limits import Limits
from evstore.processes.kernels.manager import Kernels
from evstore.processes.kernels.process import LocalLauncher
from evstore.processes.kernels.specs import KernelSpecs, Specs
from evstore.processes.terminals.manager import Options, Terminals
from evstore.projections import tree
from evstore.runtime.background import in_background
from evstore.services.auth import AllowAll, Auth, Authorizer, load_secret
from evstore.services.checkpoints import Checkpoints
from evstore.services.contents import Contents
from evstore.services.detached_output import DetachedOutput
from evstore.services.event_publisher import EventPublisher
from evstore.services.folder_contents import FolderContents
from evstore.services.folder_history import FolderCheckpoints, FolderHistory
from evstore.services.history import History
from evstore.services.legacy_notebooks import OldNotebooks
from evstore.services.sessions import Sessions
from evstore.services.uploads import Uploads
from evstore.store.store import Store
from evstore.worktree.working_folder import WorkingFolder

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
T = TypeVar("T")
Greeting = Callable[[Services, int], AbstractContextManager[None]]


async def run(config: Config, opening: Callable[[], Coroutine[Any, Any, Store]], greeting: Greeting) -> None:
    """Open the store and serve it until a signal, or somebody at /api/shutdown, ends that.

    `greeting` surrounds the time in which requests are answered; it is told the port.
    Raises Stopped when the signal comes before that time.
    """
    stop = asyncio.Event()
    with signals_set(stop):
        store = await unless(stop, opening())
        try:
            async with open_services(config, store, stop=stop) as services, serving(services) as port:
                settle_memory()
                with greeting(services, port):
                    await stop.wait()
        finally:
            await store.close()


def settle_memory() -> None:
    """Take what was loaded at the start out of the garbage collector's sight.

    A full collection stops all threads while it looks at every object: up to 120 ms with
    JupyterLab's settings and nbformat's schemas in memory, in the middle of a save.
    """
    notebooks.empty()  # the first validation compiles a schema: now, not in the first save
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def open_services(
    config: Config,
    store: Store,
    *,
    stop: asyncio.Event | None = None,
    authorizer: Authorizer | None = None,
) -> AsyncGenerator[Services]:
    """All services over an open store. Kernels and conversions end with the application, the rest at the end here."""
    secret = await asyncio.to_thread(load_secret, config.db.with_name("cookie_secret"))
    kernelspecs, launcher = kernel_source(config)
    kernels = make_kernels(config, kernelspecs, launcher)
    folder, sessions, stop = make_folder(config, store), Sessions(kernels), stop or asyncio.Event()
    contents, checkpoints, history = make_tree(config, store, folder)
    services = Services(
        config=config,
        auth=Auth.of(config, secret),
        authorizer=authorizer or AllowAll(),
        store=store,
        contents=contents,
        old_notebooks=OldNotebooks(store),
        checkpoints=checkpoints,
        history=history,
        uploads=Uploads(config.max_body_size),
        replies=ReplyCache(),
        lab=LabLoader(config),
        sections=ConfigStore.of(config),
        kernelspecs=kernelspecs,
        kernels=kernels,
        sessions=sessions,
        kernel_output=DetachedOutput(store, Contents(store), kernels, sessions, stop),
        clusters=Clusters(config.folder),
        terminals=Terminals(config.folder, Options.of(config)),
        announcer=EventPublisher(store, kernels),
        converter=Converter(config.convert_timeout),
        folder=folder,
        stop=stop,
    )
    store.subscribe(services.replies.heard)
    try:
        if services.folder is not None:
            await unless(stop, services.folder.open())  # the first comparison can take long
        async with in_background(*chores(services)):
            yield services
    finally:
        await services.kernel_output.close()
        services.uploads.close()
        await launcher.close()  # also when the application has never started
        await services.lab.close()
        if services.folder is not None:
            await services.folder.close()


def make_folder(config: Config, store: Store) -> WorkingFolder | None:
    """The folder in which the files are, if there is to be one; not in line with the log yet."""
    if not config.with_folder:
        return None
    return WorkingFolder(
        store,
        config.folder,
        config.db,
        max_size=config.max_versioned_size,
        verify=config.verify_folder,
        poll=config.poll,
    )


def make_tree(
    config: Config, store: Store, folder: WorkingFolder | None
) -> tuple[Contents, Checkpoints, History]:
    """What clients see: the log's tree and its past, and what lies beside it in the folder."""
    if folder is None:
        return Contents(store), Checkpoints(store), History(store)
    contents = FolderContents(store, folder, largest=config.max_body_size)
    return contents, FolderCheckpoints(store, contents), FolderHistory(store, contents)


def chores(services: Services) -> list[Coroutine[Any, Any, None]]:
    """What is done as long as the server runs, whether anybody asks for something or not."""
    return [
        follow_moves(services.store, services.sessions),
        Culler(services.kernels, Culling.of(services.config)).run(),
        services.terminals.cull(),
        stop_when_unused(services),
        services.kernel_output.run(),
    ]


def make_kernels(config: Config, specs: Specs, launcher: Launcher) -> Kernels:
    """The kernels, of which none runs yet."""
    return Kernels(
        config.folder,
        specs,
        launcher,
        kept=Limits.of(config),
        limit=config.max_kernels,
        untracked=frozenset(config.untracked_message_types) or UNTRACKED,
    )


def kernel_source(config: Config) -> tuple[Specs, Launcher]:
    """Where kernels come from: this machine, or a gateway."""
    if config.gateway is not None:
        gateway = Gateway(config.gateway)
        return GatewaySpecs(gateway), GatewayLauncher(gateway)
    specs = KernelSpecs(config.default_kernel)
    return specs, LocalLauncher(specs.manager, transport=config.kernel_transport)


async def follow_moves(store: Store, sessions: Sessions) -> None:
    """Tell the sessions of every rename and move, whoever did it."""
    moves: asyncio.Queue[Recorded] = asyncio.Queue()

    def listener(recorded: Sequence[Recorded]) -> None:
        for one in recorded:
            if isinstance(one.event, EntryMoved):
                moves.put_nowait(one)

    store.subscribe(listener)  # and not the feed, which would read each event, of which few are moves
    while True:
        move = await moves.get()
        try:
            old, new = await store.read(lambda tx, move=move: _moved(tx, move))
        except Exception:  # its session stays behind, and those of the next moves need not
            logger.exception("Sessions could not follow a rename")
            continue
        if old is not None and new is not None:
            await sessions.entry_moved(old, new)


def _moved(tx: Tx, move: Recorded) -> tuple[ContentPath | None, ContentPath | None]:
    """From where to where."""
    return tree.path_of(tx, move.entry, move.offset - 1), tree.path_of(tx, move.entry, move.offset)


@contextmanager
def signals_set(stop: asyncio.Event) -> Generator[None]:
    """In the block, the first Ctrl-C (or SIGTERM, SIGHUP) sets `stop`; the second ends the process at once."""
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises Stopped, after `work` has cleaned up, when `stop` is set first."""
    task = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
        if task.cancelled():
            raise Stopped
        return task.result()
    finally:
        stopping.cancel()
