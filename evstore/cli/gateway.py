"""`evstore serve --gateway-...`: where kernels run when they don't run here.

Each flag also listens to the variable that jupyter_server has for it, so that what is set up for that
works here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from yarl import URL

from evstore.cli.options import defaults_of, section
from evstore.config import GatewayConfig

PREFIX = "gateway_"
DEFAULTS = defaults_of(GatewayConfig, PREFIX)


class GatewayUrl(click.ParamType[str]):
    """The address of a gateway, with or without a path: http://host:8888, https://host/gateway."""

    name = "url"

    def __init__(self, *schemes: str) -> None:
        self._schemes = schemes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        examples = " or ".join(f"{scheme}://host:port" for scheme in self._schemes)
        try:
            url = URL(str(value))
        except ValueError:
            self.fail(f"That is no address: write {examples}.", param, ctx)
        if url.scheme not in self._schemes or not url.host:
            self.fail(f"Write it as {examples}.", param, ctx)
        if url.user is not None or url.password is not None or url.query_string or url.fragment:
            self.fail("Only host, port and path: the token goes into --gateway-token.", param, ctx)
        return str(url).rstrip("/")


def gateway_option(name: str, **settings: Any) -> Callable[[Any], Any]:
    """The option --gateway-NAME, with evstore's variable and jupyter_server's."""
    return section("Kernels at a gateway", DEFAULTS)(f"--gateway-{name}", **settings)


FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
OPTIONS = (
    gateway_option(
        "url",
        type=GatewayUrl("http", "https"),
        also="JUPYTER_GATEWAY_URL",
        help="Run all kernels at this Jupyter Kernel Gateway or Enterprise Gateway. They don't see the files "
        "that are served here, unless that machine has the same folder.",
    ),
    gateway_option(
        "ws-url",
        default=None,
        type=GatewayUrl("ws", "wss"),
        also="JUPYTER_GATEWAY_WS_URL",
        help="Its address for websockets, if that is another one.",
    ),
    gateway_option(
        "token",
        also="JUPYTER_GATEWAY_AUTH_TOKEN",
        help="The gateway's token. Better given by the variable: other users can read command lines.",
    ),
    gateway_option(
        "auth-scheme",
        show_default=True,
        also="JUPYTER_GATEWAY_AUTH_SCHEME",
        help="What stands before the token in the Authorization header, e.g. Bearer.",
    ),
    gateway_option(
        "validate-cert/--no-gateway-validate-cert",
        also="JUPYTER_GATEWAY_VALIDATE_CERT",
        help="Refuse a gateway whose certificate can't be trusted.  [default: yes]",
    ),
    gateway_option(
        "ca-certs",
        type=FILE,
        also="JUPYTER_GATEWAY_CA_CERTS",
        help="The authority that has signed its certificate, as a PEM file.  [default: the system's]",
    ),
    gateway_option(
        "client-cert", type=FILE, also="JUPYTER_GATEWAY_CLIENT_CERT", help="Our certificate (PEM)."
    ),
    gateway_option(
        "client-key", type=FILE, also="JUPYTER_GATEWAY_CLIENT_KEY", help="The key to our certificate (PEM)."
    ),
    gateway_option(
        "timeout",
        type=click.FloatRange(min=1),
        show_default=True,
        also="JUPYTER_GATEWAY_REQUEST_TIMEOUT",
        help="Seconds that it has to answer; starting a kernel may take long.",
    ),
    gateway_option(
        "env",
        default="",
        also="JUPYTER_GATEWAY_ALLOWED_ENVS",
        help="Variables of this environment that kernels get if the gateway lets them, separated by commas; "
        "those that begin with KERNEL_ they always get.",
    ),
)


def take_gateway(flags: dict[str, Any]) -> GatewayConfig | None:
    """Take what --gateway-... flags say out of `flags`; None without --gateway-url."""
    given = {name.removeprefix(PREFIX): flags.pop(name) for name in list(flags) if name.startswith(PREFIX)}
    if not given["url"]:
        return None
    if given["client_key"] and not given["client_cert"]:
        raise click.UsageError("--gateway-client-key needs --gateway-client-cert.")
    given["token"] = given["token"].strip()
    if not (given["token"] + given["auth_scheme"]).isprintable():
        raise click.UsageError("The gateway's token has characters in it that no token can have.")
    names = tuple(name.strip() for name in given.pop("env").split(",") if name.strip())
    given["ws_url"] = given["ws_url"] or ""
    return GatewayConfig(**given, env=names)
