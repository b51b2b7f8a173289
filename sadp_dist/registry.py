"""Things that a configuration names: pruning rules, scores, networks, datasets and so on.

A new one is a new file that registers it. A file outside the package does the same, see ``imports:``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from sadp_dist.sections import Section

T = TypeVar("T")
S = TypeVar("S")


class Registry(MutableMapping[str, T]):
    """Maps names to things, such as "bptt" to a learning rule.

    Args:
        what: one of the things in words, such as "learning rule"; for messages.
        shipped: the module of each thing that the package brings, so that a configuration does not import
            all of them. "MODULE:CLASS" names the section class with its options, "MODULE" has no options.
    """

    def __init__(self, what: str, shipped: Mapping[str, str] | None = None) -> None:
        self.what = what
        self._shipped = dict(shipped or {})
        self._things: dict[str, T] = {}
        self._options: dict[str, type[Section]] = {}

    def register(self, name: str, options: type[Section] | None = None) -> Callable[[S], S]:
        """Return a decorator that registers a class or function under `name`.

        Args:
            name: what a configuration calls it.
            options: a subclass of the section that names it, with its own options as further keys.

        Raises:
            UsageError: the name belongs to another thing.
        """

        def add(thing: S) -> S:
            self._check_free(name, thing)
            self._things[name] = thing  # type: ignore[assignment]
            if options is not None:
                self._options[name] = options
            return thing

        return add

    def options(self, name: str) -> type[Section] | None:
        """Return the section class with the options of `name`; None if it has no options."""
        if name not in self._things and ":" in (place := self._shipped.get(name, "")):
            module, _, options = place.partition(":")
            found: type[Section] = getattr(import_module(module), options)
            return found
        return self._options.get(name)

    def __getitem__(self, name: str) -> T:
        if name not in self._things and name in self._shipped:
            import_module(self._shipped[name].partition(":")[0])  # which registers it
        return self._things[name]

    def __setitem__(self, name: str, thing: T) -> None:
        self._things[name] = thing

    def __delitem__(self, name: str) -> None:
        self._things.pop(name, None)
        self._options.pop(name, None)
        self._shipped.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in self._shipped

    def __iter__(self) -> Iterator[str]:
        return iter({**self._shipped, **self._things})

    def __len__(self) -> int:
        return len({**self._shipped, **self._things})

    def _check_free(self, name: str, thing: Any) -> None:
        """Let a module that is imported a second time register its things again."""
        module = self._shipped.get(name, "").partition(":")[0]
        other = self._things.get(name)
        is_other = other is not None and _qualified_name(other) != _qualified_name(thing)
        if is_other or (module and module != getattr(thing, "__module__", module)):
            raise UsageError(
                f'{self.what} "{name}" exists already; choose a name that is not one of {", ".join(self)}'
            )


def _qualified_name(thing: Any) -> tuple[object, object]:
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", id(thing))
