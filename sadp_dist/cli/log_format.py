"""``--log-format``: the lines of a long-running command as log records with time, level and rank."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Annotated

import typer

from sadp_dist.terminal import send_lines_to, visible

LOG = logging.getLogger("sadp_dist")


class LogFormat(StrEnum):
    text = "text"
    json = "json"


def begin(log_format: LogFormat | None) -> LogFormat | None:
    """Log from now on what the process prints, to stderr; without a format, change nothing."""
    if log_format is None:
        return None
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.json else TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    LOG.setLevel(logging.INFO)
    send_lines_to(LOG.info)
    sys.excepthook = _log_error
    return log_format


Option = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        callback=begin,
        is_eager=True,
        help="Write every line to stderr with time, level and rank: as text, or as JSON.",
        show_default=False,
    ),
]


def log(level: int, message: str) -> bool:
    """Log a message; return False if the process does not log, and the message has to be printed."""
    if LOG.level == logging.NOTSET:
        return False
    LOG.log(level, "%s", message)
    return True


class TextFormatter(logging.Formatter):
    """Formats a record as "2026-11-30T09:12:44.123Z INFO rank 0: message"."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        said = visible(f"{fields['time']} {fields['level']} rank {fields['rank']}: {fields['message']}")
        return said if record.exc_info is None else f"{said}\n{self.formatException(record.exc_info)}"


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object; an error that is not expected has its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        if record.exc_info is not None:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def _fields(record: logging.LogRecord) -> dict[str, str | int]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {
        "time": time.replace("+00:00", "Z"),
        "level": record.levelname,
        "rank": int(os.environ.get("RANK", "0")),
        "message": record.getMessage(),
    }


def _log_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    LOG.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))
