"""The client of a Redis server, the names of the runs in it, and what its errors mean for a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.backends.redis.address import CA, PASSWORD, USERNAME, Address
from sadp_dist.store.connection import Unreachable

TIMEOUT = 5.0
READ_SIZE = 1 << 20
RUNS = "sadp_dist:runs"
"""A set: the names of all runs."""


class NoAnswer(Unreachable):
    """No server answers at the address."""


class Unreadable(StoreUnavailable):
    """What Redis has of a run is damaged, or of another release."""


class Server:
    """A client of one server, for any number of threads.

    It never retries: the caller knows what may be repeated. On every new socket it asks which process
    answers, because a restarted server or a replica may lack what the last process acknowledged. In a Redis
    Cluster it moves to the node that has the requested keys, so use one for each run.

    Attributes:
        address: of the server.
        redis: the client, which returns bytes.
        process: which process answered last; None before the first call.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.process: str | None = None
        self.redis = self._client(address.host, address.port)

    def close(self) -> None:
        """Close the sockets that no thread uses now; the others close with the client."""
        self.redis.connection_pool.disconnect(inuse_connections=False)

    @property
    def node(self) -> tuple[str, int]:
        """Host and port of the node that the client uses; in a cluster, not always the address's."""
        options = self.redis.connection_pool.connection_kwargs
        return options["host"], options["port"]

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn errors of Redis into `Unreachable`, `UsageError` or `StoreUnavailable`."""
        try:
            yield
        except exceptions.WatchError:
            raise Unreachable(f"others write to {self.address} at the same time") from None
        except exceptions.AskError as error:
            if isinstance(error, exceptions.MovedError):  # all keys of a run are on one node
                self.close()
                self.redis = self._client(error.host or self.address.host, error.port)
            raise Unreachable(f"{self.address} is in a cluster that has the run at another node") from None
        except exceptions.RedisError as error:
            if isinstance(error, exceptions.ReadOnlyError):  # the name may resolve to the new primary by now
                self.redis.connection_pool.disconnect(inuse_connections=False)
            raise _meaning(error, self.address) from None

    def _client(self, host: str, port: int) -> Any:  # redis-py's types leave open whether bytes come back
        address = self.address
        tls: dict[str, Any] = {"ssl": True, **dict(address.tls_files)} if address.tls else {}
        return redis.Redis(
            host=host,
            port=port,
            db=address.database,
            username=address.username,
            password=address.password,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            socket_keepalive=True,
            socket_read_size=READ_SIZE,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            redis_connect_func=self._greet,  # type: ignore[arg-type]
            **tls,
        )

    def _greet(self, connection: Any) -> None:
        connection.on_connect()
        connection.send_command("INFO", "server")
        answer = connection.read_response()
        lines = dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)
        self.process = lines["run_id"]


class Directory:
    """The names of all runs. It has its own `Server`: in a cluster, the names may be on another node."""

    def __init__(self, address: Address) -> None:
        self._server = Server(address)

    def names(self) -> list[str]:
        """Return all names of runs in alphabetical order."""
        return sorted(name.decode() for name in self._members() if _is_name(name))

    def damaged(self) -> list[str]:
        """Return what another client has added that is no name, as it is shown, in alphabetical order."""
        return sorted(shown_name(name) for name in self._members() if not _is_name(name))

    def add(self, run: str) -> None:
        """Add a name; adding it twice is harmless."""
        with self._server.faults():
            self._server.redis.sadd(RUNS, run)

    def remove(self, run: str) -> None:
        """Remove a name, or what `damaged` shows."""
        found = [name for name in self._members() if shown_name(name) == run]
        with self._server.faults():
            self._server.redis.srem(RUNS, run, *found)

    def close(self) -> None:
        self._server.close()

    def _members(self) -> set[bytes]:
        with self._server.faults():
            found: set[bytes] = self._server.redis.smembers(RUNS)
        return found


def shown_name(name: bytes) -> str:
    """Return a member of `RUNS` as text; bytes that are not UTF-8 are escaped."""
    return name.decode(errors="backslashreplace")


def _is_name(name: bytes) -> bool:
    try:
        return bool(name.decode())
    except UnicodeDecodeError:
        return False


def _meaning(error: exceptions.RedisError, address: Address) -> Exception:
    """Return the error for a fault: try again, correct the options, or give up."""
    text = " ".join(str(error).split())
    if _is_about_certificates(error):
        return UsageError(
            f"the certificate of {address} is not trusted; name the authority that signed it with "
            f"?ssl_ca_certs=FILE or {CA}, and use the host name that is in the certificate"
        )
    if isinstance(error, exceptions.NoPermissionError) or "NOPERM" in text:
        return UsageError(
            f"the Redis user at {address} may not do what the store needs ({text}); "
            "see docker/redis.conf for the required rights"
        )
    if text.startswith("WRONGTYPE"):
        return Unreadable(
            f"a key of sadp_dist at {address} holds another kind of value, as another client has overwritten "
            "it: remove the run with sadp-dist rm"
        )
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthenticationWrongNumberOfArgsError):
        return UsageError(
            f"{address} refuses this user and password; set the right ones in the URL or in "
            f"{USERNAME} and {PASSWORD}"
        )
    if isinstance(error, exceptions.TimeoutError):
        return NoAnswer(f"{address} did not answer within {TIMEOUT:g} s")
    for kind, reason in _PASSING.items():
        if isinstance(error, kind):
            return Unreachable(f"{address} {reason}")
    for word, reason in _PASSING_WORDS.items():
        if word in text:
            return Unreachable(f"{address} {reason}")
    if isinstance(error, exceptions.ConnectionError) and "closed by server" in text:
        return NoAnswer(
            f"{address} closed the connection before its answer was complete: it has gone down, or its "
            "client-output-buffer-limit for normal clients is too small for a run (0 0 0 is the default)"
        )
    if isinstance(error, exceptions.ConnectionError):
        return NoAnswer(f"{address} cannot be reached ({text})")
    return StoreUnavailable(f"{address} refused what the store needs, Redis 6.2 or later ({text})")


_PASSING: dict[type[Exception], str] = {
    exceptions.BusyLoadingError: "is still loading its data",
    exceptions.OutOfMemoryError: "is out of memory: raise its maxmemory, or remove runs with sadp-dist rm",
    exceptions.ReadOnlyError: "is read-only, a replica: give the primary's address",
    exceptions.ClusterDownError: "is in a cluster that is down",
    exceptions.TryAgainError: "is in a cluster that moves the run",
}
_PASSING_WORDS = {
    "MISCONF": "cannot write to its disk: look at its log",
    "NOREPLICAS": "has lost its replicas",
    "max number of clients": "has too many clients: raise its maxclients",
}


def _is_about_certificates(error: BaseException) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)
