"""`evstore serve` with a heart: a task that wants to run every 5 ms and notes how late it ran.

    python -m bench.heartbeat serve FOLDER ...         takes the flags of `evstore serve`

SIGUSR1 makes it write the delays since the last one, in ms, to the file that BENCH_HEARTBEAT names.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from evstore.cli import main, session
from evstore.cli.composition import Greeting, run
from evstore.config import Config
from evstore.store.store import Store

BEAT = 0.005  # seconds


async def beat(file: Path) -> None:
    late: list[float] = []

    def write() -> None:
        part = file.with_suffix(".part")
        part.write_text(json.dumps(late))
        os.replace(part, file)
        late.clear()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, write)
    while True:
        due = time.perf_counter() + BEAT
        await asyncio.sleep(BEAT)
        late.append((time.perf_counter() - due) * 1000)


async def run_with_heart(
    config: Config, opening: Callable[[], Coroutine[Any, Any, Store]], greeting: Greeting
) -> None:
    heart = asyncio.create_task(beat(Path(os.environ["BENCH_HEARTBEAT"])))
    try:
        await run(config, opening, greeting)
    finally:
        heart.cancel()


if __name__ == "__main__":
    session.run = run_with_heart
    main()
