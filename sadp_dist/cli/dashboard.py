"""``sadp-dist dashboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sadp_dist.cli import log_format
from sadp_dist.cli.imports import Imports
from sadp_dist.errors import UsageError
from sadp_dist.imports import import_modules
from sadp_dist.terminal import say

TOKEN, TOKEN_FILE = "SADP_DIST_DASHBOARD_TOKEN", "SADP_DIST_DASHBOARD_TOKEN_FILE"
SHORTEST_TOKEN = 16
MAKE_ONE = "make one with: openssl rand -hex 32"


def dashboard(
    store: Annotated[
        str,
        typer.Option(
            "--store",
            help="ray:auto, ray://HOST:PORT, redis://HOST:PORT/DB, or a folder of run directories.",
            metavar="URL|FOLDER",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any address but loopback requires a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)
    ] = 8080,
    images: Annotated[
        str | None,
        typer.Option(help="Training images of the runs: folder, .zip, parquet or .beton.", metavar="SOURCE"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Subfolder of SOURCE, such as train.")] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="Token to log in with. Prefer the variable: process lists show options.",
            envvar=TOKEN,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File that holds the token.", envvar=TOKEN_FILE, metavar="FILE"),
    ] = None,
    imports: Imports = None,
    log_format: log_format.Option = None,
) -> None:
    """Serve a web page that shows runs live, until Ctrl-C or SIGTERM.

    For this machine only. No token is required on 127.0.0.1. Set one if other users share the machine:

        sadp-dist dashboard --store redis://localhost:6379 --images data/digits/images --split train

    For other machines. The page asks for the token:

        export SADP_DIST_DASHBOARD_TOKEN=$(openssl rand -hex 32)

        sadp-dist dashboard --store redis://scores:6379 --host 0.0.0.0

    For a folder of run directories, from their newest checkpoints:

        sadp-dist dashboard --store runs

    /docs describes the JSON API. /metrics has the metrics for Prometheus.
    """
    if split is not None and images is None:
        raise UsageError(f"--split {split} needs --images; give both")
    secret = _token(token, token_file)
    import_modules(imports or [])
    from sadp_dist.dashboard import Runs, Thumbnails, create_app, is_loopback, open_source, serve

    if secret is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} is reachable from other machines and needs a token; {MAKE_ONE}, and set it in "
            f"{TOKEN}, or in a file named by {TOKEN_FILE}"
        )
    runs = Runs(open_source(store))
    pictures = None if images is None else Thumbnails(images, split)
    serve(create_app(runs, pictures, secret), runs, host, port, say)


def _token(token: str | None, token_file: Path | None) -> str | None:
    """Return the token from the option or the file; None if neither is given.

    Raises:
        UsageError: both are given, the file cannot be read, or the token is not valid. The message does
            not contain the token.
    """
    if token and token_file:
        raise UsageError(
            f"there are two tokens; give only one of --token ({TOKEN}) and --token-file ({TOKEN_FILE})"
        )
    where = f"--token or {TOKEN}"
    if token_file:
        where = str(token_file)
        try:
            token = token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"--token-file {token_file} cannot be read ({reason}); {MAKE_ONE}") from None
    elif not token:
        return None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"the token in {where} is not valid: it must have at least {SHORTEST_TOKEN} printable ASCII "
            f"characters and no spaces; {MAKE_ONE}"
        )
    return token
