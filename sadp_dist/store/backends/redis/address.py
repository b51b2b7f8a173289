"""The address of a Redis and its login, from a URL and the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sadp_dist.errors import UsageError

USERNAME, PASSWORD, PASSWORD_FILE, CA = (
    f"SADP_DIST_REDIS_{name}" for name in ("USERNAME", "PASSWORD", "PASSWORD_FILE", "CA")
)
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
FORM = "redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss://...[?ssl_ca_certs=FILE] for TLS"
ENCODE = "percent-encode :/?#[]@ in a user or password"


@dataclass(frozen=True)
class Address:
    """One Redis server and one of its databases. As text it has neither user nor password.

    Attributes:
        host: name or IP address.
        port: of the server.
        database: number of the database.
        username: None for Redis's default user.
        password: None where none is needed.
        tls: whether the connection is encrypted and the server's certificate is checked.
        tls_files: the certificate authority (default: the system's), and a client certificate, under
            redis-py's names.
    """

    host: str
    port: int = 6379
    database: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_files: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return the address in a URL. The environment adds user, password and authority if the URL has none.

        Raises:
            UsageError: the URL is wrong. The message repeats nothing that could be a password.
        """
        parts, port = _split(url)
        if not parts.hostname:
            raise UsageError(f"the store's URL names no host: {FORM} is needed")
        database = parts.path.strip("/") or "0"
        if not database.isdecimal():
            raise UsageError(f"the store's URL has a database that is not a number: {FORM}; {ENCODE}")
        tls = parts.scheme == "rediss"
        username = unquote(parts.username) if parts.username else os.environ.get(USERNAME)
        password = unquote(parts.password) if parts.password else _password_of_environment()
        return cls(
            unquote(parts.hostname),
            port,
            int(database),
            username or None,
            password or None,
            tls,
            _tls_files(parts.query, tls),
        )


def _password_of_environment() -> str | None:
    """The password from a variable, or from a file (a container's secret) without its line end."""
    if PASSWORD_FILE not in os.environ:
        return os.environ.get(PASSWORD)
    if PASSWORD in os.environ:
        raise UsageError(f"{PASSWORD} and {PASSWORD_FILE} are both set: leave one out")
    file = os.environ[PASSWORD_FILE]
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{PASSWORD_FILE}={file!r} cannot be read: {why}") from error


def _split(url: str) -> tuple[SplitResult, int]:
    """A URL's parts, and its port. Errors do not repeat the URL: it may contain a password."""
    try:
        parts = urlsplit(url)
        if parts.fragment:
            raise ValueError
        return parts, 6379 if parts.port is None else parts.port
    except ValueError:
        pass  # its message contains a part of the URL
    raise UsageError(f"the store's URL has a host or port that cannot be read; {ENCODE}: {FORM}")


def _tls_files(query: str, tls: bool) -> tuple[tuple[str, str], ...]:
    files = dict(parse_qsl(query, keep_blank_values=True))
    for name in files:
        if name not in TLS_FILES:
            raise UsageError(
                f"the store's URL has an unknown parameter: {', '.join(TLS_FILES)} are known; {ENCODE}"
            )
    if files and not tls:
        raise UsageError(f"the store's URL has {next(iter(files))}, but is not encrypted: use rediss://")
    if tls and CA in os.environ:
        files.setdefault("ssl_ca_certs", os.environ[CA])
    for name, file in files.items():
        if not Path(file).is_file():
            raise UsageError(f"{name}={file!r} of the store's URL is not a file")
    return tuple(files.items())
