"""The process: a text on stdin, its page on stdout. It ends with INVALID and a sentence on stderr if the text is not valid."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import sys
from typing import Any

from evstore.core.units import MIB

INVALID = 3  # the exit code; Python's own for errors is 1
MEMORY = 1024 * MIB  # bytes
SECONDS = 20  # of the processor, should nobody be there to end it
HURTS = {RecursionError: "it is nested too deeply", MemoryError: "it takes too much memory"}
SETTINGS: dict[str, Any] = {
    "_disable_config": True,  # no docutils.conf, neither the user's nor the folder's
    "file_insertion_enabled": False,  # include, csv-table's file and url, embedded pictures
    "raw_enabled": False,
    "stylesheet_path": "",  # a path of this machine
    "embed_stylesheet": False,
    "math_output": "MathML",  # the other forms bring style sheets, or scripts from elsewhere
    "input_encoding": "utf-8",
    "output_encoding": "utf-8",
    "halt_level": 4,  # what is severe is not valid; lesser things are said in the page
    "warning_stream": False,  # and not on stderr, too
    "traceback": True,  # as exceptions
}


def limit() -> None:
    """Take from this process what it does not need: memory, time, and files to write."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """The process's exit code."""
    from docutils.core import publish_string
    from docutils.utils import SystemMessage
    from docutils.writers import get_writer_class

    text = sys.stdin.buffer.read()
    limit()
    try:
        writer = get_writer_class("html4")()
        page = publish_string(text, source_path="text", writer=writer, settings_overrides=SETTINGS)
    except (SystemMessage, UnicodeError) as error:
        sys.stderr.write(str(error).splitlines()[0])
        return INVALID
    except (RecursionError, MemoryError) as error:
        sys.stderr.write(f"{HURTS[type(error)]}.")
        return INVALID
    sys.stdout.buffer.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
