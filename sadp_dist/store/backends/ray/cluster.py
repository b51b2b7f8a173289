"""Joining a Ray cluster, finding and creating actors, and what Ray's errors mean for a run."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import exceptions

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.connection import Unreachable, until_reached

RUNS = "sadp_dist"
"""The namespace of the actors."""
KNOCK_TIMEOUT = 5.0
"""Seconds for a machine of the cluster to accept a connection."""
REPLY_TIMEOUT = 20.0
"""Seconds that an actor has for a reply, in addition to the wait that a call allows."""
CLIENT_TIMEOUT = 60.0
"""Seconds for the head to accept a client outside of the cluster: it starts a process for each."""


def join(url: str) -> None:
    """Connect this process to the cluster of a URL, unless it is in a cluster already.

    Raises:
        UsageError: the URL is not a Ray URL.
        StoreUnavailable: no cluster is there.
    """
    address = "auto" if url == "ray:auto" else url
    if address != "auto" and not address.startswith("ray://"):
        raise UsageError(f'url={url!r} is not a Ray cluster: use "ray:auto" or "ray://HOST:PORT"')
    until_reached(lambda: _join(url, address), CLIENT_TIMEOUT, "see the logs on the head of the cluster")


def _join(url: str, address: str) -> None:
    if ray.is_initialized():
        return
    try:
        with _quiet():
            _knock(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionAbortedError as error:
        reason = str(error).strip().rpartition("\n")[2]  # the last line of the head's traceback
        raise Unreachable(f"url={url!r}: the Ray cluster accepts no client ({reason})") from error
    except (OSError, RuntimeError, ValueError, exceptions.RayError) as error:
        raise StoreUnavailable(
            f"url={url!r}: no Ray cluster answers ({gist(error)}); start one with: ray start --head, "
            "or name one with RAY_ADDRESS=HOST:PORT"
        ) from error


def _knock(address: str) -> None:
    """Raise if nothing listens at an address: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_TIMEOUT).close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the job's handler of SIGTERM, which Ray replaces, and Ray's warnings out of the output."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, handler)


def find(run: str, url: str) -> Any:
    """Return the actor of a run.

    Raises:
        UsageError: there is none.
    """
    try:
        return ray.get_actor(run, RUNS)
    except ValueError:
        raise UsageError(f"run={run!r} is not in {url!r}; there: {', '.join(names()) or 'none'}") from None


def names() -> list[str]:
    """Return the names of all runs of the cluster."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    return sorted(actor["name"] for actor in actors if actor["namespace"] == RUNS)


def ask(actor: Any, method: str, *args: Any, wait: float = 0.0) -> Any:
    """Return the answer of an actor.

    Args:
        actor: of a run.
        method: of the actor.
        args: for it.
        wait: seconds that the actor may wait before it answers.

    Raises:
        Unreachable: no answer yet; the actor may be restarting.
        StoreUnavailable: the actor is gone.
    """
    with errors_of_ray():  # with "ray://" the call itself can fail
        answer = getattr(actor, method).remote(*args)
    return fetch([answer], wait)[0]


def fetch(answers: list[Any], wait: float = 0.0) -> list[Any]:
    """Return objects of Ray's object store, once they are there; see `ask`."""
    with errors_of_ray():
        return ray.get(answers, timeout=wait + REPLY_TIMEOUT)


@contextmanager
def errors_of_ray() -> Iterator[None]:
    """Turn Ray's errors into those of a `Connection`."""
    try:
        yield
    except exceptions.RayTaskError as error:
        if isinstance(error.cause, UsageError | StoreUnavailable | Unreachable):  # the actor says so
            raise error.cause from None
        raise
    except exceptions.ActorDiedError as error:
        raise StoreUnavailable(
            f"the run's actor is gone from the Ray cluster: {gist(error)}; "
            "go on from the last checkpoint with --resume"
        ) from error
    except exceptions.GetTimeoutError as error:
        raise Unreachable("the run's actor does not answer") from error
    except (exceptions.RayError, ConnectionError) as error:
        raise Unreachable(f"the run's actor cannot be reached: {gist(error)}") from error
    except Exception as error:
        if not str(error).startswith("Ray Client is not connected"):  # Ray raises a plain exception here
            raise
        raise StoreUnavailable(
            "the head of the Ray cluster is gone, or was out of reach for too long: see to it and go on "
            "from the last checkpoint with --resume"
        ) from error


def gist(error: Exception) -> str:
    """Return the first sentence of an error."""
    said = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    return said or type(error).__name__
