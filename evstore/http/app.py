"""The whole HTTP surface on one screen: every route is a line of ROUTES, and nothing is served besides.

A route's path stands below the base URL. GET answers HEAD too; OPTIONS is answered for every
path by the guard (`guard.py`), which also decides who gets in, before a handler runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from aiohttp import web

from evstore.http import (
    channels,
    checkpoints,
    contents,
    files,
    history,
    kernels,
    kernelspecs,
    lab,
    labapi,
    login,
    misc,
    resolve,
    sessions,
    static,
    status,
)
from evstore.http.auth import DOORMAN
from evstore.http.guard import Guard
from evstore.http.routing import Access, Route
from evstore.http.services import SERVICES, Services
from evstore.http.sockets import SOCKETS, close_sockets

ROUTES: tuple[Route, ...] = (
    # The server itself
    Route("GET", "/", misc.root, Access.PAGE),
    Route("GET", "/api", misc.version, Access.PUBLIC),
    Route("GET", "/api/me", login.me),
    Route("PATCH", "/api/me", login.update_me),
    Route("GET", "/api/status", status.status, activity=False),
    Route("GET", "/api/resolvePath", resolve.resolve, activity=False),
    Route("GET", "/api/nbconvert", misc.exporters),
    Route("POST", "/api/shutdown", misc.shutdown),
    Route("POST", "/api/security/csp-report", misc.csp_report, xsrf=False, activity=False),
    Route("GET", "/api/events/subscribe", misc.events),
    Route("GET", "/lsp/status", misc.language_servers, activity=False),
    Route("GET", "/login", login.login_page, Access.PUBLIC),
    Route("POST", "/login", login.login, Access.PUBLIC, form=True),
    Route("GET", "/logout", login.logout, Access.PUBLIC),
    Route("GET", "/favicon.ico", static.favicon, Access.PUBLIC),
    Route("GET", "/static/{path:.+}", static.own_file, Access.PUBLIC),
    # JupyterLab
    Route("GET", "/lab", lab.page, Access.PAGE),
    Route("GET", "/lab/{rest:.*}", lab.page, Access.PAGE),
    Route("GET", "/lab/tree/{tree:.*}", lab.page, Access.PAGE),
    Route("GET", "/lab/workspaces/{workspace:[a-zA-Z0-9_-]+}", lab.page, Access.PAGE),
    Route("GET", "/lab/workspaces/{workspace:[a-zA-Z0-9_-]+}/tree/{tree:.*}", lab.page, Access.PAGE),
    Route("GET", "/doc", lab.page, Access.PAGE),
    Route("GET", "/doc/tree/{tree:.*}", lab.page, Access.PAGE),
    Route("GET", "/doc/workspaces/{workspace:[a-zA-Z0-9_-]+}", lab.page, Access.PAGE),
    Route("GET", "/doc/workspaces/{workspace:[a-zA-Z0-9_-]+}/tree/{tree:.*}", lab.page, Access.PAGE),
    Route("GET", "/static/lab/{path:.+}", lab.bundle, Access.PUBLIC),
    Route("GET", "/lab/extensions/{path:.+}", lab.extension, Access.ASSET),
    Route("GET", "/lab/api/themes/{path:.+}", lab.theme, Access.ASSET),
    Route("GET", "/lab/api/settings{slash:/?}", labapi.settings),
    Route("GET", "/lab/api/settings/{name:.+}", labapi.setting),
    Route("PUT", "/lab/api/settings/{name:.+}", labapi.save_setting),
    Route("GET", "/api/config/{name:[a-zA-Z0-9_]+}", labapi.section),
    Route("PUT", "/api/config/{name:[a-zA-Z0-9_]+}", labapi.replace_section),
    Route("PATCH", "/api/config/{name:[a-zA-Z0-9_]+}", labapi.update_section),
    Route("GET", "/lab/api/workspaces{slash:/?}", labapi.workspaces),
    Route("GET", "/lab/api/workspaces/{name:.+}", labapi.workspace),
    Route("PUT", "/lab/api/workspaces/{name:.+}", labapi.save_workspace),
    Route("DELETE", "/lab/api/workspaces/{name:.+}", labapi.delete_workspace),
    Route("GET", "/lab/api/translations{slash:/?}", labapi.translations),
    Route("GET", "/lab/api/translations/{locale:.+}", labapi.translation),
    Route("GET", "/lab/api/listings/{path:.+}", labapi.listing),
    Route("GET", "/lab/api/licenses{slash:/?}", labapi.licenses),
    Route("GET", "/lab/api/extensions", labapi.extensions),
    Route("GET", "/lab/api/plugins", labapi.plugins),
    Route("GET", "/lab/api/build", labapi.build),
    Route("GET", "/lab/api/news", labapi.news),
    Route("GET", "/lab/api/update", labapi.update),
    # Contents and checkpoints
    Route("GET", "/api/contents{path:.*}/checkpoints", checkpoints.get),
    Route("POST", "/api/contents{path:.*}/checkpoints", checkpoints.post),
    Route("POST", "/api/contents{path:.*}/checkpoints/{checkpoint:[^/]+}", checkpoints.restore),
    Route("DELETE", "/api/contents{path:.*}/checkpoints/{checkpoint:[^/]+}", checkpoints.delete),
    Route("POST", "/api/contents{path:.*}/trust", contents.trust),
    Route("GET", "/api/contents{path:.*}", contents.get),
    Route("PUT", "/api/contents{path:.*}", contents.put),
    Route("POST", "/api/contents{path:.*}", contents.post),
    Route("PATCH", "/api/contents{path:.*}", contents.patch),
    Route("DELETE", "/api/contents{path:.*}", contents.delete),
    Route("GET", "/files/{path:.*}", files.get, Access.PAGE, referer=True),
    # Kernels and sessions
    Route("GET", "/api/kernelspecs", kernelspecs.list_all),
    Route("GET", "/api/kernelspecs/{name}", kernelspecs.get),
    Route("GET", "/kernelspecs/{name}/{file:.+}", kernelspecs.resource, Access.ASSET),
    Route("GET", "/api/kernels", kernels.list_all),
    Route("POST", "/api/kernels", kernels.start),
    Route("GET", "/api/kernels/{kernel_id}", kernels.get),
    Route("DELETE", "/api/kernels/{kernel_id}", kernels.delete),
    Route("POST", "/api/kernels/{kernel_id}/interrupt", kernels.interrupt),
    Route("POST", "/api/kernels/{kernel_id}/restart", kernels.restart),
    Route("GET", "/api/kernels/{kernel_id}/channels", channels.channels),
    Route("GET", "/api/sessions", sessions.list_all),
    Route("POST", "/api/sessions", sessions.open_session),
    Route("GET", "/api/sessions/{session_id}", sessions.get),
    Route("PATCH", "/api/sessions/{session_id}", sessions.patch),
    Route("DELETE", "/api/sessions/{session_id}", sessions.delete),
    # Time travel
    Route("GET", "/api/history/versions{path:.*}", history.versions),
    Route("GET", "/api/history/diff{path:.*}", history.diff),
    Route("POST", "/api/history/restore{path:.*}", history.restore),
    Route("GET", "/api/history/deleted{path:.*}", history.deleted),
    Route("POST", "/api/history/undelete", history.undelete),
    Route("POST", "/api/history/rebuild", history.rebuild),
    Route("GET", "/api/history/log", history.log),
    Route("GET", "/api/history/feed", history.feed),
)


def make_app(services: Services, routes: Sequence[Route] = ROUTES) -> web.Application:
    """The application: all of `routes` behind the guard, below the configured base URL."""
    config = services.config
    guard = Guard(services)
    app = web.Application(middlewares=[guard.middleware()], client_max_size=config.max_body_size)
    app.on_response_prepare.append(guard.dress)
    app[SERVICES] = services
    app[DOORMAN] = guard.doorman
    app[SOCKETS] = weakref.WeakSet()
    app.on_shutdown.append(close_sockets)
    app.on_shutdown.append(channels.close_kernels)
    for route in routes:
        guard.add(app, route)
    return app
