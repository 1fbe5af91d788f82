"""Who may come in: the token, the password, the signed cookie that remembers a browser; and to do what.

Nothing here knows HTTP. The cookie carries the identity itself, signed with a key made from
the server's secret file, so that it survives a restart, and from the password's hash, so that
it ends when the password changes (CVE-2026-40934). Password hashes are Jupyter's:
`argon2:$argon2id$...` as made here, and the older `algorithm:salt:digest`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self
from urllib.parse import urlsplit

import orjson
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from itsdangerous import BadSignature, TimestampSigner

from evstore.config import Config
from evstore.core.errors import Invalid

COOKIE_AGE = 30 * 24 * 3600  # seconds
SECRET_SIZE = 32  # bytes
LARGEST_SECRET = 1024  # bytes that are read of one
UPDATABLE = ("name", "display_name", "initials", "avatar_url", "color")
MAX_FIELD = 512  # characters of one identity field: all of them must fit into a cookie
# fmt: off
MOONS = (
    "Amalthea", "Ananke", "Callisto", "Carme", "Elara", "Europa", "Ganymede", "Himalia",
    "Io", "Leda", "Metis", "Pasiphae", "Sinope", "Thebe", "Themisto", "Valetudo",
)
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person, or a program, as Jupyter's `/api/me` describes them."""

    username: str
    name: str
    display_name: str
    initials: str | None = None
    avatar_url: str | None = None
    color: str | None = None

    @classmethod
    def anonymous(cls) -> Self:
        """Somebody new, named after a moon of Jupiter; the name follows from the id."""
        user = uuid.uuid4()
        moon = MOONS[user.int % len(MOONS)]
        name = f"Anonymous {moon}"
        return cls(username=user.hex, name=name, display_name=name, initials=f"A{moon[0]}")

    def updated(self, changes: dict[str, Any]) -> Self:
        """This person with `changes`. Raises Invalid unless all may be changed and are short texts."""
        for key, value in changes.items():
            if key not in UPDATABLE:
                raise Invalid(f"Field {key} is not updatable; these are: {', '.join(UPDATABLE)}.")
            if not isinstance(value, str) or len(value) > MAX_FIELD:
                raise Invalid(f"Field {key} must be a text of at most {MAX_FIELD} characters.")
            if not value.isprintable():  # it is shown to others, and stands in the log and its tables
                raise Invalid(f"Field {key} must be on one line, without control characters.")
        if not changes.get("name", self.name) or not changes.get("display_name", self.display_name):
            raise Invalid("A name can't be empty.")
        if not _is_address(changes.get("avatar_url", "")):
            raise Invalid("avatar_url must be the address of an image.")
        return replace(self, **changes)


def _is_address(value: str) -> bool:
    """Whether an image can be there: an address that runs nothing when somebody looks at it."""
    try:
        return urlsplit(value).scheme in ("", "http", "https", "data")
    except ValueError:
        return False


Action = Literal["read", "write", "execute"]


class Authorizer(Protocol):
    """Decides what those who are in may do: asked before every handler of a route that is not public."""

    def is_allowed(self, identity: Identity, action: str, resource: str) -> bool:
        """Whether `identity` may do `action` on `resource`, both in Jupyter's words.

        `action`: an Action, or any text that a client asks about at `/api/me`. `resource`: a kind of thing
        as in the table of routes (`contents`, `kernels`, `history`, ...), never a single file or kernel.
        It is asked on the event loop, once for each request: answer at once.
        """
        ...


