"""Find the class of an example in the path of its file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from sadp_dist.data.split_files import FOLDERS
from sadp_dist.errors import UsageError

_FIELD = re.compile(r"\{(\w*)\}|([*?])")


def classes_by_folder(names: Sequence[str], source: str) -> dict[str, str]:
    """Return the class of each file in `[<split>/]<class>/<file>`, below folders that all files share.

    A file in no folder has no class.

    Args:
        names: paths within the source, with forward slashes.
        source: for messages.

    Raises:
        UsageError: no file is in a class folder, or one is in a folder of a folder.
    """
    below = {name: _below_split(name.split("/")) for name in names}
    while len({tuple(parts[:1]) for parts in below.values()}) == 1 and all(
        len(parts) > 2 for parts in below.values()
    ):
        below = {name: _below_split(parts[1:]) for name, parts in below.items()}
    for name, parts in below.items():
        if len(parts) > 2:
            raise UsageError(
                f"source {source!r} has folders in folders, such as {name}; set pattern to say which of them "
                "is the class: '{class}/{folder}/{name}' or '{folder}/{class}/{name}'"
            )
    found = {name: parts[0] for name, parts in below.items() if len(parts) == 2}
    if not found:
        raise UsageError(
            f"source {source!r} has no class folders, only files such as {names[0]}; sort them into "
            "<class>/<file>, or set pattern, such as '{class}_{number}.wav'"
        )
    return found


def classes_by_pattern(names: Sequence[str], source: str, pattern: str) -> dict[str, str]:
    """Return the class of each file whose path ends as the pattern says.

    Args:
        names: paths within the source, with forward slashes.
        source: for messages.
        pattern: such as "{class}_{number}.wav". `{class}` is the class. Other names in braces, `*` and `?`
            match any text without a slash. A pattern with `(?P<class>...)` is a regular expression, which
            has to match from the begin of a file's or folder's name to the end of the path.

    Raises:
        UsageError: the pattern does not have the class once, is no regular expression, matches no file, or
            matches one in two ways.
    """
    expressions = _expressions(pattern)
    found = {}
    for name in names:
        matches = [match["class"] for one in expressions if (match := one.fullmatch(name))]
        for shortest, longest in pairwise(matches):
            if shortest != longest:
                raise UsageError(
                    f"pattern={pattern!r} is ambiguous: the class of {name} could be {shortest!r} or "
                    f"{longest!r}; use a regular expression with the group (?P<class>...)"
                )
        if matches and matches[0]:
            found[name] = matches[0]
    if not found:
        raise UsageError(
            f"pattern={pattern!r} matches none of the {len(names):,} files of {source!r}, such as "
            f"{names[0]}; it has to match the end of their paths"
        )
    return found


def _below_split(parts: list[str]) -> list[str]:
    """Return a path's parts below the folder of its split, if it has one."""
    splits = (k for k, part in enumerate(parts[:-1]) if part.lower() in FOLDERS)
    return parts[next(splits, -1) + 1 :]


def _expressions(pattern: str) -> list[re.Pattern[str]]:
    """Return regular expressions that find the class: for fields, the shortest and the longest match."""
    if "(?P<class>" in pattern:
        expressions = [pattern]
    elif pattern.count("{class}") == 1:
        expressions = [_expression(pattern, lazy) for lazy in ("?", "")]
    else:
        raise UsageError(
            f"pattern={pattern!r} must have {{class}} once, as in '{{class}}_{{number}}.wav', or be a "
            "regular expression with the group (?P<class>...)"
        )
    try:
        return [re.compile(rf"(?:.*/)?(?:{one})", re.IGNORECASE) for one in expressions]
    except re.error as error:
        raise UsageError(f"pattern={pattern!r} is not a regular expression: {error}") from None


def _expression(pattern: str, lazy: str) -> str:
    """Return a regular expression whose fields match as little as possible if `lazy` is "?"."""
    parts, end = [], 0
    for field in _FIELD.finditer(pattern):
        parts.append(re.escape(pattern[end : field.start()]))
        name, wildcard = field.groups()
        if name == "class":
            parts.append(f"(?P<class>[^/]+{lazy})")
        else:
            parts.append({"*": f"[^/]*{lazy}", "?": "[^/]"}.get(wildcard or "", f"[^/]+{lazy}"))
        end = field.end()
    return "".join([*parts, re.escape(pattern[end:])])
