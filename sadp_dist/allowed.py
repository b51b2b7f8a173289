"""Describes a type hint in words: what a key of a configuration may be."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

NAMES = {int: "an integer", float: "a number", str: "a string", bool: "true or false", type(None): "null"}


def allowed_values(hint: Any, limits: typing.Iterable[Any] = ()) -> str:
    """Return a type hint in words, such as "a number in (0, 1]" or 'one of "sgd", "adamw"'.

    Args:
        hint: a scalar type, ``Literal``, ``Annotated``, a union, or a list or tuple of these.
        limits: constraints beside the hint, as pydantic keeps them in ``FieldInfo.metadata``.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        inner = [limit for info in arguments[1:] for limit in getattr(info, "metadata", [info])]
        return allowed_values(arguments[0], [*inner, *limits])
    if origin is Literal:
        words = "one of " + ", ".join(f'"{choice}"' for choice in arguments)
        return words if len(arguments) > 1 else f'"{arguments[0]}"'
    if origin in (types.UnionType, typing.Union):
        return " or ".join(allowed_values(argument, limits) for argument in arguments)
    if origin is tuple:
        return f"a list of {len(arguments)} {_plural(arguments[0])}"
    if origin is list:
        return f"a list of {_plural(arguments[0])}"
    name = NAMES.get(hint, f"a {getattr(hint, '__name__', hint)}")
    return name if hint in (str, bool, type(None)) else f"{name}{_range(limits)}"


def _plural(hint: Any) -> str:
    return allowed_values(hint).removeprefix("a ").removeprefix("an ") + "s"


def _range(limits: typing.Iterable[Any]) -> str:
    """Return " in [0, 1)", " of at least 1", " above 0" and the like, or "" without a limit."""
    bounds = {
        name: bound
        for limit in limits
        for name in ("ge", "gt", "le", "lt")
        if (bound := getattr(limit, name, None)) is not None
    }
    low = bounds.get("ge", bounds.get("gt"))
    high = bounds.get("le", bounds.get("lt"))
    if low is not None and high is not None:
        left, right = "[" if "ge" in bounds else "(", "]" if "le" in bounds else ")"
        return f" in {left}{_shown(low)}, {_shown(high)}{right}"
    if low is not None:
        return f" of at least {_shown(low)}" if "ge" in bounds else f" above {_shown(low)}"
    if high is not None:
        return f" of at most {_shown(high)}" if "le" in bounds else f" below {_shown(high)}"
    return ""


def _shown(bound: Any) -> str:
    if isinstance(bound, int) and bound >= 2**31:
        for power_of_two, less in ((bound, ""), (bound + 1, " - 1")):
            if power_of_two.bit_count() == 1:
                return f"2^{power_of_two.bit_length() - 1}{less}"
    return f"{bound:g}" if isinstance(bound, float) else str(bound)
