"""From which sites a request may come: the Host and Origin headers, and CORS."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from evstore.config import Config
from evstore.core.errors import Forbidden, NotFound
from evstore.http.proxy import host_of

MAX_HOSTS = 64  # remembered Host headers


class Origins:
    """The sites that may talk to this server."""

    def __init__(self, config: Config) -> None:
        self._allowed = config.allow_origin.lower()
        self._trust_proxy = config.trust_proxy
        self._any_host = config.allow_remote_access or not is_local(config.host)
        self._local_hosts: set[str] = set()

    def check_host(self, request: web.Request) -> None:
        """Raise Forbidden for a Host that is not this machine, the sign of DNS rebinding (S4).

        A missing Host header is a script's and accepted, as in Jupyter.
        """
        if self._any_host:
            return
        host = host_of(request, self._trust_proxy)
        if host is None or host in self._local_hosts:
            return
        if not is_local(host):
            raise Forbidden(
                f"Blocking request for {host}, which is not a name of this machine; "
                "start evstore with --allow-remote-access if it should be reached by that name."
            )
        if len(self._local_hosts) < MAX_HOSTS:
            self._local_hosts.add(host)

    def check_origin(self, request: web.Request) -> None:
        """Raise NotFound, or Forbidden for a websocket, when a page of another site is asking (S3).

        Besides the Origin header, which scripts and pages of this server may lack: a foreign page that
        includes an API answer as a script or an image (CVE-2019-9644) is told from its fetch metadata.
        """
        headers = request.headers
        origin = headers.get("Origin", headers.get("Sec-Websocket-Origin"))
        if origin is None:
            if headers.get("Sec-Fetch-Mode") == "no-cors" and headers.get("Sec-Fetch-Site") in (
                "cross-site",
                "same-site",
            ):
                raise Forbidden("Blocking a page of another site.")
            return
        if self.is_ours(request, origin):
            return
        if headers.get("Upgrade", "").lower() == "websocket":
            raise Forbidden(f"Blocking a websocket from {origin}.")
        raise NotFound(f"Blocking a request from {origin}.")

    def is_ours(self, request: web.Request, address: str | None) -> bool:
        """Whether `address`, an Origin or a Referer, is this server or the origin that may use it."""
        if self._allowed == "*":
            return True
        if not address:
            return False
        try:
            parts = urlsplit(address.lower())
        except ValueError:
            return False
        if self._allowed and f"{parts.scheme}://{parts.netloc}" == self._allowed:
            return True
        host = host_of(request, self._trust_proxy)
        return host is None or parts.netloc == host.lower()

    def allow(self, request: web.Request, headers: CIMultiDict[str]) -> None:
        """Add the CORS headers: only on a match, and never with credentials for everybody (S23)."""
        if self._allowed == "*":
            headers["Access-Control-Allow-Origin"] = "*"
        elif self._allowed:
            headers.add("Vary", "Origin")
            if request.headers.get("Origin", "").lower() == self._allowed:
                headers["Access-Control-Allow-Origin"] = request.headers["Origin"]


def is_local(host: str) -> bool:
    """Whether `host[:port]` can only mean this machine."""
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"  # an IPv6 address, as the operator writes it
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
