"""Kernelspecs, and the files that come with them: logos, kernel.js."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from evstore.config import Config
from evstore.http.reply import json_reply
from evstore.http.services import services
from evstore.processes.kernels.specs import KernelSpec

MONTH = 30 * 24 * 60 * 60  # seconds
SANDBOX = {"Content-Security-Policy": "sandbox"}  # what another server sends is no page of ours


def kernelspec_model(spec: KernelSpec, config: Config) -> dict[str, Any]:
    """Jupyter's kernelspec model. Resources are addresses."""
    folder = config.url(f"kernelspecs/{quote(spec.name)}")
    resources = {name: f"{folder}/{quote(file)}" for name, file in spec.resources.items()}
    return {"name": spec.name, "spec": spec.spec, "resources": resources}


async def list_all(request: web.Request) -> web.Response:
    """GET /api/kernelspecs."""
    kernelspecs, config = services(request).kernelspecs, services(request).config
    specs = await kernelspecs.all()
    models = {name: kernelspec_model(spec, config) for name, spec in specs.items()}
    return json_reply({"default": kernelspecs.default_among(specs), "kernelspecs": models})


async def get(request: web.Request) -> web.Response:
    """GET /api/kernelspecs/{name}."""
    spec = await services(request).kernelspecs.get(request.match_info["name"])
    return json_reply(kernelspec_model(spec, services(request).config))


async def resource(request: web.Request) -> web.StreamResponse:
    """GET /kernelspecs/{name}/{file}."""
    name, file = request.match_info["name"], request.match_info["file"]
    found = await services(request).kernelspecs.resource(name, file)
    headers = {"Cache-Control": f"max-age={MONTH}"} if file.lower().endswith(".png") else {}
    if isinstance(found, Path):
        return web.FileResponse(found, headers=headers)
    kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
    return web.Response(body=found, content_type=kind, headers=headers | SANDBOX)
