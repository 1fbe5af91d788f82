"""The last output of a terminal, for a client that connects later. Pure."""

from __future__ import annotations

import re
from collections import deque

SIZE = 256 * 1024  # characters that are kept; JupyterLab scrolls back 1,000 lines
RESET = "\x1bc"  # RIS: forget what is on the screen

# What programs ask a terminal: attributes, the cursor's place, modes, colours (ECMA-48, xterm's ctlseqs).
# Asked again by a replay, the answers would be typed into the shell, which did not ask.
QUESTIONS = re.compile(
    r"\x1b(?:Z"
    r"|\[[>=?]?[0-9;]*c"
    r"|\[\??[0-9;]*n"
    r"|\[\??[0-9;]*\$p"
    r"|\[>[0-9]*q"
    r"|\[\?u"
    r"|\[(?:1[1-9]|2[01])(?:;[0-9]*)*t"
    r"|\](?:4;[0-9]+|1[0-9]);\?(?:\x07|\x1b\\)"
    r"|P[$+]q[^\x1b]*\x1b\\)"
)


class Replay:
    """The end of the output: at most `size` characters, from the beginning of a line if there is one near."""

    def __init__(self, size: int = SIZE) -> None:
        self._max = size
        self._pieces: deque[str] = deque()
        self._size = 0
        self._is_cut = False

    def add(self, text: str) -> None:
        """The terminal printed `text`."""
        self._pieces.append(text)
        self._size += len(text)
        while self._size > self._max:
            self._is_cut = True
            first = self._pieces.popleft()
            self._size -= len(first)
            if (missing := self._max - self._size) > 0:  # most of it, when one piece is most of all
                self._pieces.appendleft(first[-missing:])
                self._size += missing

    @property
    def text(self) -> str:
        text = "".join(self._pieces)
        if self._is_cut:  # not in the middle of a line, or of what a program says to the terminal
            text = text[text.find("\n", 0, self._max // 4) + 1 :]
        return QUESTIONS.sub("", text)
