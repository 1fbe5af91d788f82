"""The only module that touches ipyparallel. All of it runs on the event loop of a thread of its own.

ipyparallel's methods are coroutines that wait for processes without giving way (`join` in its launcher.py),
so they must not run on the server's event loop.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# (ipyparallel comes without types)

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # ipyparallel needs it
from ipyparallel import ClusterManager
from IPython.core.profileapp import list_profiles_in
from IPython.core.profiledir import ProfileDir
from IPython.paths import get_ipython_dir

from evstore.core.errors import CannotStart, Exists, NotFound
from evstore.processes.child_env import SECRETS
from evstore.processes.clusters.model import Profile

logger = logging.getLogger(__name__)
# ipyparallel warns of each process that ends by a signal, as all do that are stopped; what fails is raised as well
quiet = logging.getLogger(f"{__name__}.ipyparallel")
quiet.setLevel(logging.CRITICAL)

KILLED = 3.0  # seconds in which a killed process is surely gone
DEFAULT = "default"
PRIVATE = "connection_info"  # in a controller's state: the key that lets a client in


class Parallel:
    """The clusters of this user: those that were started here, and those that `ipcluster start` has started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder  # where engines run
        self._manager = ClusterManager(log=quiet)
        self._own: set[str] = set()  # the keys of those that were started here
        self._busy: set[str] = set()  # of those that are just being started or stopped
        self._idle = asyncio.Event()
        self._idle.set()

    # -- by profile --------------------------------------------------------------------

    async def profiles(self) -> list[Profile]:
        """All profiles, the default one first, then by name."""
        clusters = self._load()
        names: set[str] = set(list_profiles_in(get_ipython_dir()))
        ordered = (DEFAULT, *sorted(names - {DEFAULT}))
        return [_profile(name, clusters.get(f"{name}:")) for name in ordered]

    async def profile(self, name: str) -> Profile:
        """One profile. Raises NotFound."""
        for profile in await self.profiles():
            if profile.name == name:
                return profile
        raise NotFound("profile not found")

    async def start(self, name: str, engines: int | None) -> Profile:
        """Start the profile's cluster. Raises NotFound, Exists, CannotStart."""
        if (await self.profile(name)).engines is not None:
            raise Exists("cluster already running")
        await self._start(self._ensure(name), engines)
        return await self.profile(name)

    async def stop(self, name: str) -> Profile:
        """Stop it. Raises NotFound; Exists when it does not run."""
        if (await self.profile(name)).engines is None:
            raise Exists("cluster not running")
        await self._stop(f"{name}:")
        return await self.profile(name)

    # -- as ipyparallel's own server extension has them (its nbextension/handlers.py) ----

    async def models(self) -> list[dict[str, Any]]:
        """All clusters, and a stopped one for each profile that has none: running ones first."""
        for profile in await self.profiles():
            self._ensure(profile.name)
        models = [_model(key, cluster) for key, cluster in self._manager.clusters.items()]
        return sorted(models, key=_order)

    async def create(
        self, profile: str | None, cluster_id: str | None, engines: int | None
    ) -> dict[str, Any]:
        """A new cluster, which is not started yet; a profile that does not exist is made. Raises Exists."""
        clusters = self._load()
        name = profile or DEFAULT
        if cluster_id is None and profile is not None and f"{name}:" not in clusters:
            cluster_id = ""
        options = {} if cluster_id is None else {"cluster_id": cluster_id}
        try:
            key = self._new(name, n=engines, **options)
        except KeyError:
            raise Exists("There is such a cluster already.") from None
        return _model(key, self._manager.clusters[key])

    async def model(self, key: str) -> dict[str, Any]:
        """One of them. Raises NotFound."""
        return _model(key, self._get(key))

    async def start_one(self, key: str, engines: int | None) -> dict[str, Any]:
        """Start it. Raises NotFound, Exists, CannotStart."""
        if _is_running(self._get(key)):
            raise Exists("The cluster is running already.")
        await self._start(key, engines)
        return await self.model(key)

    async def remove(self, key: str) -> None:
        """Stop it if it runs, and forget it. Raises NotFound."""
        self._get(key)
        await self._stop(key)
        self._manager.clusters.pop(key, None)

    async def close(self) -> None:
        """Stop what was started here."""
        await self._idle.wait()
        for key in list(self._own):
            if key in self._manager.clusters:
                await self._stop(key)

    def kill(self) -> None:
        """Kill all processes of what was started here. From any thread: for when `close` does not come to an end."""
        for key in list(self._own):
            _kill(self._manager.clusters[key])

    # -- inside ------------------------------------------------------------------------

    def _load(self) -> dict[str, Any]:
        """The clusters by key, `profile:id`. Running ones have a file, which may be another program's."""
        clusters: dict[str, Any] = self._manager.load_clusters()
        return clusters

    def _get(self, key: str) -> Any:
        if key not in self._load():
            raise NotFound("There is no such cluster.")
        return self._manager.clusters[key]

    def _ensure(self, profile: str) -> str:
        """The key of the profile's cluster, which exists from now on."""
        key = f"{profile}:"
        return key if key in self._manager.clusters else self._new(profile, cluster_id="")

    def _new(self, profile: str, **options: Any) -> str:
        folder = _folder(profile)
        if not folder.is_dir():
            ProfileDir.create_profile_dir_by_name(get_ipython_dir(), profile)
        # Stopped by `close` here, and not by ipyparallel when Python exits, on stderr
        key, _ = self._manager.new_cluster(profile_dir=str(folder), shutdown_atexit=False, **options)
        return key

    @contextmanager
    def _at_work(self, key: str) -> Generator[Any]:
        if key in self._busy:
            raise Exists("The cluster is just being started or stopped.")
        self._busy.add(key)
        self._idle.clear()
        try:
            yield self._manager.clusters[key]
        finally:
            self._busy.discard(key)
            if not self._busy:
                self._idle.set()

    async def _start(self, key: str, engines: int | None) -> None:
        with self._at_work(key) as cluster:
            self._own.add(key)
            _forget_old_addresses(Path(cluster.profile_dir), cluster.cluster_id)
            try:
                await cluster.start_controller(
                    environment=_variables(cluster, cluster.controller_launcher_class)
                )
                await asyncio.sleep(cluster.delay)
                launcher = cluster.engine_launcher_class(parent=cluster, log=quiet)
                await cluster.start_engines(
                    engines,
                    environment=_variables(cluster, cluster.engine_launcher_class),
                    engine_args=[*launcher.engine_args, f"--work-dir={self._folder}"],
                )
            except BaseException as error:  # cancellation too: nothing may be left running
                await _end(cluster)
                self._own.discard(key)
                if not isinstance(error, Exception):
                    raise
                raise CannotStart(
                    f"The cluster could not be started: {error}", short_message="Cluster not started"
                ) from error

    async def _stop(self, key: str) -> None:
        with self._at_work(key) as cluster:
            await _end(cluster)
            self._own.discard(key)


