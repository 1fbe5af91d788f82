"""The whole HTTP surface on one screen: every route is a line of ROUTES, and nothing is served besides.

A route's path stands below the base URL. GET answers HEAD too; OPTIONS is answered for every
path by the guard (`guard.py`), which also decides who gets in, before a handler runs. The word
after the handler is the resource that the authorizer is asked about, as Jupyter names it; `history`,
`restore` and `lab` are ours (jupyterlab_server asks nobody).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web

from evstore.http import (
    channels,
    checkpoints,
    clusters,
    config,
    contents,
    convert,
    events,
    executions,
    extensions,
    files,
    history,
    kernels,
    kernelspecs,
    lab,
    labapi,
    login,
    misc,
    notebook7,
    openapi,
    resolve,
    sessions,
    static,
    status,
    terminals,
    view,
)
from evstore.http import metrics as measuring
from evstore.http.auth import DOORMAN
from evstore.http.guard import Guard
from evstore.http.legacy import routes as old
from evstore.http.legacy.split_channels import TRIOS
from evstore.http.routing import Access, Route
from evstore.http.services import SERVICES, Services
from evstore.http.sockets import SOCKETS, Sockets, close_sockets

logger = logging.getLogger(__name__)

PATH = "{path:(?s:/.*)?}"  # of an entry; a name may hold a line feed
CHECKPOINT = PATH + "/checkpoints/{checkpoint:[^/]+}"

ROUTES: tuple[Route, ...] = (
    # The server itself
    Route("GET", "/", misc.root, "lab", Access.PAGE),
    Route("GET", "/api", misc.version, access=Access.PUBLIC),
    Route("GET", "/api/spec.yaml", openapi.spec, "api", Access.PAGE),
    Route("GET", "/api/me", login.me, "api"),
    Route("PATCH", "/api/me", login.update_me, "api"),
    Route("GET", "/api/status", status.status, "api", activity=False),
    Route("GET", "/api/resolvePath", resolve.resolve, "api", activity=False),
    Route("GET", "/api/nbconvert", convert.exporters, "nbconvert"),
    Route("GET", r"/api/config/{name:\w+}", config.get, "config"),
    Route("PUT", r"/api/config/{name:\w+}", config.put, "config"),
    Route("PATCH", r"/api/config/{name:\w+}", config.patch, "config"),
    Route("POST", "/api/shutdown", misc.shutdown, "server"),
    Route("POST", "/api/security/csp-report", misc.csp_report, "csp", xsrf=False, activity=False),
    Route("POST", "/api/events", events.post, "events"),
    Route("GET", "/api/events/subscribe", events.subscribe, "events", execute=True, activity=False),
    Route("GET", "/metrics", measuring.get, "metrics", activity=False),
    Route("GET", "/lsp/status", misc.language_servers, "lsp", activity=False),
    Route("GET", "/login", login.login_page, access=Access.PUBLIC),
    Route("POST", "/login", login.login, access=Access.PUBLIC, form=True),
    Route("GET", "/logout", login.logout, access=Access.PUBLIC),
    Route("GET", "/favicon.ico", static.favicon, access=Access.PUBLIC),
    Route("GET", "/static/{path:.+}", static.own_file, access=Access.PUBLIC),
    # JupyterLab
    Route("GET", "/lab", lab.page, "lab", Access.PAGE),
    Route("GET", "/lab/{rest:.*}", lab.page, "lab", Access.PAGE),
    Route("GET", "/lab/tree/{tree:.*}", lab.page, "lab", Access.PAGE),
    Route("GET", "/lab/workspaces/{workspace:[a-zA-Z0-9_-]+}", lab.page, "lab", Access.PAGE),
    Route("GET", "/lab/workspaces/{workspace:[a-zA-Z0-9_-]+}/tree/{tree:.*}", lab.page, "lab", Access.PAGE),
    Route("GET", "/doc", lab.page, "lab", Access.PAGE),
    Route("GET", "/doc/tree/{tree:.*}", lab.page, "lab", Access.PAGE),
    Route("GET", "/doc/workspaces/{workspace:[a-zA-Z0-9_-]+}", lab.page, "lab", Access.PAGE),
    Route("GET", "/doc/workspaces/{workspace:[a-zA-Z0-9_-]+}/tree/{tree:.*}", lab.page, "lab", Access.PAGE),
    Route("GET", "/static/lab/{path:.+}", lab.bundle, access=Access.PUBLIC),
    Route("GET", "/lab/extensions/{path:.+}", lab.extension, "lab", Access.ASSET),
    Route("GET", "/lab/api/themes/{path:.+}", lab.theme, "lab", Access.ASSET),
    Route("GET", "/lab/api/settings{slash:/?}", labapi.settings, "lab"),
    Route("GET", "/lab/api/settings/{name:.+}", labapi.setting, "lab"),
    Route("PUT", "/lab/api/settings/{name:.+}", labapi.save_setting, "lab"),
    Route("GET", "/lab/api/workspaces{slash:/?}", labapi.workspaces, "lab"),
    Route("GET", "/lab/api/workspaces/{name:.+}", labapi.workspace, "lab"),
    Route("PUT", "/lab/api/workspaces/{name:.+}", labapi.save_workspace, "lab"),
    Route("DELETE", "/lab/api/workspaces/{name:.+}", labapi.delete_workspace, "lab"),
    Route("GET", "/lab/api/translations{slash:/?}", labapi.translations, "lab"),
    Route("GET", "/lab/api/translations/{locale:.+}", labapi.translation, "lab"),
    Route("GET", "/lab/api/listings/{path:.+}", extensions.listing, "lab"),
    Route("GET", "/lab/api/licenses{slash:/?}", labapi.licenses, "lab"),
    Route("GET", "/lab/api/extensions", extensions.extensions, "lab"),
    Route("POST", "/lab/api/extensions", extensions.change_extension, "lab", execute=True),
    Route("GET", "/lab/api/plugins", extensions.plugins, "lab"),
    Route("POST", "/lab/api/plugins", extensions.change_plugin, "lab"),
    Route("GET", "/lab/api/build", extensions.build, "lab"),
    Route("POST", "/lab/api/build", extensions.start_build, "lab"),
    Route("DELETE", "/lab/api/build", extensions.cancel_build, "lab"),
    Route("GET", "/lab/api/news", extensions.news, "lab"),
    Route("GET", "/lab/api/update", extensions.update, "lab"),
    # What old clients ask for; before Notebook, whose pages begin with /notebooks as well
    *old.ROUTES,
    # Notebook 7
    Route("GET", "/tree" + PATH, notebook7.tree_page, "lab", Access.PAGE, reads_content=True),
    Route("GET", "/notebooks" + PATH, notebook7.notebooks_page, "lab", Access.PAGE),
    Route("GET", "/edit" + PATH, notebook7.edit_page, "lab", Access.PAGE),
    Route("GET", "/consoles/{path:(?s:.*)}", notebook7.console_page, "lab", Access.PAGE),
    Route("GET", "/terminals/{path:(?s:.*)}", notebook7.terminal_page, "lab", Access.PAGE),
    Route("GET", "/static/notebook/{path:.+}", notebook7.bundle, access=Access.PUBLIC),
    Route("GET", "/custom/{path:.+}", notebook7.custom, "lab", Access.ASSET),
    # Contents and checkpoints
    Route("GET", "/api/contents" + PATH + "/checkpoints", checkpoints.get, "contents"),
    Route("POST", "/api/contents" + PATH + "/checkpoints", checkpoints.post, "contents"),
    Route("POST", "/api/contents" + CHECKPOINT, checkpoints.restore, "contents"),
    Route("DELETE", "/api/contents" + CHECKPOINT, checkpoints.delete, "contents"),
    Route("POST", "/api/contents" + PATH + "/trust", contents.trust, "contents"),
    Route("GET", "/api/contents" + PATH, contents.get, "contents", reads_content=True),
    Route("PUT", "/api/contents" + PATH, contents.put, "contents"),
    Route("POST", "/api/contents" + PATH, contents.post, "contents"),
    Route("PATCH", "/api/contents" + PATH, contents.patch, "contents"),
    Route("DELETE", "/api/contents" + PATH, contents.delete, "contents"),
    Route(
        "GET", "/files/{path:(?s:.*)}", files.get, "contents", Access.PAGE, referer=True, reads_content=True
    ),
    Route("GET", "/view" + PATH, view.get, "contents", Access.PAGE, reads_content=True),
    Route(
        "GET",
        "/nbconvert/{format:[^/]+}" + PATH,
        convert.get,
        "nbconvert",
        Access.PAGE,
        referer=True,
        reads_content=True,
    ),
    Route("POST", "/nbconvert/{format:[^/]+}", convert.post, "nbconvert"),
    # Kernels and sessions
    Route("GET", "/api/kernelspecs", kernelspecs.list_all, "kernelspecs"),
    Route("GET", "/api/kernelspecs/{name}", kernelspecs.get, "kernelspecs"),
    Route("GET", "/kernelspecs/{name}/{file:.+}", kernelspecs.resource, "kernelspecs", Access.ASSET),
    Route("GET", "/api/kernels", kernels.list_all, "kernels"),
    Route("POST", "/api/kernels", kernels.start, "kernels"),
    Route("GET", "/api/kernels/{kernel_id}", kernels.get, "kernels"),
    Route("DELETE", "/api/kernels/{kernel_id}", kernels.delete, "kernels"),
    Route("POST", "/api/kernels/{kernel_id}/interrupt", kernels.interrupt, "kernels", execute=True),
    Route("POST", "/api/kernels/{kernel_id}/restart", kernels.restart, "kernels", execute=True),
    Route("GET", "/api/kernels/{kernel_id}/executions", executions.list_all, "kernels", activity=False),
    Route(
        "GET",
        "/api/kernels/{kernel_id}/executions/{execution_id}",
        executions.follow,
        "kernels",
        activity=False,
    ),
    Route(
        "GET", "/api/kernels/{kernel_id}/channels", channels.channels, "kernels", execute=True, activity=False
    ),
    Route("GET", "/api/sessions", sessions.list_all, "sessions"),
    Route("POST", "/api/sessions", sessions.open_session, "sessions"),
    Route("GET", "/api/sessions/{session_id}", sessions.get, "sessions"),
    Route("PATCH", "/api/sessions/{session_id}", sessions.patch, "sessions"),
    Route("DELETE", "/api/sessions/{session_id}", sessions.delete, "sessions"),
    # Terminals
    Route("GET", "/api/terminals", terminals.list_all, "terminals"),
    Route("POST", "/api/terminals", terminals.start, "terminals"),
    Route("GET", r"/api/terminals/{name:\w+}", terminals.get, "terminals"),
    Route("DELETE", r"/api/terminals/{name:\w+}", terminals.delete, "terminals"),
    Route("GET", r"/terminals/websocket/{name:\w+}", terminals.connect, "terminals", execute=True),
    # Clusters, at the addresses of IPython's server and of ipyparallel's own
    Route("GET", "/api/clusters", clusters.list_all, "clusters"),
    Route("GET", "/api/clusters/{profile:[^/]+}", clusters.get, "clusters"),
    Route("POST", "/api/clusters/{profile:[^/]+}/start", clusters.start, "clusters"),
    Route("POST", "/api/clusters/{profile:[^/]+}/stop", clusters.stop, "clusters"),
    Route("GET", "/clusters", clusters.list_all, "clusters"),
    Route("GET", "/clusters/{profile:[^/]+}", clusters.get, "clusters"),
    Route("POST", "/clusters/{profile:[^/]+}/start", clusters.start, "clusters"),
    Route("POST", "/clusters/{profile:[^/]+}/stop", clusters.stop, "clusters"),
    Route("GET", "/ipyparallel/clusters", clusters.models, "clusters"),
    Route("POST", "/ipyparallel/clusters", clusters.create, "clusters"),
    Route("GET", "/ipyparallel/clusters/{key:[^/]+}", clusters.model, "clusters"),
    Route("POST", "/ipyparallel/clusters/{key:[^/]+}", clusters.start_one, "clusters"),
    Route("DELETE", "/ipyparallel/clusters/{key:[^/]+}", clusters.remove, "clusters"),
    # Time travel
    Route("GET", "/api/history/versions" + PATH, history.versions, "history"),
    Route("GET", "/api/history/diff" + PATH, history.diff, "history"),
    Route("POST", "/api/history/restore" + PATH, history.restore, "restore"),
    Route("GET", "/api/history/deleted" + PATH, history.deleted, "history"),
    Route("POST", "/api/history/undelete", history.undelete, "restore"),
    Route("POST", "/api/history/rebuild", history.rebuild, "history"),
    Route("GET", "/api/history/log", history.log, "history"),
    Route("GET", "/api/history/feed", history.feed, "history"),
)


def make_app(services: Services, routes: Sequence[Route] = ROUTES) -> web.Application:
    """The application: all of `routes` behind the guard, below the configured base URL."""
    settings = services.config
    guard = Guard(services)
    metrics = measuring.Metrics(services, guard.pattern_of)
    middlewares = [metrics.middleware(), guard.middleware()]
    app = web.Application(middlewares=middlewares, client_max_size=settings.max_body_size)
    app.on_response_prepare.append(guard.dress)
    app[SERVICES] = services
    app[DOORMAN] = guard.doorman
    app[SOCKETS] = Sockets()
    app[TRIOS] = {}
    app[measuring.METRICS] = metrics
    app[openapi.SPEC] = openapi.Spec(routes, settings.base_url)
    app.on_shutdown.append(end_all)
    for route in routes:
        is_open = route.handler is measuring.get and settings.metrics_without_auth
        guard.add(app, replace(route, access=Access.PUBLIC) if is_open else route)
    return app


async def end_all(app: web.Application) -> None:
    """The server stops: everything that has no end by itself ends, and all programs that were started."""
    app[SERVICES].stop.set()
    await close_sockets(app)
    ending = (end(app) for end in (convert.close, channels.close, terminals.close, clusters.close))
    for result in await asyncio.gather(*ending, return_exceptions=True):
        if isinstance(result, BaseException):
            logger.error("Something could not be ended: %s", result, exc_info=result)
