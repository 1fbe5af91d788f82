"""The limit of what a server on aiohttp can do: nothing is looked up, checked or stored.

    python -m bench.bare PORT

GET /?size=N answers N ready bytes; PUT parses the JSON that it gets and answers a small model.
"""

from __future__ import annotations

import sys
from functools import cache

import orjson
from aiohttp import web

MODEL = orjson.dumps({"name": "name.ipynb", "path": "name.ipynb", "type": "notebook", "content": None})


@cache
def ready(size: int) -> bytes:
    return b'{"content":"%b"}' % (b"x" * size)


async def get(request: web.Request) -> web.Response:
    return web.Response(body=ready(int(request.query.get("size", "0"))), content_type="application/json")


async def put(request: web.Request) -> web.Response:
    orjson.loads(await request.read())
    return web.Response(body=MODEL, content_type="application/json")


def main() -> None:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/", get)
    app.router.add_put("/", put)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