def _folder(profile: str) -> Path:
    return Path(get_ipython_dir()) / f"profile_{profile}"


def _profile(name: str, cluster: Any) -> Profile:
    engines = _count(cluster) if cluster is not None and _is_running(cluster) else None
    return Profile(name, str(_folder(name)), engines)


def _forget_old_addresses(profile: Path, cluster_id: str) -> None:
    """A controller that was killed has left its address behind, at which engines would look for the new one.

    Who has configured controllers of this profile may want them at the same address again (reuse_files).
    """
    if not (profile / "ipcontroller_config.py").exists():
        middle = f"-{cluster_id}" if cluster_id else ""
        for role in ("client", "engine"):
            (profile / "security" / f"ipcontroller{middle}-{role}.json").unlink(missing_ok=True)


def _is_running(cluster: Any) -> bool:
    parts = [*([cluster.controller] if cluster.controller else []), *cluster.engines.values()]
    return any(part.state != "after" for part in parts)


def _count(cluster: Any) -> int:
    return sum(engine_set.n for engine_set in cluster.engines.values() if engine_set.state != "after")


def _model(key: str, cluster: Any) -> dict[str, Any]:
    """A cluster as ipyparallel's extension of JupyterLab expects it."""
    model: dict[str, Any] = cluster.to_dict()
    model["cluster"]["profile"] = key.rpartition(":")[0]
    model["id"] = key
    model["engines"]["n"] = _count(cluster)
    model["cluster_file"] = cluster.cluster_file
    model.get("controller", {}).get("state", {}).pop(PRIVATE, None)
    return model


def _order(model: dict[str, Any]) -> tuple[bool, bool, bool, str]:
    """Those that run first, then the default ones."""
    profile, _, cluster_id = model["id"].rpartition(":")
    return not model.get("controller"), profile != DEFAULT, bool(cluster_id), model["id"]


def _variables(cluster: Any, launcher_class: Any) -> dict[str, str]:
    """What a launcher's processes get besides our own environment, which it hands on: no secrets of ours."""
    configured: dict[str, str] = launcher_class(parent=cluster, log=quiet).environment
    return configured | {name: "" for name in SECRETS if name in os.environ}


async def _end(cluster: Any) -> None:
    """Stop all its processes, and what they have started: each engine has a nanny, which may outlive it."""
    try:
        await cluster.stop_cluster()
    finally:
        _kill(cluster)


def _kill(cluster: Any) -> None:
    while left := list(_left_behind(cluster)):  # one may just be starting another
        for process in left:
            with contextlib.suppress(psutil.Error):  # it has ended
                process.kill()
        if psutil.wait_procs(left, timeout=KILLED)[1]:
            logger.warning("%d processes of a cluster can't be killed", len(left))
            break


def _left_behind(cluster: Any) -> Iterator[psutil.Process]:
    """What runs with the environment that ipyparallel gives to a cluster's processes (`cluster_env`)."""
    mark = {"IPP_PROFILE_DIR": cluster.profile_dir, "IPP_CLUSTER_ID": cluster.cluster_id}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended, or is somebody else's
            if process.status() != psutil.STATUS_ZOMBIE and mark.items() <= process.environ().items():
                yield process
