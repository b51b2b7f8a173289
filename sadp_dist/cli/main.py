"""The ``sadp-dist`` command: its subcommands, error messages and exit status.

Each command imports its dependencies when it runs, so ``--help`` and usage errors are fast.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from sadp_dist import __version__
from sadp_dist.cli import (
    beton,
    check,
    dashboard,
    doctor,
    export,
    plan,
    queries,
    rendezvous,
    report,
    reproduce,
    runs,
    selftest,
    serve,
    train,
)
from sadp_dist.cli.log_format import log
from sadp_dist.errors import (
    AgreedError,
    CannotWrite,
    Stopped,
    StoreUnavailable,
    TrainingDiverged,
    UsageError,
)
from sadp_dist.terminal import visible

app = typer.Typer(
    name="sadp-dist",
    help="Train spiking neural networks faster: each epoch uses the examples that matter most (SADP).",
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


app.command()(train.train)
app.command()(check.check)
app.command()(plan.plan)
app.command()(beton.beton)
app.command()(queries.stats)
app.command()(queries.top)
app.command()(runs.runs)
app.command("rm")(runs.remove)
app.command()(serve.serve)
app.command()(rendezvous.rendezvous)
app.command()(dashboard.dashboard)
app.command()(report.report)
app.command()(export.export)
app.command()(reproduce.reproduce)
app.command()(doctor.doctor)
app.command()(selftest.selftest)


def main() -> None:
    """Run a command.

    Exit status: 0 success, 2 usage or configuration error, 128 + n if signal n ended a run after saving it, 1
    any other error.
    """
    warnings.showwarning = _warn
    command: Any = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    try:
        status = command.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except AgreedError as error:
        if _is_first_here():
            _complain(str(error))
        sys.exit(2)
    except UsageError as error:
        _complain(str(error))
        sys.exit(2)
    except Stopped as stopped:
        if os.environ.get("RANK", "0") == "0":
            _complain(str(stopped))
        sys.exit(128 + stopped.signal)
    except CannotWrite as error:
        if _is_first_here():
            _complain(str(error))
        sys.exit(1)
    except (StoreUnavailable, TrainingDiverged) as error:
        _complain(str(error))
        sys.exit(1)
    except ImportError as error:  # one of an extra is a UsageError
        if (error.name or "").startswith("sadp_dist"):
            raise
        _complain(f"{error}: a package is missing or broken; run sadp-dist doctor to see how to fix it")
        sys.exit(1)
    except typer.Abort:  # Ctrl-C at a prompt
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" for {error.filename}" if error.filename else ""
        _complain(f"{error.strerror}{where}; free some space, and run the command again")
        sys.exit(1)
    except Exception as error:
        # An unknown option or a missing argument. typer does not export the class of these errors.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()  # empty after the help of a call without arguments
        if message and _is_first_here():
            _complain(message)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _complain(message: str, level: int = logging.ERROR) -> None:
    if log(level, " ".join(message.split())):
        return
    if level == logging.WARNING:
        message = f"warning: {message}"
    rank = f"rank {os.environ['RANK']}: " if os.environ.get("RANK", "0") != "0" else ""
    print(f"sadp-dist: {rank}{visible(' '.join(message.split()))}", file=sys.stderr)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of sadp_dist as one line on one rank; leave those of libraries as they are."""
    if "sadp_dist" not in filename:
        if log(logging.WARNING, f"{filename}:{lineno}: {category.__name__}: {message}"):
            return
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
    elif _is_first_here():
        _complain(str(message), logging.WARNING)


def _is_first_here() -> bool:
    return os.environ.get("LOCAL_RANK", "0") == "0"
