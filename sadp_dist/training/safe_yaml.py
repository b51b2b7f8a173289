"""Reads YAML without letting a short text become a deep or an endless structure."""

from __future__ import annotations

from typing import Any

import yaml

MAX_NODES = 100_000
"""Values in a text, each alias counted as all that it stands for."""


class TooMuch(yaml.YAMLError):
    """A text is nested too deeply, or its aliases stand for too much."""


def safe_yaml(text: str) -> Any:
    """Return what a YAML text holds.

    Raises:
        yaml.YAMLError: it is not YAML; it is nested too deeply; or it has more than `MAX_NODES` values.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and _size(node, {}) > MAX_NODES:
            raise TooMuch(f"its aliases (*) stand for more than {MAX_NODES:,} values")
        return yaml.safe_load(text)
    except RecursionError:
        raise TooMuch("it is nested too deeply") from None
    except ValueError as error:  # such as the 32nd of a month
        raise yaml.YAMLError(str(error)) from None


def _size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Return the number of values of a node. `known` has those of other nodes, None while under way."""
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise TooMuch("an alias (*) stands for what it is in")
        return size
    known[id(node)] = None
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    known[id(node)] = size = 1 + sum(_size(part, known) for part in inner)
    return size
