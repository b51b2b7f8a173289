"""Print every key of a run's configuration, from the classes that check it.

python docs/generate/configuration.py
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from typing import Any, Literal

import annotated_types
import griffe

from sadp_dist.training import TrainConfig

NAMES = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}


def markdown() -> str:
    return "\n".join(_section(TrainConfig, ""))


def _section(config: type, path: str) -> list[str]:
    """A table of the section's keys, and after it those of the sections in it."""
    title = f"## `{path}:`" if path else "## At the top level"
    lines = [title, "", inspect.getdoc(config).split("\n\n")[0].replace("\n", " "), ""]
    lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    meanings = _meanings(config)
    types_of = typing.get_type_hints(config, include_extras=True)
    inner = []
    for field in dataclasses.fields(config):
        kind = types_of[field.name]
        key = f"{path}.{field.name}" if path else field.name
        if dataclasses.is_dataclass(kind):
            inner.append((kind, key))
            shown, default = "section", ""
        else:
            shown, default = describe(kind), _default(field)
        if field.name not in meanings:
            raise LookupError(f"{config.__name__}.{field.name} is not among its docstring's attributes")
        lines.append(f"| `{key}` | {shown} | {default} | {meanings[field.name]} |")
    lines.append("")
    for kind, key in inner:
        lines += _section(kind, key)
    return lines


def _meanings(config: type) -> dict[str, str]:
    """What the docstrings of a configuration and of what it extends say of each attribute."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__[:-1]):
        for section in griffe.Docstring(inspect.getdoc(kind) or "", parser="google").parse(warnings=False):
            if section.kind is griffe.DocstringSectionKind.attributes:
                found |= {each.name: " ".join(each.description.split()) for each in section.value}
    return found


def describe(kind: Any) -> str:
    """A type hint in words, with the range that it allows."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        limits = [limit for info in arguments[1:] for limit in getattr(info, "metadata", ())]
        return ", ".join([describe(arguments[0]), *map(_limit, limits)])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(describe, arguments))
    if origin is tuple:
        return f"list of {len(arguments)} {describe(arguments[0])}s"
    if origin is list:
        return "list of texts"
    return NAMES[kind]


def _limit(limit: annotated_types.BaseMetadata) -> str:
    for kind, name, sign in (
        (annotated_types.Ge, "ge", "≥"),
        (annotated_types.Gt, "gt", ">"),
        (annotated_types.Le, "le", "≤"),
        (annotated_types.Lt, "lt", "<"),
    ):
        if isinstance(limit, kind):
            return f"{sign} {getattr(limit, name)}"
    raise TypeError(f"{limit} has no words yet")


def _default(field: dataclasses.Field[Any]) -> str:
    """As it would stand in a file."""
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    elif field.default is not dataclasses.MISSING:
        value = field.default
    else:
        return "required"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    print(markdown())
