"""A client in the style of IPython 2: the notebook API, and a kernel by its three websockets. No browser.

    python -m tests.old_client http://localhost:8888/ TOKEN

makes a notebook on that server, saves, renames, copies, checkpoints and restores it, runs its cell and another one
that asks for input, and cleans up. It is written from IPython 2's own JavaScript (`notebook.js`, `kernel.js`) and
knows nothing of evstore.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

CHANNELS = ("shell", "iopub", "stdin")
PATIENCE = 60  # seconds
Message = dict[str, Any]


class OldClient:
    """One page of IPython 2, with its HTTP requests and its websockets."""

    def __init__(self, url: str, token: str, *, kernels: str = "api/kernels") -> None:
        self.url = url
        self.session_id = uuid.uuid4().hex.upper()
        self._kernels = kernels  # `kernels` on the single-directory server
        self._headers = {"Authorization": f"token {token}"}
        self._http = aiohttp.ClientSession(headers=self._headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def ask(self, method: str, path: str, data: Any = None, *, status: int) -> Any:
        """The JSON of an answer, None when it has none. Fails unless the status is `status`."""
        body = None if data is None else json.dumps(data)
        async with self._http.request(method, self.url + path, data=body) as reply:
            text = await reply.text()
            if reply.status != status:
                raise AssertionError(f"{method} {path}: {reply.status} {text}")
            return json.loads(text) if text else None

    # notebooks

    async def list(self, path: str = "") -> list[str]:
        return [model["name"] for model in await self.ask("GET", f"api/notebooks/{quote(path)}", status=200)]

    async def create(self, path: str = "") -> Message:
        return await self.ask("POST", f"api/notebooks/{quote(path)}", status=201)

    async def load(self, name: str) -> Message:
        model = await self.ask("GET", f"api/notebooks/{quote(name)}?nbformat=3", status=200)
        return model["content"]

    async def save(self, name: str, content: Message, *, new_name: str | None = None) -> Message:
        model = {"name": new_name or name, "path": "", "content": content}
        return await self.ask("PUT", f"api/notebooks/{quote(name)}", model, status=200)

    async def rename(self, name: str, new_name: str) -> Message:
        return await self.ask("PATCH", f"api/notebooks/{quote(name)}", {"name": new_name}, status=200)

    async def copy(self, name: str) -> Message:
        return await self.ask("POST", "api/notebooks", {"copy_from": name}, status=201)

    async def delete(self, name: str) -> None:
        await self.ask("DELETE", f"api/notebooks/{quote(name)}", status=204)

    async def checkpoint(self, name: str) -> str:
        made = await self.ask("POST", f"api/notebooks/{quote(name)}/checkpoints", status=201)
        return made["id"]

    async def restore(self, name: str, checkpoint: str) -> None:
        await self.ask("POST", f"api/notebooks/{quote(name)}/checkpoints/{checkpoint}", status=204)

    # kernels

    async def start_kernel(self) -> str:
        if self._kernels == "kernels":
            return (await self.ask("POST", "kernels", status=200))["kernel_id"]
        return (await self.ask("POST", "api/kernels", status=201))["id"]

    async def kill_kernel(self, kernel_id: str) -> None:
        await self.ask("DELETE", f"{self._kernels}/{kernel_id}", status=204)

    async def open(self, kernel_id: str, *, session: str | None = None) -> OldKernel:
        """The three websockets of a kernel, each of which says the session and the page's cookie first."""
        session = session or self.session_id
        sockets: dict[str, aiohttp.ClientWebSocketResponse] = {}
        for channel in CHANNELS:
            address = f"{self.url}{self._kernels}/{kernel_id}/{channel}"
            sockets[channel] = await self._http.ws_connect(address, max_msg_size=0)
            await sockets[channel].send_str(f"{session}:username-localhost-8888=x; _xsrf=2|a:b|c")
        return OldKernel(session, sockets)


