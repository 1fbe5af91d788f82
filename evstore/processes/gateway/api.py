"""A gateway's REST API, and what is wrong when it does not answer as a gateway does.

The API is the part of Jupyter's own that kernels need:
https://jupyter-kernel-gateway.readthedocs.io/en/latest/websocket-mode.html . The token goes into a
header of each request and nowhere else; redirects are not followed, for they would carry it elsewhere.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, cast
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from evstore.config import GatewayConfig
from evstore.core.errors import GatewayAway, GatewayError, Invalid, NotFound
from evstore.core.units import MIB
from evstore.processes.kernels.wire import V1

CONNECT = 10.0  # seconds until a gateway that does not even take the connection is away
HEARTBEAT = 30.0  # seconds between pings on a websocket; half of it later a silent one is given up
GOODBYE = 20.0  # seconds for a kernel to be shut down
KERNEL_ID = re.compile(r"[\w.:/-]{1,200}", re.ASCII)
MAX_ANSWER = 16 * MIB  # bytes
MAX_MESSAGE = 1024 * MIB  # bytes of one message of a kernel
WORDS = 300  # characters of the gateway's own message that are passed on
QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux has it
AWAY = frozenset((502, 503, 504))  # statuses of a proxy in front of it, or of a gateway that is not up yet


class Gateway:
    """One gateway. Everything here raises GatewayAway when it can't be reached, and GatewayError when
    what it answers is a refusal, an error or no answer of a gateway."""

    def __init__(self, config: GatewayConfig) -> None:
        """Must be made on the event loop. Raises Invalid when the files for TLS can't be used."""
        self.config = config
        self._url = URL(config.url)
        self._ws_url = URL(config.ws_url or config.url)
        self._chores: set[asyncio.Task[None]] = set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_tls(config)),
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # load balancers remember by them which node it was
            headers=_headers(config),
            timeout=aiohttp.ClientTimeout(total=config.timeout, sock_connect=CONNECT),
        )

    @property
    def address(self) -> str:
        """Its address as it may be shown."""
        return str(self._url.with_user(None))

    def in_background(self, chore: Coroutine[Any, Any, None]) -> None:
        """Something that nobody waits for, but `close` for a while."""
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def close(self) -> None:
        """Hang up."""
        if self._chores:
            await asyncio.wait(self._chores, timeout=GOODBYE)
        await self._session.close()

    async def kernelspecs(self) -> dict[str, Any]:
        """GET /api/kernelspecs."""
        return _object(await self._ask("GET", "api/kernelspecs"), self)

    async def kernelspec(self, name: str) -> dict[str, Any]:
        """GET /api/kernelspecs/{name}. Raises NotFound."""
        return _object(await self._ask("GET", f"api/kernelspecs/{_quoted(name)}"), self)

    async def resource(self, name: str, file: str) -> bytes:
        """GET /kernelspecs/{name}/{file}: a logo. Raises NotFound."""
        return await self._ask("GET", f"kernelspecs/{_quoted(name)}/{_quoted(file)}")

    async def start(self, name: str, path: str, env: Mapping[str, str]) -> str:
        """POST /api/kernels: start a kernel. Returns its id there."""
        wanted = {"name": name, "path": path, "env": dict(env)}
        kernel_id = _object(await self._ask("POST", "api/kernels", wanted), self).get("id")
        if not isinstance(kernel_id, str) or not KERNEL_ID.fullmatch(kernel_id):
            raise nonsense(self, "a kernel without a proper id")
        return kernel_id

    async def look_at(self, kernel_id: str) -> None:
        """GET /api/kernels/{id}: nothing happens if it runs. Raises NotFound."""
        await self._ask("GET", f"api/kernels/{_quoted(kernel_id)}")

    async def interrupt(self, kernel_id: str) -> None:
        """POST /api/kernels/{id}/interrupt. Raises NotFound."""
        await self._ask("POST", f"api/kernels/{_quoted(kernel_id)}/interrupt", {})

    async def restart(self, kernel_id: str) -> None:
        """POST /api/kernels/{id}/restart. Raises NotFound."""
        await self._ask("POST", f"api/kernels/{_quoted(kernel_id)}/restart", {})

    async def delete(self, kernel_id: str) -> None:
        """DELETE /api/kernels/{id}. Raises NotFound."""
        await self._ask("DELETE", f"api/kernels/{_quoted(kernel_id)}", patience=GOODBYE)

    @asynccontextmanager
    async def channels(self, kernel_id: str, session: str) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
        """The websocket of a kernel's channels, while the block runs. Raises NotFound.

        The gateway keeps what the kernel says while it is away for the next one of the same session.
        """
        path = f"api/kernels/{_quoted(kernel_id)}/channels"
        url = _below(self._ws_url, path).with_query(session_id=session)
        with self._errors(self.config.timeout):
            try:
                websocket = await self._session.ws_connect(
                    url,
                    protocols=(V1,),
                    heartbeat=HEARTBEAT,
                    max_msg_size=MAX_MESSAGE,
                )
            except aiohttp.WSServerHandshakeError as error:
                raise _status_error(self, error.status, "", "") from None
        async with websocket:
            yield websocket

    async def _ask(self, method: str, path: str, body: object = None, *, patience: float = math.inf) -> bytes:
        """The body of the answer to a request that was met."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json"} if data is not None else None
        url = _below(self._url, path)
        patience = min(patience, self.config.timeout)
        with self._errors(patience):
            async with (
                asyncio.timeout(patience),
                self._session.request(
                    method, url, data=data, headers=headers, allow_redirects=False
                ) as answer,
            ):
                content = await _limited(answer.content, self)
                if answer.status >= 300:
                    location = answer.headers.get("Location", "")
                    raise _status_error(self, answer.status, _message_in(content), location)
                return content

    @contextmanager
    def _errors(self, patience: float) -> Generator[None]:
        """What aiohttp raises, as sentences. The token is in none of them."""
        try:
            yield
        except aiohttp.ConnectionTimeoutError:
            raise GatewayAway(
                f"The gateway at {self.address} can't be reached (no connection within {CONNECT:g} s). "
                "Is it running, and is --gateway-url right?"
            ) from None
        except TimeoutError:
            raise GatewayAway(
                f"The gateway at {self.address} did not answer within {patience:g} s. "
                "Is it overloaded? --gateway-timeout allows it more."
            ) from None
        except aiohttp.ClientSSLError as error:
            raise GatewayError(
                f"There is no safe connection to the gateway at {self.address} ({_short(error.os_error)}). "
                "If it has a certificate of your own authority, --gateway-ca-certs makes that known."
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise GatewayAway(
                f"The gateway at {self.address} can't be reached ({_short(error.os_error)}). "
                "Is it running, and is --gateway-url right?"
            ) from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError):
            raise GatewayAway(f"The gateway at {self.address} broke the connection off.") from None
        except aiohttp.ClientError as error:
            raise nonsense(self, type(error).__name__) from None


def acknowledge(websocket: aiohttp.ClientWebSocketResponse) -> None:
    """Let the system confirm at once what it has received.

    Gateways leave Nagle's algorithm on: while a small message is on its way, the next one waits for its
    confirmation, which systems put off for 40 ms. An execution has several small messages.
    """
    raw = websocket.get_extra_info("socket")
    if QUICK_ACK is not None and raw is not None:
        with suppress(OSError):  # it is being closed
            raw.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)


def _status_error(gateway: Gateway, status: int, message: str, location: str) -> Exception:
    """What a status means that is not the one of a request that was met."""
    said = f"{status}: {message}" if message else str(status)
    where = f"The gateway at {gateway.address}"
    if status == 404:
        return NotFound(f"{where} does not know that ({said}).")
    if 300 <= status < 400:
        target = f" to {host}" if (host := _host(location)) else ""
        return GatewayError(
            f"{where} redirects{target}, which a gateway does not do ({status}). Is --gateway-url right, "
            "or does a login page stand in front of it?"
        )
    if status == 401:
        return GatewayError(
            f"{where} does not accept the token ({said}). --gateway-token gives the right one."
        )
    if status == 403:
        return GatewayError(
            f"{where} refuses that ({said}). Is --gateway-token right, and may you start another kernel?"
        )
    if status in AWAY:
        return GatewayAway(f"{where} is not available ({said}).")
    return GatewayError(f"{where} failed ({said}).")


def nonsense(gateway: Gateway, what: str) -> GatewayError:
    """The error for an answer that no gateway gives."""
    return GatewayError(
        f"What is at {gateway.address} does not answer as a Jupyter gateway does ({what}). "
        "Is --gateway-url right?"
    )


def _object(content: bytes, gateway: Gateway) -> dict[str, Any]:
    try:
        data = orjson.loads(content)
    except orjson.JSONDecodeError:
        looks = "HTML" if content.lstrip()[:1] == b"<" else "something that is not JSON"
        raise nonsense(gateway, looks) from None
    if not isinstance(data, dict):
        raise nonsense(gateway, "JSON of another kind")
    return cast("dict[str, Any]", data)


def _message_in(content: bytes) -> str:
    """What the gateway says about an error, in one line."""
    try:
        data = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(data, dict):
        return ""
    fields = cast("dict[str, Any]", data)
    message = fields.get("message") or fields.get("reason") or ""
    return " ".join(printable(str(message)).split())[:WORDS]


def printable(text: str) -> str:
    """`text` without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


