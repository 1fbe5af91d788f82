"""The patterns of one ignore file, with the meaning that git gives them (gitignore(5); git's dir.c and wildmatch.c).

The translation is our own: pathspec takes other decisions than git for usual patterns (it leaves out the directory
for `data/**`, so that `!data/keep` after it does nothing), fails on a file for one odd line, and makes regular
expressions of which a hostile one runs for years. Here a star never gives back what it has taken, where
that can't lead to a match, so matching takes a time linear in the name for each star.
One difference to git is wanted: `?` and `[...]` mean a character, and not a byte of its UTF-8.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

MAX_PATTERNS = 1000  # in one file; every path is held against all of them
MAX_LENGTH = 1000  # characters of one pattern
SPECIAL = re.compile(r"[*?\[\\]")
CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, (*range(32), 127))),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": string.whitespace,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}
ONE = r"[^/]"  # a character of a name
STAR = r"[^/]*"
REST = r".*"
DEEP = r"(?:[^/]*/)*?"  # any number of directories
DEEPER = r"(?:[^/]*/)+?"  # at least one


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the file."""

    line: int  # from 1
    includes: bool  # after a `!`: what it names is not ignored
    only_directories: bool
    by_name: bool  # whether it is held against the name alone, at any depth
    pattern: str  # without what the other fields say
    regex: re.Pattern[str] | None  # None: there are no wildcards in it

    def matches(self, path: str, name: str) -> bool:
        text = name if self.by_name else path
        return text == self.pattern if self.regex is None else self.regex.fullmatch(text) is not None


class Patterns:
    """All rules of a file. `complete` is false when it has more than can be regarded."""

    def __init__(self, text: str) -> None:
        rules = list(islice(_rules(text), MAX_PATTERNS + 1))
        self.complete = len(rules) <= MAX_PATTERNS and not any(
            len(line) > MAX_LENGTH for line in text.split("\n")
        )
        # most rules are a name, a path or the end of a name: those are looked up; each list has the last line first
        self._names: dict[str, list[Rule]] = {}
        self._paths: dict[str, list[Rule]] = {}
        self._endings: dict[str, list[Rule]] = {}
        self._others: list[Rule] = []
        for rule in reversed(rules[:MAX_PATTERNS]):
            self._place_of(rule).append(rule)
        self._lengths = sorted({len(ending) for ending in self._endings})

    def decide(self, path: str, name: str, is_directory: bool) -> Rule | None:
        """The last rule about `path` (relative to the file's directory; `name` is its last name), if there is one."""
        found: Rule | None = None
        for rules in self._candidates(path, name):
            for rule in rules:
                if found is not None and rule.line < found.line:
                    break
                if (is_directory or not rule.only_directories) and rule.matches(path, name):
                    found = rule
                    break
        return found

    def _place_of(self, rule: Rule) -> list[Rule]:
        if rule.regex is None:
            return (self._names if rule.by_name else self._paths).setdefault(rule.pattern, [])
        ending = rule.pattern[1:]
        if rule.by_name and rule.pattern[0] == "*" and SPECIAL.search(ending) is None:
            return self._endings.setdefault(ending, [])
        return self._others

    def _candidates(self, path: str, name: str) -> Iterator[list[Rule]]:
        """The rules that may match, in lists."""
        if (rules := self._names.get(name)) is not None:
            yield rules
        if (rules := self._paths.get(path)) is not None:
            yield rules
        for length in self._lengths:
            if (rules := self._endings.get(name[len(name) - length :])) is not None and length <= len(name):
                yield rules
        yield self._others


def _rules(text: str) -> Iterator[Rule]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if line and not line.startswith("#") and len(line) <= MAX_LENGTH:
            rule = _rule(_trimmed(line.removesuffix("\r").partition("\0")[0]), number)
            if rule is not None:
                yield rule


def _trimmed(line: str) -> str:
    """Without spaces at the end, but for one after a backslash."""
    end = position = 0
    while position < len(line):
        if line[position] == "\\":
            position += 1
            if position == len(line):
                return line
            end = position + 1
        elif line[position] != " ":
            end = position + 1
        position += 1
    return line[:end]


