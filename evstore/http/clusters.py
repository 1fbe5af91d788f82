"""Clusters: IPython's old API, by profile, and the one that ipyparallel's extension of JupyterLab asks."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from evstore.core.errors import Invalid
from evstore.http.kernels import text_field
from evstore.http.reply import json_object, json_reply, no_content, read_at_most
from evstore.http.services import SERVICES, services
from evstore.processes.clusters.model import CLUSTER_ID, MAX_ENGINES, PROFILE, Profile

FORM = "application/x-www-form-urlencoded"
MAX_FORM = 64 * 1024  # bytes


def cluster_model(profile: Profile) -> dict[str, Any]:
    """IPython's model of a cluster (its html/services/clusters/clustermanager.py, `profile_info`)."""
    model: dict[str, Any] = {
        "profile": profile.name,
        "profile_dir": profile.folder,
        "status": "stopped" if profile.engines is None else "running",
    }
    return model if profile.engines is None else model | {"n": profile.engines}


# -- by profile --------------------------------------------------------------------------


async def list_all(request: web.Request) -> web.Response:
    """GET /api/clusters."""
    return json_reply([cluster_model(profile) for profile in await services(request).clusters.profiles()])


async def get(request: web.Request) -> web.Response:
    """GET /api/clusters/{profile}."""
    return json_reply(cluster_model(await services(request).clusters.profile(request.match_info["profile"])))


async def start(request: web.Request) -> web.Response:
    """POST /api/clusters/{profile}/start: `n` engines, in the query, a form or JSON."""
    engines = _engines(request.query.get("n") or (await _fields(request)).get("n"))
    profile = await services(request).clusters.start(request.match_info["profile"], engines)
    return json_reply(cluster_model(profile))


async def stop(request: web.Request) -> web.Response:
    """POST /api/clusters/{profile}/stop: returns when all of its processes have ended."""
    return json_reply(cluster_model(await services(request).clusters.stop(request.match_info["profile"])))


# -- as ipyparallel has it -----------------------------------------------------------------


async def models(request: web.Request) -> web.Response:
    """GET /ipyparallel/clusters."""
    return json_reply(await services(request).clusters.models())


async def create(request: web.Request) -> web.Response:
    """POST /ipyparallel/clusters: `profile`, `cluster_id` and `n` are optional."""
    data = await json_object(request)
    profile, cluster_id = text_field(data, "profile"), text_field(data, "cluster_id")
    if profile is not None and not PROFILE.fullmatch(profile):
        raise Invalid(
            f"{profile!r:.120} can't be a profile's name: letters, digits, _, - and . are possible."
        )
    if cluster_id is not None and not CLUSTER_ID.fullmatch(cluster_id):
        raise Invalid(f"{cluster_id!r:.120} can't be a cluster's id: letters, digits, _ and - are possible.")
    return json_reply(await services(request).clusters.create(profile, cluster_id, _engines(data.get("n"))))


async def model(request: web.Request) -> web.Response:
    """GET /ipyparallel/clusters/{key}."""
    return json_reply(await services(request).clusters.model(request.match_info["key"]))


async def start_one(request: web.Request) -> web.Response:
    """POST /ipyparallel/clusters/{key}: start it, with `n` engines."""
    engines = _engines((await json_object(request)).get("n"))
    return json_reply(await services(request).clusters.start_one(request.match_info["key"], engines))


async def remove(request: web.Request) -> web.Response:
    """DELETE /ipyparallel/clusters/{key}: stop it."""
    await services(request).clusters.remove(request.match_info["key"])
    return no_content()


async def close(app: web.Application) -> None:
    """The server stops: stop the clusters that were started here."""
    await app[SERVICES].clusters.close()


async def _fields(request: web.Request) -> dict[str, Any]:
    """The fields of the body, a form or a JSON object."""
    if request.content_type != FORM:
        return await json_object(request)
    text = (await read_at_most(request, MAX_FORM)).decode(errors="replace")
    try:
        return dict(parse_qsl(text, max_num_fields=100))
    except ValueError:
        raise Invalid("The form has too many fields.") from None


def _engines(given: Any) -> int | None:
    """How many engines are wanted; None when nothing is said. Raises Invalid."""
    if given is None or given == "":
        return None
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 10:
        given = int(given)
    if isinstance(given, float) and given.is_integer():  # JSON knows one kind of numbers only
        given = int(given)
    if type(given) is not int or not 0 < given <= MAX_ENGINES:
        raise Invalid(f"n={given!r:.40}: must be a number of engines from 1 to {MAX_ENGINES}.")
    return given
