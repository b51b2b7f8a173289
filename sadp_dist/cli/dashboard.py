"""``sadp-dist dashboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sadp_dist.errors import UsageError

TOKEN, TOKEN_FILE = "SADP_DIST_DASHBOARD_TOKEN", "SADP_DIST_DASHBOARD_TOKEN_FILE"
SHORTEST_TOKEN = 16
MAKE_ONE = "make one with: openssl rand -hex 32"


def dashboard(
    store: Annotated[
        str,
        typer.Option(
            "--store",
            help="ray:auto, ray://HOST:PORT, redis://HOST:PORT/DB, or a folder of runs.",
            metavar="URL|FOLDER",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but this machine's loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 is any.", min=0, max=65535)] = 8080,
    images: Annotated[
        str | None,
        typer.Option(help="The images that were trained on: folder, .zip or parquet.", metavar="SOURCE"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Sub-folder of SOURCE, such as train.")] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="What opens the page. Better in the variable: process lists show options.",
            envvar=TOKEN,
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token.", envvar=TOKEN_FILE, metavar="FILE")
    ] = None,
) -> None:
    """Show runs on a page that updates by itself, until Ctrl-C or SIGTERM.

    On this machine, for this machine (on one with other users, set a token all the same):

        sadp-dist dashboard --store redis://localhost:6379 --images data/digits/images --split train

    For others, who log in with a token:

        export SADP_DIST_DASHBOARD_TOKEN=$(openssl rand -hex 32)

        sadp-dist dashboard --store redis://scores:6379 --host 0.0.0.0

    Without a store in other processes, of a folder of runs, as their newest checkpoints have them:

        sadp-dist dashboard --store runs

    The JSON API is on the page /docs, figures for Prometheus are at /metrics.
    """
    if split is not None and images is None:
        raise UsageError("--split is of --images; give both")
    secret = _token(token, token_file)
    from sadp_dist.dashboard import Runs, Thumbnails, create_app, is_loopback, open_source, serve

    if secret is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} can be reached from other machines, and no token is set; {MAKE_ONE}, and put it "
            f"in {TOKEN}, or in a file that {TOKEN_FILE} names"
        )
    runs = Runs(open_source(store))
    pictures = None if images is None else Thumbnails(images, split)
    serve(create_app(runs, pictures, secret), runs, host, port, lambda line: print(line, flush=True))


def _token(token: str | None, token_file: Path | None) -> str | None:
    """The token from wherever it is given.

    Raises:
        UsageError: it is given twice, cannot be read, or is too short. No message repeats it.
    """
    if token and token_file:
        raise UsageError(f"the token is given twice; give one of --token, {TOKEN} and {TOKEN_FILE}")
    where = f"--token or {TOKEN}"
    if token_file:
        where = str(token_file)
        try:
            token = token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"the token's file {token_file} cannot be read ({reason}); {MAKE_ONE}") from None
    elif not token:
        return None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"the token in {where} is not one: {SHORTEST_TOKEN} or more printable ASCII characters without "
            f"spaces are needed; {MAKE_ONE}"
        )
    return token