def _rule(pattern: str, line: int) -> Rule | None:
    includes = pattern.startswith("!")
    pattern = pattern[includes:]
    only_directories = pattern.endswith("/")
    pattern = pattern[: len(pattern) - only_directories]
    by_name = "/" not in pattern
    pattern = pattern.removeprefix("/")
    if not pattern:
        return None
    regex = None
    if SPECIAL.search(pattern) is not None and (regex := _translate(pattern)) is None:
        return None
    return Rule(line, includes, only_directories, by_name, pattern, regex)


def _translate(pattern: str) -> re.Pattern[str] | None:
    """None when nothing can match it."""
    special = SPECIAL.search(pattern)
    start = special.start() if special else len(pattern)
    # git compares what is before the first wildcard and goes on as if the pattern began there: so `/a**` means `/a` and `**`
    parts = _parts(pattern[start:])
    return None if parts is None else re.compile(re.escape(pattern[:start]) + _join(parts), re.DOTALL)


def _parts(pattern: str) -> list[str] | None:
    """The regular expressions of its wildcards and characters, one after the other."""
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        match pattern[position]:
            case "*":
                part, position = _star(pattern, position)
            case "?":
                part, position = ONE, position + 1
            case "[":
                if (found := _set(pattern, position + 1)) is None:
                    return None
                part, position = found
            case "\\":
                if position + 1 == len(pattern):
                    return None
                part, position = re.escape(pattern[position + 1]), position + 2
            case character:
                part, position = re.escape(character), position + 1
        parts.append(part)
    return parts


def _star(pattern: str, start: int) -> tuple[str, int]:
    """The regular expression of the stars at `start`, and where it goes on after them."""
    rest = pattern[start:].lstrip("*")
    end = len(pattern) - len(rest)
    if end - start > 1 and (start == 0 or pattern[start - 1] == "/"):
        if not rest:
            return REST, end
        if rest.startswith("/"):
            return DEEP, end + 1
        if rest.startswith("\\/"):
            return DEEPER, end + 2
    return STAR, end


def _set(pattern: str, position: int) -> tuple[str, int] | None:
    """The regular expression of what stands in brackets from `position` on, and where they end.

    None when they don't, or name no class: then git lets the pattern match nothing.
    """
    negated = pattern[position : position + 1] in ("!", "^")
    position += negated
    ranges: list[tuple[str, str]] = []
    before = ""  # the character that a range may begin with
    first = True
    while first or pattern[position : position + 1] != "]":
        first = False
        character = pattern[position : position + 1]
        if character == "\\":
            position += 1
            before = character = pattern[position : position + 1]
        elif character == "-" and before and pattern[position + 1 : position + 2] not in ("", "]"):
            position += 1
            if pattern[position] == "\\":
                position += 1
            character = pattern[position : position + 1]
            ranges.append((before, character))
            position += 1
            before = ""
            if not character:
                return None
            continue
        elif pattern.startswith("[:", position) and (end := pattern.find("]", position + 2)) > 0:
            name = pattern[position + 2 : end]
            if name.endswith(":"):
                if name[:-1] not in CLASSES:
                    return None
                ranges += [(one, one) for one in CLASSES[name[:-1]]]
                position, before = end + 1, ""
                continue
        if not character:
            return None
        ranges.append((character, character))
        before = character
        position += 1
    return _character(ranges, negated), position + 1


def _character(ranges: list[tuple[str, str]], negated: bool) -> str:
    """A character of one of the ranges, but never a slash."""
    spans = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if negated:
        return f"[^/{spans}]"
    return f"(?!/)[{spans}]" if spans else "(?!)"


def _join(parts: list[str]) -> str:
    """One regular expression. It gives up for good what it has left behind, as far as that can't be needed.

    What follows a star is best found as early as possible, for the next star may take up to where
    it would have been found later; likewise for what is between two `**`.
    """
    runs: list[tuple[str, list[str]]] = [("", [])]
    for part in parts:
        if part in (DEEP, DEEPER):
            runs.append((part, []))
        else:
            runs[-1][1].append(part)
    *most, (deep, last) = ((deep, _join_run(run)) for deep, run in runs)
    return "".join(f"(?>{deep}{run})" for deep, run in most) + deep + last


def _join_run(parts: list[str]) -> str:
    chunks = [""]
    for part in parts:
        if part == STAR:
            chunks.append("")
        else:
            chunks[-1] += part
    first, *others = chunks
    if not others:
        return first
    return first + "".join(f"(?>{STAR}?{chunk})" for chunk in others[:-1]) + STAR + others[-1]
