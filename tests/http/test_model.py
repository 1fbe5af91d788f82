"""Random clients against a simple model in memory: every past offset reads back exactly, before and after a rebuild.

The model knows the tree as paths, each with the identity and the text of what is there; the
server is driven through its HTTP API alone.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.helpers import Reply, Server, make_services, run_test_server

NAMES = ["a", "b", "c.txt", "n.ipynb", "é #%+?"]
names = st.sampled_from(NAMES)
texts = st.sampled_from(["", "one", "two", "three\r\n", "x" * 5000])
picks = st.integers(0, 1 << 30)


@dataclass(frozen=True)
class Thing:
    """What stands at a path: who it is, and its text (None for a directory)."""

    id: int
    text: str | None


Tree = dict[str, Thing]


def below(tree: Tree, path: str) -> Tree:
    """What is inside `path`, by its path from there on."""
    prefix = f"{path}/" if path else ""
    return {
        name[len(prefix) :]: thing for name, thing in tree.items() if name.startswith(prefix) and name != path
    }


def join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def parent(path: str) -> str:
    return path.rpartition("/")[0]


class Clients(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory()
        self.server: Server = self.loop.run_until_complete(self._start())
        self.tree: Tree = {}
        self.past: dict[int, Tree] = {}
        self.deleted: dict[int, tuple[Thing, Tree]] = {}
        self.checkpoints: list[tuple[int, int, str]] = []
        self.count = 0

    async def _start(self) -> Server:
        services = await self.stack.enter_async_context(make_services(Path(self.folder.name)))
        return await self.stack.enter_async_context(run_test_server(services))

    # -- helpers -----------------------------------------------------------------------

    def ask(self, method: str, path: str, model: Any = None) -> Reply:
        kwargs = {} if model is None else {"json": model}
        reply = self.loop.run_until_complete(self.server.fetch(method, f"api/{path}", **kwargs))
        assert reply.status < 500, reply.text
        return reply

    def contents(self, method: str, path: str, model: Any = None, tail: str = "") -> Reply:
        return self.ask(method, f"contents/{quote(path)}{tail}", model)

    def new(self, text: str | None) -> Thing:
        self.count += 1
        return Thing(self.count, text)

    def noted(self, reply: Reply) -> None:
        """Remember what the tree is like at the offset that a write gave."""
        self.past[int(reply.headers["Evstore-Offset"])] = dict(self.tree)

    def directory(self, pick: int) -> str:
        found = ["", *sorted(path for path, thing in self.tree.items() if thing.text is None)]
        return found[pick % len(found)]

    def entry(self, pick: int) -> str:
        return sorted(self.tree)[pick % len(self.tree)]

    def served(self, path: str = "", at: int | None = None) -> dict[str, str | None]:
        """The tree as the server shows it."""
        reply = self.contents("GET", path, tail=f"?type=directory{'' if at is None else f'&at={at}'}")
        assert reply.status == 200, reply.text
        found: dict[str, str | None] = {}
        for member in reply.json()["content"]:
            if member["type"] == "directory":
                found[member["path"]] = None
                found |= self.served(member["path"], at)
            else:
                tail = f"?type=file&format=text{'' if at is None else f'&at={at}'}"
                found[member["path"]] = self.contents("GET", member["path"], tail=tail).json()["content"]
        return found

    # -- what clients do ---------------------------------------------------------------

    @rule(folder=picks, name=names, text=texts)
    def save(self, folder: int, name: str, text: str) -> None:
        path = join(self.directory(folder), name)
        reply = self.contents("PUT", path, {"type": "file", "format": "text", "content": text})
        there = self.tree.get(path)
        if there is not None and there.text is None:
            assert reply.status == 400
            return
        assert reply.status == (201 if there is None else 200)
        self.tree[path] = self.new(text) if there is None else Thing(there.id, text)
        self.noted(reply)

    @rule(folder=picks, name=names)
    def make_directory(self, folder: int, name: str) -> None:
        path = join(self.directory(folder), name)
        reply = self.contents("PUT", path, {"type": "directory"})
        there = self.tree.get(path)
        if there is not None and there.text is not None:
            assert reply.status == 400
            return
        assert reply.status == 201
        self.tree.setdefault(path, self.new(None))
        self.noted(reply)

    @precondition(lambda self: self.tree)
    @rule(source=picks, folder=picks, name=names)
    def move(self, source: int, folder: int, name: str) -> None:
        old, new = self.entry(source), join(self.directory(folder), name)
        reply = self.contents("PATCH", old, {"path": new})
        if new == old:
            assert reply.status == 200
        elif new in self.tree:
            assert reply.status == 409
            return
        elif new.startswith(f"{old}/"):
            assert reply.status == 400
            return
        else:
            assert reply.status == 200
            inside = below(self.tree, old)
            moved = self.tree.pop(old)
            for name_ in inside:
                del self.tree[join(old, name_)]
            self.tree[new] = moved
            self.tree |= {join(new, name_): thing for name_, thing in inside.items()}
        self.noted(reply)

    @precondition(lambda self: self.tree)
    @rule(source=picks, folder=picks)
    def copy(self, source: int, folder: int) -> None:
        old, into = self.entry(source), self.directory(folder)
        reply = self.contents("POST", into, {"copy_from": old})
        if into == old or into.startswith(f"{old}/"):
            assert reply.status == 400
            return
        assert reply.status == 201
        new = reply.json()["path"]
        assert parent(new) == into
        assert new not in self.tree
        copies = {join(new, name): self.new(thing.text) for name, thing in below(self.tree, old).items()}
        self.tree |= {new: self.new(self.tree[old].text)} | copies
        self.noted(reply)

    @precondition(lambda self: self.tree)
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        path = self.entry(pick)
        reply = self.contents("DELETE", path)
        assert reply.status == 204
        inside = below(self.tree, path)
        thing = self.tree.pop(path)
        for name in inside:
            del self.tree[join(path, name)]
        self.deleted[thing.id] = (thing, inside)
        self.noted(reply)
        newest = self.ask("GET", "history/deleted/?limit=1").json()["deleted"][0]
        assert newest["path"] == path
        self.entries = getattr(self, "entries", {}) | {thing.id: newest["entry"]}

    @precondition(lambda self: self.deleted)
    @rule(pick=picks, folder=picks)
    def undelete(self, pick: int, folder: int) -> None:
        number = sorted(self.deleted)[pick % len(self.deleted)]
        path = join(self.directory(folder), f"back{number}")
        reply = self.ask("POST", "history/undelete", {"entry": self.entries[number], "path": path})
        assert reply.status == (409 if path in self.tree else 200), reply.text
        if path in self.tree:
            return
        thing, inside = self.deleted.pop(number)
        self.tree |= {path: thing} | {join(path, name): one for name, one in inside.items()}
        self.noted(reply)

    @precondition(lambda self: any(thing.text is not None for thing in self.tree.values()))
    @rule(pick=picks)
    def checkpoint(self, pick: int) -> None:
        files = sorted(path for path, thing in self.tree.items() if thing.text is not None)
        path = files[pick % len(files)]
        reply = self.contents("POST", path, tail="/checkpoints")
        assert reply.status == 201
        thing = self.tree[path]
        assert thing.text is not None
        self.checkpoints.append((thing.id, int(reply.json()["id"]), thing.text))
        self.noted(reply)

    @precondition(lambda self: self.checkpoints)
    @rule(pick=picks)
    def restore_checkpoint(self, pick: int) -> None:
        number, offset, text = self.checkpoints[pick % len(self.checkpoints)]
        path = next((path for path, thing in self.tree.items() if thing.id == number), None)
        if path is None:
            return
        reply = self.contents("POST", path, tail=f"/checkpoints/{offset}")
        assert reply.status == 204
        self.tree[path] = Thing(number, text)
        self.noted(reply)

    @precondition(lambda self: self.past)
    @rule(moment=picks, pick=picks)
    def restore(self, moment: int, pick: int) -> None:
        offsets = sorted(self.past)
        offset = offsets[moment % len(offsets)]
        paths = ["", *sorted(self.tree), *sorted(self.past[offset])]
        path = paths[pick % len(paths)]
        then = self.past[offset]
        source = self._meant(path, then)
        reply = self.ask("POST", f"history/restore/{quote(path)}", {"at": offset})
        if source is None:
            assert reply.status == 404, reply.text
            return
        kinds = {self._is_directory(self.tree, path), self._is_directory(then, source)}
        if path in self.tree and len(kinds) == 2:
            assert reply.status == 400, reply.text
            return
        if path and parent(path) and self._is_directory(self.tree, parent(path)) is not True:
            assert reply.status in (400, 404), reply.text
            return
        assert reply.status == 200, reply.text
        self._restore(path, source, then)
        self.deleted.clear()  # what a restore deletes and brings back is not followed here
        self.noted(reply)
        assert self.served() == {name: thing.text for name, thing in self.tree.items()}

    def _is_directory(self, tree: Tree, path: str) -> bool | None:
        return True if not path else tree[path].text is None if path in tree else None

    def _meant(self, path: str, then: Tree) -> str | None:
        """Where what is meant by `path` was then."""
        if not path:
            return ""
        present = self.tree.get(path)
        if present is not None:
            for name, thing in then.items():
                if thing.id == present.id:
                    return name
        return path if path in then else None

    def _restore(self, path: str, source: str, then: Tree) -> None:
        inside = {join(path, name) for name in below(self.tree, path)}
        outside = {name: thing for name, thing in self.tree.items() if name != path and name not in inside}
        alive = {thing.id for thing in outside.values()}
        top = self.tree.get(path)
        self.tree = dict(outside)
        if path:
            was = then[source]
            kept = top.id if top is not None else was.id
            self.tree[path] = Thing(kept, was.text) if kept not in alive else self.new(was.text)
        for name, thing in below(then, source).items():
            self.tree[join(path, name)] = self.new(thing.text) if thing.id in alive else thing

    # -- what must always hold -----------------------------------------------------------

    @invariant()
    def the_root_lists_what_the_model_has(self) -> None:
        listed = {member["name"] for member in self.contents("GET", "").json()["content"]}
        assert listed == {path for path in self.tree if "/" not in path}

    def teardown(self) -> None:
        try:
            self._check_all()
            self.loop.run_until_complete(self.server.services.store.rebuild())
            self._check_all()
        finally:
            self.loop.run_until_complete(self.stack.aclose())
            self.loop.close()
            self.folder.cleanup()

    def _check_all(self) -> None:
        assert self.served() == {path: thing.text for path, thing in self.tree.items()}
        for offset, tree in self.past.items():
            assert self.served(at=offset) == {path: thing.text for path, thing in tree.items()}, offset


TestClients = Clients.TestCase
TestClients.settings = settings(
    max_examples=int(os.environ.get("EVSTORE_MODEL_EXAMPLES", "15")),
    stateful_step_count=int(os.environ.get("EVSTORE_MODEL_STEPS", "30")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