class AllowAll:
    """Whoever is in may do everything."""

    def is_allowed(self, identity: Identity, action: str, resource: str) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a valid cookie says: who, and until when (seconds since 1970)."""

    identity: Identity
    until: float


class Auth:
    """The keys of one server."""

    def __init__(self, *, token: str, password_hash: str, secret: bytes) -> None:
        self._token = token.encode()
        self._password_hash = password_hash
        self.throttle = Throttle()
        self.enabled = bool(token or password_hash)
        # A cookie from a time when everybody was let in must not open the door afterwards.
        keyed_by = password_hash.encode() if self.enabled else b"everybody"
        self._signer = TimestampSigner(
            hmac.digest(secret, keyed_by + b" evstore login", "sha256"),
            key_derivation="none",  # it is derived already, and for this purpose alone
            digest_method=hashlib.sha256,
        )

    @classmethod
    def of(cls, config: Config, secret: bytes) -> Self:
        return cls(token=config.token, password_hash=config.password_hash, secret=secret)

    @property
    def has_token(self) -> bool:
        return bool(self._token)

    @property
    def has_password(self) -> bool:
        return bool(self._password_hash)

    def is_token(self, given: str) -> bool:
        """Whether `given` is the token, told in a time that does not depend on where they differ."""
        return bool(self._token) and hmac.compare_digest(as_bytes(given), self._token)

    def is_password(self, given: str) -> bool:
        """Whether `given` is the password. Slow on purpose (about 50 ms): call it in a thread."""
        return bool(self._password_hash) and check_password(self._password_hash, given)

    def sign(self, identity: Identity) -> str:
        """The value of a login cookie; safe in a Cookie header as it is."""
        return self._signer.sign(urlsafe_b64encode(orjson.dumps(identity))).decode()

    def read(self, cookie: str) -> SignedIn | None:
        """Whom a login cookie names; None when it is forged, too old, or from another key."""
        try:
            payload, at = self._signer.unsign(cookie, max_age=COOKIE_AGE, return_timestamp=True)
            fields = orjson.loads(urlsafe_b64decode(payload))
            return SignedIn(Identity(**fields), at.timestamp() + COOKIE_AGE)
        except (BadSignature, TypeError, ValueError):
            return None


_HASHER = PasswordHasher(memory_cost=10240, time_cost=10, parallelism=8)  # as Jupyter


def hash_password(password: str) -> str:
    """The hash to keep instead of `password`, in the form that Jupyter servers share."""
    return f"argon2:{_HASHER.hash(password)}"


def check_password(password_hash: str, given: str) -> bool:
    """Whether `given` is the password that `password_hash` was made from."""
    algorithm, _, rest = password_hash.partition(":")
    if algorithm == "argon2" or password_hash.startswith("$argon2"):
        try:
            return _HASHER.verify(rest if algorithm == "argon2" else password_hash, as_bytes(given))
        except (VerificationError, InvalidHashError):
            return False
    salt, _, digest = rest.partition(":")
    if not digest or algorithm not in hashlib.algorithms_available:
        return False
    computed = hashlib.new(algorithm, as_bytes(given) + salt.encode())
    return hmac.compare_digest(computed.hexdigest(), digest)


def as_bytes(text: str) -> bytes:
    """What a client has sent, which may be no text at all."""
    return text.encode(errors="surrogatepass")


def random_token() -> str:
    """A token that nobody guesses: 192 bits."""
    return secrets.token_hex(24)


def load_secret(path: Path) -> bytes:
    """The server's secret, made on first use. Only the owner may read the file (mode 0600).

    One that others may read is replaced, for they may know it: it can have come with the folder out of a repository
    or an archive, and whoever has made that could sign cookies.
    """
    secret = _private(path)
    if len(secret) >= SECRET_SIZE:
        return secret
    made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(SECRET_SIZE))
    os.replace(made, path)
    return path.read_bytes()


def _private(path: Path) -> bytes:
    """What a file of our own holds that nobody else may read; nothing when there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        return file.read(LARGEST_SECRET) if is_ours else b""


@dataclass(slots=True)
class Throttle:
    """Slows down guessing: after `tries` wrong passwords in `window` seconds, an address must wait."""

    tries: int = 10
    window: float = 60.0  # seconds
    max_addresses: int = 10_000
    _failures: dict[str, deque[float]] = field(default_factory=dict[str, deque[float]])

    def wait(self, address: str, now: float) -> float:
        """How many seconds `address` must wait before its next try; 0 when it need not."""
        failures = self._failures.get(address)
        if failures is None:
            return 0.0
        while failures and failures[0] <= now - self.window:
            failures.popleft()
        if not failures:
            del self._failures[address]
            return 0.0
        return failures[0] + self.window - now if len(failures) >= self.tries else 0.0

    def failed(self, address: str, now: float) -> None:
        """Remember a wrong password. Of too many addresses the one known longest is forgotten."""
        if address not in self._failures and len(self._failures) >= self.max_addresses:
            del self._failures[next(iter(self._failures))]
        self._failures.setdefault(address, deque(maxlen=self.tries)).append(now)

    def forget(self, address: str) -> None:
        """A right password: start anew."""
        self._failures.pop(address, None)
