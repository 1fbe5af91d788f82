"""What cells put out after their page was closed, for a page that is opened in the middle.

Such a page reads the document, finds its kernel's executions here, and follows those that nobody
else does: it asks again and again for what is new. As long as it asks, nothing is written into the
document behind its back.
"""

from __future__ import annotations

import asyncio
import re
from math import isfinite
from typing import Any

from aiohttp import web

from evstore.core.errors import Invalid
from evstore.http.reply import json_reply
from evstore.http.services import services
from evstore.processes.kernels.execution import Execution, State, outputs

LOOK = 0.2  # seconds between looks for news
LONGEST = 20.0  # seconds that a page may wait for news


def execution_model(execution: Execution) -> dict[str, Any]:
    """Which cell it is, and how far; `abandoned` when nobody sees what it puts out, and somebody should."""
    is_attended = execution.is_attended(asyncio.get_running_loop().time())
    is_over = execution.state is State.DONE and not execution.is_unsettled
    return {
        "id": execution.id,
        "cell": execution.cell,
        "state": execution.state,
        "execution_count": execution.count,
        "attended": is_attended,
        "abandoned": not is_over and not is_attended,
    }


async def list_all(request: web.Request) -> web.Response:
    """GET /api/kernels/{id}/executions, the oldest first."""
    kernel = services(request).kernels.get(request.match_info["kernel_id"])
    return json_reply([execution_model(execution) for execution in kernel.executions])


async def follow(request: web.Request) -> web.Response:
    """GET /api/kernels/{id}/executions/{execution_id}?after=&wait=: the outputs since `after`.

    `after` is the `cursor` of the answer before; without it, or when what was read before is void
    (cleared, or a display was updated), all outputs so far come, and `reset` is true. Text may go on
    where the text before it ended. When there is nothing new, the answer waits up to `wait` seconds.
    """
    app = services(request)
    kernel = app.kernels.get(request.match_info["kernel_id"])
    execution = kernel.executions.get(request.match_info["execution_id"])
    epoch, count = _cursor(request.query.get("after", ""))
    with execution.followed():
        await _wait(request, execution, (epoch, count), _seconds(request.query.get("wait", "0")))
    pieces = execution.after(epoch, count)
    is_reset = pieces is None
    pieces = execution.snapshot().pieces if pieces is None else tuple(pieces)
    if execution.state is State.DONE and not pieces and not is_reset and execution.read_to_end_at is None:
        execution.read_to_end_at = asyncio.get_running_loop().time()
    model = execution_model(execution) | {
        "reset": is_reset,
        "cursor": "{}.{}".format(*execution.cursor),
    }
    model["outputs"] = await asyncio.to_thread(outputs, pieces)
    return json_reply(model)


async def _wait(request: web.Request, execution: Execution, after: tuple[int, int], seconds: float) -> None:
    """Wait for news. Raises ConnectionResetError when the page is gone."""
    stop = services(request).stop
    loop = asyncio.get_running_loop()
    deadline, version = loop.time() + seconds, execution.version
    while execution.cursor == after and execution.state is not State.DONE and execution.version == version:
        if loop.time() >= deadline or stop.is_set():
            return
        await asyncio.sleep(LOOK)
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("The page is gone")


def _cursor(text: str) -> tuple[int, int]:
    """What a cursor means; the beginning for none. Raises Invalid."""
    if not text:
        return -1, 0
    found = re.fullmatch(r"(\d{1,18})\.(\d{1,18})", text, re.ASCII)
    if found is None:
        raise Invalid("after must be the cursor of an earlier answer.")
    return int(found[1]), int(found[2])


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise Invalid("wait must be a number of seconds.") from None
    if not isfinite(seconds):
        raise Invalid("wait must be a number of seconds.")
    return min(max(seconds, 0.0), LONGEST)
