"""Print every one-line error message and warning, from the source code.

python docs/generate/messages.py
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "sadp_dist"
KINDS = {
    "UsageError": "UsageError: exit status 2",
    "AgreedError": "UsageError: exit status 2",
    "MissingExtra": "MissingExtra: exit status 2",
    "StoreUnavailable": "StoreUnavailable: exit status 1",
    "Unreachable": "StoreUnavailable: exit status 1",
    "TrainingDiverged": "TrainingDiverged: exit status 1",
    "warn": "Warnings: training continues",
}
"""Name of the class or function that takes a message -> heading in the list. `Unreachable` is retried until
`store.timeout` and then becomes a StoreUnavailable."""


def markdown() -> str:
    listed: dict[str, dict[str, set[str]]] = {heading: defaultdict(set) for heading in KINDS.values()}
    for file in sorted(PACKAGE.rglob("*.py")):
        part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for kind, message in messages_in(ast.parse(file.read_text(encoding="utf-8"))):
            listed[KINDS[kind]][part].add(message)
    lines = []
    for heading, parts in listed.items():
        lines += [f"### {heading}", ""]
        for part, messages in sorted(parts.items()):
            lines += [f"In {part}:", "", *(f"- `` {message} ``" for message in sorted(messages)), ""]
    return "\n".join(lines)


def messages_in(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the called name and its message, with … for values known only at run time."""
    for call in ast.walk(module):
        if isinstance(call, ast.Call):
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if name == "MissingExtra":
                package, extra = map(_text, call.args)
                yield name, f"{package} is not installed; install it with: pip install 'sadp_dist[{extra}]'"
            elif name in KINDS and call.args and (message := _text(call.args[0])).strip("… :"):
                yield name, " ".join(message.split())


def _text(argument: ast.expr) -> str:
    match argument:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=body, orelse=orelse):
            return _text(body) if _text(body) != "…" else _text(orelse)
    return "…"


if __name__ == "__main__":
    print(markdown())