async def _limited(content: aiohttp.StreamReader, gateway: Gateway) -> bytes:
    pieces = bytearray()
    async for piece in content.iter_any():
        pieces += piece
        if len(pieces) > MAX_ANSWER:
            raise nonsense(gateway, f"more than {MAX_ANSWER} bytes")
    return bytes(pieces)


def _host(location: str) -> str | None:
    try:
        return URL(location).host
    except ValueError:
        return None


def _below(url: URL, path: str) -> URL:
    return URL(f"{str(url).rstrip('/')}/{path}", encoded=True)


def _quoted(name: str) -> str:
    """One segment of a path; dots alone would lead elsewhere."""
    if name in (".", ".."):
        raise NotFound
    return quote(name, safe="")


def _short(error: OSError) -> str:
    """The system's words for an error, without asyncio's and aiohttp's around them."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "no TLS"
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or type(error).__name__


def _headers(config: GatewayConfig) -> dict[str, str]:
    if not config.token:
        return {}
    return {"Authorization": f"{config.auth_scheme} {config.token}".strip()}


def _tls(config: GatewayConfig) -> ssl.SSLContext | bool:
    """How TLS connections are checked. Raises Invalid for files that are no certificates."""
    if config.validate_cert and config.ca_certs is None and config.client_cert is None:
        return True
    try:
        context = ssl.create_default_context(cafile=config.ca_certs)
        if config.client_cert is not None:
            context.load_cert_chain(config.client_cert, config.client_key)
    except OSError as error:  # ssl.SSLError too
        raise Invalid(f"The certificates for the gateway can't be used: {error}.") from None
    if not config.validate_cert:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
