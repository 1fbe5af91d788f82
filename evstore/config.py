"""The settings of one server: read once from flags and environment, then never changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evstore.core.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Where kernels run when they don't run here: the flags `--gateway-...`."""

    url: str  # http or https, perhaps with a path
    ws_url: str = ""  # the same for websockets, when that differs
    token: str = ""
    auth_scheme: str = "token"  # what stands before the token in the header
    validate_cert: bool = True
    ca_certs: Path | None = None  # PEM
    client_cert: Path | None = None  # PEM
    client_key: Path | None = None  # PEM
    timeout: float = 60.0  # seconds for an answer; kernels may take long to start
    env: tuple[str, ...] = ()  # names of variables that kernels get from our environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Each field is a flag of `evstore serve` and an environment variable `EVSTORE_...`; its default stands here only."""

    folder: Path  # the folder that is served
    db: Path  # the log
    allow_network_db: bool = False  # have the log where SQLite is not safe
    with_folder: bool = True  # False: all there is, is in the log; `folder` is where kernels start
    max_versioned_size: int = 100 * MIB  # bytes; larger files are served from the folder and have no versions
    verify_folder: bool = False  # at the start, read every file, whatever its date and size say
    poll: bool = False  # look at the folder every so often, for the system does not tell what changes in it
    host: str = "127.0.0.1"
    port: int = 8888
    port_retries: int = 0  # how many ports after it may be taken in its place
    base_url: str = "/"  # begins and ends with a slash
    app: str = "lab"  # the front end that `/` opens: lab or notebook
    allow_extension_install: bool = False  # by pip, from JupyterLab's extension manager
    token: str = ""  # "" with no password either: everybody is let in
    password_hash: str = ""  # argon2
    allow_origin: str = ""  # one origin, or "*"
    allow_remote_access: bool = False  # accept Host headers that are not this machine
    trust_proxy: bool = False  # believe X-Forwarded-Proto, -Host and -For
    browser: bool = True
    metrics_without_auth: bool = False  # /metrics is for everybody
    max_body_size: int = 512 * MIB  # bytes
    kernel_transport: str = "ipc"
    kept_output_memory: int = 8 * MIB  # bytes for each client that is away or slow, and each kernel's cells
    kept_output_disk: int = 1024 * MIB  # bytes, likewise, for what does not fit into memory
    kept_output_total: int = 4096 * MIB  # bytes on disk for all of them together
    max_cell_output: int = 64 * MIB  # bytes of text that one cell may leave in its document by itself
    default_kernel: str = "python3"
    legacy_notebooks: str = "native"  # /api/notebooks; "redirect" or "redirect308": to /api/contents
    max_kernels: int = 0  # 0: any number
    kernel_env: tuple[str, ...] = ()  # names of variables that clients may set for their kernels
    untracked_message_types: tuple[str, ...] = ()  # kernel messages that are no activity; (): Jupyter's list
    cull_idle_timeout: float = 0  # seconds; 0: idle kernels are kept
    cull_interval: float = 300.0  # seconds
    cull_busy: bool = False
    cull_connected: bool = False
    shutdown_no_activity_timeout: float = 0  # seconds; 0: the server runs until it is stopped
    gateway: GatewayConfig | None = None  # None: kernels run here
    terminals: bool = True
    terminal_shell: tuple[str, ...] = ()  # a command and its arguments; empty: the user's own shell
    terminal_cull_idle_timeout: float = 0  # seconds; 0: never
    terminal_cull_interval: float = 300.0  # seconds
    convert_timeout: float = 60.0  # seconds that the conversion of a notebook may take
    settings_dir: Path | None = None  # JupyterLab's settings and workspaces; None: where Jupyter has them

    def url(self, path: str) -> str:
        """`path` (without a leading slash) below the base URL."""
        return self.base_url + path.removeprefix("/")