class OldKernel:
    """A kernel as IPython 2 talked to it: protocol 4."""

    def __init__(self, session: str, sockets: dict[str, aiohttp.ClientWebSocketResponse]) -> None:
        self.session = session
        self.sockets = sockets

    async def send(self, channel: str, msg_type: str, content: Message) -> str:
        """A message as `_get_msg` of kernel.js made it: neither version nor date. Returns its id."""
        msg_id = uuid.uuid4().hex.upper()
        header = {"msg_id": msg_id, "username": "username", "session": self.session, "msg_type": msg_type}
        message = {"header": header, "metadata": {}, "content": content, "parent_header": {}}
        await self.sockets[channel].send_str(json.dumps(message))
        return msg_id

    async def receive(self, channel: str) -> Message:
        """The next message on a channel."""
        frame = await asyncio.wait_for(self.sockets[channel].receive(), PATIENCE)
        if frame.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(f"{channel} was closed: {frame}")
        return json.loads(frame.data)

    async def until(self, channel: str, wanted: Callable[[Message], bool]) -> list[Message]:
        """All messages on a channel up to the first that is wanted."""
        messages = [await self.receive(channel)]
        while not wanted(messages[-1]):
            messages.append(await self.receive(channel))
        return messages

    async def ask(self, msg_type: str, content: Message) -> Message:
        """The content of the answer on the shell channel."""
        asked = await self.send("shell", msg_type, content)
        return (await self.until("shell", lambda one: one["parent_header"].get("msg_id") == asked))[-1]

    async def execute(self, code: str, *, answer: str | None = None, **options: Any) -> tuple[str, Message]:
        """What an execution prints, and the content of its reply. `answer` is for input()."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_variables": [],
            "user_expressions": {},
            "allow_stdin": answer is not None,
        }
        asked = await self.send("shell", "execute_request", content | options)
        if answer is not None:
            await self.until("stdin", lambda one: one["header"]["msg_type"] == "input_request")
            await self.send("stdin", "input_reply", {"value": answer})

        def is_mine(one: Message) -> bool:
            return one["parent_header"].get("msg_id") == asked

        def is_idle(one: Message) -> bool:
            return is_mine(one) and one["content"].get("execution_state") == "idle"

        reply = (await self.until("shell", is_mine))[-1]
        heard = await self.until("iopub", is_idle)
        streams = [one for one in heard if is_mine(one) and one["header"]["msg_type"] == "stream"]
        return "".join(one["content"]["data"] for one in streams), reply["content"]

    async def close(self) -> None:
        for socket in self.sockets.values():
            await socket.close()


async def tour(url: str, token: str, say: Callable[[str], None]) -> None:
    """Everything that a user of IPython 2 did with a notebook."""
    async with OldClient(url, token) as client:
        name = (await client.create())["name"]
        say(f"created {name}; there are {await client.list()}")
        content = await client.load(name)
        content["worksheets"][0]["cells"] = [code_cell("6 * 7")]
        await client.save(name, content)
        checkpoint = await client.checkpoint(name)
        content["worksheets"][0]["cells"] = [code_cell("broken(")]
        saved = await client.save(name, content, new_name="old tour.ipynb")
        renamed = (await client.rename(saved["name"], "old tour 2.ipynb"))["name"]
        say(f"saved, marked as {checkpoint}, saved and renamed in one, renamed to {renamed}")
        await client.restore(renamed, checkpoint)
        cell = (await client.load(renamed))["worksheets"][0]["cells"][0]
        say(f"restored: {cell['input']!r}; copied to {(copy := (await client.copy(renamed))['name'])!r}")
        kernel_id = await client.start_kernel()
        kernel = await client.open(kernel_id)
        printed, reply = await kernel.execute(f"print({cell['input']})", user_variables=["__name__"])
        say(f"printed {printed!r} as execution {reply['execution_count']}")
        printed, reply = await kernel.execute("print('hello ' + input())", answer="old friend")
        say(f"asked for input, printed {printed!r}: {reply['status']}")
        await kernel.close()
        await client.kill_kernel(kernel_id)
        for one in (renamed, copy):
            await client.delete(one)


def code_cell(source: str) -> Message:
    """A code cell of nbformat 3."""
    return {
        "cell_type": "code",
        "language": "python",
        "metadata": {},
        "input": source,
        "outputs": [],
        "collapsed": False,
    }


if __name__ == "__main__":
    asyncio.run(tour(sys.argv[1], sys.argv[2], print))
