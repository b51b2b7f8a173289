"""The option ``--imports`` of the commands that read a run."""

from __future__ import annotations

from typing import Annotated

import typer

Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--imports",
        help="Import your module that registers rules, scores, networks and so on; may be repeated.",
        metavar="MODULE",
    ),
]
