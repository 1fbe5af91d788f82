"""A worker from inside: `python -P -m evstore.processes.convert.worker`. It ends when its standard input does.

It keeps to itself: its folder is an empty one of its own (TMPDIR), and what is written to standard output
by nbconvert, or by a program that it starts, does not get between the frames.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import resource
import signal
import tempfile
from dataclasses import asdict
from typing import Any, BinaryIO, Literal

from evstore.processes.convert import frames
from evstore.processes.convert.jobs import Job, Pictures

MEMORY = 4 * 1024**3  # bytes of data that a worker, and each program that it starts, may have
GRACE = 5  # seconds past the time limit, after which a worker ends that nobody has killed


def main() -> None:
    """Answer job after job."""
    jobs, answers = _private(0, "rb"), _private(1, "wb")
    os.chdir(tempfile.gettempdir())
    _set_limit(resource.RLIMIT_DATA, MEMORY)
    _set_limit(resource.RLIMIT_CORE, 0)
    logging.disable()
    os.environ |= {"openin_any": "p", "openout_any": "p"}  # TeX reads and writes here only, and its own files
    while (frame := frames.read(jobs)) is not None:
        job, body = frame
        # Ends this process, whatever it does: a regular expression that runs wild does not let Python
        # handle signals, and the server may have been killed.
        signal.alarm(math.ceil(job["limit"]) + GRACE)
        header, output = answer(job, body)
        signal.alarm(0)
        for piece in frames.pack(header, output):
            answers.write(piece)
        answers.flush()


def answer(job: dict[str, Any], body: bytes) -> tuple[frames.Header, bytes]:
    """What a job comes to.

    Its `state` is done, or with a `message` invalid (this is no notebook), failed or missing (what it takes).
    """
    try:
        from evstore.processes.convert import (
            exporters,  # here, because a broken nbconvert must become an answer, too
        )
    except ImportError as error:
        message = f"nbconvert can't be used here ({error}): pip install nbconvert."
        return {"state": "missing", "message": message}, b""
    try:
        if job["do"] == "list":
            return {"state": "done", "exporters": exporters.mimetypes_of_exporters()}, b""
        if job["do"] == "pictures":
            return {"state": "done", "pictures": exporters.pictures_in(job["format"], body)}, b""
        pictures = _taken_apart(body, job.pop("sizes"))
        body = pictures.pop("")
        del job["do"], job["limit"]
        converted = asdict(exporters.export(Job(**job, body=body), pictures))
        output = converted.pop("body")
        return {"state": "done", **converted}, output
    except exporters.BadNotebook as error:
        return {"state": "invalid", "message": str(error)}, b""
    except exporters.Missing as error:
        return {"state": "missing", "message": str(error)}, b""
    except exporters.NotConverted as error:
        return {"state": "failed", "message": str(error)}, b""
    except MemoryError:
        return {"state": "failed", "message": "The conversion takes more memory than it may have."}, b""
    except Exception as error:
        return {"state": "failed", "message": f"The conversion failed ({type(error).__name__})."}, b""


def _taken_apart(body: bytes, sizes: dict[str, int]) -> Pictures:
    """The notebook, named "", and the pictures that go with it: they come one after the other."""
    parts: Pictures = {}
    start = 0
    for name, size in sizes.items():
        parts[name] = body[start : start + size]
        start += size
    return parts


def _private(descriptor: int, mode: Literal["rb", "wb"]) -> BinaryIO:
    """A pipe as this process got it; whoever uses its number from now on gets nothing."""
    kept = os.dup(descriptor)  # which programs that are started don't inherit
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, descriptor)
    os.close(nothing)
    return os.fdopen(kept, mode)


def _set_limit(which: int, limit: int) -> None:
    _, hard = resource.getrlimit(which)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    with contextlib.suppress(OSError, ValueError):  # not on every system
        resource.setrlimit(which, (limit, limit))


if __name__ == "__main__":
    main()
