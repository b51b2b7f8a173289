"""The ``sadp-dist`` command: its subcommands, and what becomes of errors.

Each command imports what it needs when it runs, so ``--help`` and mistakes answer at once.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sadp_dist import __version__
from sadp_dist.cli import beton, doctor, inspection, report, training
from sadp_dist.errors import UsageError

app = typer.Typer(
    name="sadp-dist",
    help="Train spiking neural networks in less time, each epoch on the examples that matter most (SADP).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command()(training.train)
app.command()(beton.beton)
app.command()(inspection.stats)
app.command()(inspection.top)
app.command()(report.report)
app.command()(doctor.doctor)


def main() -> None:
    """Run a command. Exit status: 0 done; 2 typed or configured wrongly, said in one line; 1 the rest."""
    command: Any = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    try:
        status = command.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except UsageError as error:
        _complain(str(error))
    except Exception as error:
        # click's own: an unknown option, a missing argument.
        if not hasattr(error, "format_message"):
            raise
        _complain(error.format_message())
    except KeyboardInterrupt:
        sys.exit(130)


def _complain(message: str) -> None:
    # Under torchrun every rank finds the same mistake; one of them says so.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"sadp-dist: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
