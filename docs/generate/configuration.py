"""Print every key of a run's configuration, from the classes that check it.

python docs/generate/configuration.py
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import griffe
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sadp_dist.allowed import allowed_values
from sadp_dist.sections import OnlyWith, Section, allowed_in_list, section_in, section_in_list
from sadp_dist.training import TrainConfig


def markdown() -> str:
    return "\n".join(_section(TrainConfig, ""))


def _section(config: type[Section], path: str) -> list[str]:
    """A table of the section's keys, then the options of its kinds, then the sections in it."""
    title = f"## `{path}:`" if path else "## At the top level"
    lines = [title, "", inspect.getdoc(config).split("\n\n")[0].replace("\n", " "), ""]
    lines += _table(config, path, list(config.model_fields))
    for options, kinds in _kinds(config).items():
        own = [key for key in options.model_fields if key not in config.model_fields]
        names = " or ".join(f"`{kind}`" for kind in kinds)
        lines += [f"Only with `{path}.{config.kind_key}` {names}:", "", *_table(options, path, own)]
    for name, field in config.model_fields.items():
        inner, entry = section_in(field.annotation), section_in_list(field.annotation)
        if inner is not None:
            lines += _section(inner, f"{path}.{name}" if path else name)
        if entry is not None:
            lines += _section(entry, f"{path}.{name}[]")
    return lines


def _kinds(config: type[Section]) -> dict[type[Section], list[str]]:
    """The classes with the options of kinds, each with the names of its kinds."""
    found: dict[type[Section], list[str]] = {}
    for name in config.kinds or ():
        options = config.kinds.options(name)
        if options is not None:
            found.setdefault(options, []).append(name)
    return found


def _table(config: type[Section], path: str, keys: list[str]) -> list[str]:
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    meanings = _meanings(config)
    for name in keys:
        field = config.model_fields[name]
        if section_in(field.annotation) is not None:
            shown, default = "section", ""
        elif (entry := section_in_list(field.annotation)) is not None:
            shown, default = allowed_in_list(entry), _default(field)
        else:
            shown, default = allowed_values(field.annotation, field.metadata), _default(field)
        if name not in meanings:
            raise LookupError(f"{config.__name__}.{name} is not among its docstring's attributes")
        key = f"{path}.{name}" if path else name
        lines.append(f"| `{key}` | {shown} | {default} | {meanings[name]}{_only_with(field)} |")
    return [*lines, ""]


def _only_with(field: FieldInfo) -> str:
    """Return the values of another key with which a key has an effect, as a sentence."""
    return "".join(
        f" Only with `{needs.key}` {' or '.join(f'`{value}`' for value in needs.values)}."
        for needs in field.metadata
        if isinstance(needs, OnlyWith)
    )


def _meanings(config: type) -> dict[str, str]:
    """What the docstrings of a configuration and of what it extends say of each attribute."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__[:-1]):
        if kind is Section or not issubclass(kind, Section):
            continue
        for section in griffe.Docstring(inspect.getdoc(kind) or "", parser="google").parse(warnings=False):
            if section.kind is griffe.DocstringSectionKind.attributes:
                found |= {each.name: " ".join(each.description.split()) for each in section.value}
    return found


def _default(field: FieldInfo) -> str:
    """As it would stand in a file."""
    value: Any = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    print(markdown())
